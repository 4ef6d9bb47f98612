import { and, eq, inArray, isNull, type SQL, sql } from 'drizzle-orm';
import { z } from 'zod';
import { audit } from '../platform/audit-log.ts';
import type { Tx } from '../platform/database/clients.ts';
import { Problem } from '../platform/http/problem.ts';
import { idOut, time, timeOut } from '../platform/http/wire.ts';
import { toWire } from '../platform/ids.ts';
import { differences } from './tables.ts';

/** What does not fit between the provider and the ledger, until a person has dealt with it. */

export const DifferenceOut = z
  .object({
    object: z.literal('difference'),
    kind: z.string(),
    reference: z.string().describe("the provider's charge"),
    purchase_id: idOut('purchase').nullable(),
    detail: z.record(z.string(), z.unknown()),
    found_at: timeOut,
  })
  .meta({ id: 'Difference' });

export const renderDifference = (row: typeof differences.$inferSelect): z.infer<typeof DifferenceOut> => ({
  object: 'difference',
  kind: row.kind,
  reference: row.reference,
  purchase_id: row.purchaseId === null ? null : toWire('purchase', row.purchaseId),
  detail: row.detail as Record<string, unknown>,
  found_at: time(row.foundAt),
});

/**
 * Writes down a difference between provider and ledger; false when it is known as it is. One that was dealt with and
 * has changed since, such as a second partial refund, is open again.
 */
export async function differ(
  tx: Tx,
  kind: string,
  reference: string,
  purchaseId: string | null,
  detail: Record<string, unknown>,
): Promise<boolean> {
  const [row] = await tx
    .insert(differences)
    .values({ kind, reference, purchaseId, detail })
    .onConflictDoUpdate({
      target: [differences.kind, differences.reference],
      set: { detail: sql`excluded.detail`, foundAt: sql`now()`, resolvedAt: null },
      setWhere: sql`${differences.detail} is distinct from excluded.detail`,
    })
    .returning();
  return row !== undefined;
}

/** How many of a kind nobody has dealt with yet. */
export const countDifferences = (tx: Tx, kind: string): Promise<number> =>
  tx.$count(differences, and(eq(differences.kind, kind), isNull(differences.resolvedAt)));

/** Marks differences as dealt with; resolves to how many were open. */
export async function closeDifferences(tx: Tx, which: SQL | undefined): Promise<number> {
  const closed = await tx
    .update(differences)
    .set({ resolvedAt: sql`now()` })
    .where(and(which, isNull(differences.resolvedAt)))
    .returning({ kind: differences.kind });
  return closed.length;
}

const isOneOf = (kind: string, references: string[]) =>
  and(eq(differences.kind, kind), inArray(differences.reference, references));

/** Whether one of them is closed. They are locked, so that nobody deals with one until the transaction ends. */
export async function isDealtWith(tx: Tx, kind: string, references: string[]): Promise<boolean> {
  const rows = await tx
    .select({ resolvedAt: differences.resolvedAt })
    .from(differences)
    .where(isOneOf(kind, references))
    .orderBy(differences.reference)
    .for('update');
  return rows.some(({ resolvedAt }) => resolvedAt !== null);
}

/** They have come right by themselves, and nobody need look at them. */
export const settleDifferences = (tx: Tx, kind: string, references: string[]): Promise<number> =>
  closeDifferences(tx, isOneOf(kind, references));

/** An operator has dealt with one. 404 when there is no such open difference. */
export async function resolveDifference(
  tx: Tx,
  which: { kind: string; reference: string },
  by: { operatorId: string; requestId: string; reason: string },
): Promise<number> {
  const { kind, reference } = which;
  const resolved = await closeDifferences(tx, and(eq(differences.kind, kind), eq(differences.reference, reference)));
  if (resolved === 0) throw new Problem('not_found', 'There is no such open difference.');
  await audit(tx, {
    actor: by.operatorId,
    action: 'payments.difference_resolved',
    subjectId: reference,
    detail: { kind, reason: by.reason },
    requestId: by.requestId,
  });
  return resolved;
}
