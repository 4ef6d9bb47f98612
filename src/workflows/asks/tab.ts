import { and, eq, sql } from 'drizzle-orm';
import type { Db, Tx } from '../../platform/database/clients.ts';
import type { PaymentPolicy } from './policy.ts';
import { tabs } from './tables.ts';

/**
 * What an account owes a service for runs that are paid afterwards. One row each, which parallel requests wait for: a limit
 * holds however many come at once.
 */

interface Owner {
  accountId: string;
  serviceId: string;
}

const isTab = ({ accountId, serviceId }: Owner) => and(eq(tabs.accountId, accountId), eq(tabs.serviceId, serviceId));

/** Puts a run on the tab. False: it is beyond the limit, or an older debt was written off. */
export async function enterTab(tx: Tx, owner: Owner, cost: bigint, limit: PaymentPolicy['after']): Promise<boolean> {
  if (cost > BigInt(limit.credit_limit)) return false;
  const rows = await tx
    .insert(tabs)
    .values({ accountId: owner.accountId, serviceId: owner.serviceId, runs: 1, credits: cost })
    .onConflictDoUpdate({
      target: [tabs.accountId, tabs.serviceId],
      set: { runs: sql`${tabs.runs} + 1`, credits: sql`${tabs.credits} + ${cost}::bigint` },
      setWhere: sql`${tabs.runs} < ${limit.max_unpaid_runs} and ${tabs.writtenOff} = 0
        and ${tabs.credits} + ${cost}::bigint <= ${limit.credit_limit}::bigint`,
    })
    .returning({ runs: tabs.runs });
  return rows.length === 1;
}

/** A run is paid, or came to nothing; or, `writtenOff`, nobody waits for so much of it any more. */
export async function leaveTab(tx: Tx, owner: Owner, cost: bigint, writtenOff = 0n): Promise<void> {
  await change(tx, owner, {
    runs: sql`${tabs.runs} - 1`,
    credits: sql`${tabs.credits} - ${cost}::bigint`,
    writtenOff: sql`${tabs.writtenOff} + ${writtenOff}::bigint`,
  });
}

/** So much of an old debt was paid after all. */
export const payOld = (tx: Tx, owner: Owner, credits: bigint): Promise<void> =>
  change(tx, owner, { writtenOff: sql`${tabs.writtenOff} - ${credits}::bigint` });

async function change(tx: Tx, owner: Owner, set: object): Promise<void> {
  const rows = await tx.update(tabs).set(set).where(isTab(owner)).returning({ runs: tabs.runs });
  if (rows.length === 0) throw new Error('a debt without its tab');
}

/** Whether runs are paid upfront, whatever was wished: an older one was never paid. */
export async function isDemoted(on: Db | Tx, owner: Owner): Promise<boolean> {
  const [tab] = await on.select({ writtenOff: tabs.writtenOff }).from(tabs).where(isTab(owner));
  return (tab?.writtenOff ?? 0n) > 0n;
}
