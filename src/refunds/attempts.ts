import { and, eq, sql } from 'drizzle-orm';
import type { Db, Tx } from '../platform/database/clients.ts';
import type { Refund } from './history.ts';
import { attempts } from './tables.ts';

/** Tries to pay a refund out: one at a time is open, which the database sees to. */

export type Attempt = typeof attempts.$inferSelect;

/** Commits the intent. `target`: the charge, or the transaction that an operator has named. */
export async function beginAttempt(tx: Tx, { id: refundId }: Refund, target: string): Promise<number> {
  const number = (await countAttempts(tx, refundId)) + 1;
  await tx.insert(attempts).values({ refundId, number, target });
  return number;
}

export const countAttempts = (tx: Tx, refundId: string): Promise<number> =>
  tx.$count(attempts, eq(attempts.refundId, refundId));

/** `ageS` by the database's clock. */
export async function openAttempt(on: Db | Tx, refundId: string): Promise<(Attempt & { ageS: number }) | undefined> {
  const ageS = sql<number>`extract(epoch from now() - ${attempts.startedAt})::float8`;
  const [open] = await on
    .select({ attempt: attempts, ageS })
    .from(attempts)
    .where(and(eq(attempts.refundId, refundId), eq(attempts.outcome, 'open')));
  return open && { ...open.attempt, ageS: open.ageS };
}

export async function closeAttempt(
  tx: Tx,
  refundId: string,
  outcome: Exclude<Attempt['outcome'], 'open'>,
  detail: string | null,
): Promise<void> {
  await tx
    .update(attempts)
    .set({ outcome, detail })
    .where(and(eq(attempts.refundId, refundId), eq(attempts.outcome, 'open')));
}
