import { and, desc, eq, isNull, lt, sql } from 'drizzle-orm';
import type { Db, Tx } from '../database/clients.ts';
import { audits } from '../database/tables.ts';
import type { AuditResult, CheckResult } from './run-audit.ts';

/** Audits that were finished, in `platform.audits`: every replica and every operator is told of the same one. */

const KEPT_DAYS = 90;

export interface KeptAudit {
  startedAt: Date;
  finishedAt: Date;
  checks: CheckResult[];
}

const columns = { startedAt: audits.startedAt, finishedAt: audits.finishedAt, checks: audits.checks };

export async function lastAudit(on: Db | Tx): Promise<KeptAudit | undefined> {
  const [row] = await on.select(columns).from(audits).orderBy(desc(audits.id)).limit(1);
  return row && { ...row, checks: row.checks as CheckResult[] };
}

/**
 * Keeps the result of an audit, and forgets old ones. With `mayHalt`, money that is newly found wrong raises a halt;
 * what an operator has seen and cleared raises it again only when it has become more. Resolves to whether it did.
 */
export async function keepAudit(db: Db, result: AuditResult, mayHalt: boolean): Promise<boolean> {
  return db.transaction(async (tx) => {
    const known = await knownTo(tx);
    const halts = mayHalt && result.checks.some((one) => one.money && one.offending > known(one.id));
    const { startedAt, finishedAt, checks } = result;
    await tx.insert(audits).values({ startedAt, finishedAt, checks, halts });
    await tx
      .delete(audits)
      .where(
        and(
          lt(audits.finishedAt, sql`now() - make_interval(days => ${KEPT_DAYS})`),
          sql`not (halts and cleared_at is null)`,
        ),
      );
    return halts;
  });
}

/** How much of a check an operator has cleared, and was still there when it was last looked at. */
async function knownTo(tx: Tx): Promise<(id: string) => number> {
  const [cleared] = await tx
    .select(columns)
    .from(audits)
    .where(sql`cleared_at is not null`)
    .orderBy(desc(audits.clearedAt))
    .limit(1);
  const [before, then] = [await lastAudit(tx), cleared && (cleared.checks as CheckResult[])];
  const offending = (checks: CheckResult[] | undefined, id: string) =>
    checks?.find((one) => one.id === id)?.offending ?? 0;
  return (id) => Math.min(offending(before?.checks, id), offending(then, id));
}

const isRaised = and(eq(audits.halts, true), isNull(audits.clearedAt));

export async function isHalted(db: Db): Promise<boolean> {
  return (await db.$count(audits, isRaised)) > 0;
}

/** Ends a halt; false when there is none. */
export async function clearHalt(tx: Tx): Promise<boolean> {
  const cleared = await tx.update(audits).set({ clearedAt: sql`now()` }).where(isRaised).returning({ id: audits.id });
  return cleared.length > 0;
}
