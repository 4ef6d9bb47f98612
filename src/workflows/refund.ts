import { and, eq, inArray, sql } from 'drizzle-orm';
import { returnSpend } from '../credits/index.ts';
import type { Tx } from '../platform/database/clients.ts';
import { tell } from './finish.ts';
import type { Run } from './runs.ts';
import { runs, services } from './tables.ts';

/** What a run has to do with refunds: whether its service's policy allows one, and the return itself. */

/** Locks a run of the account; undefined when it has none such. `policy` is its service's of today. */
export async function lockRunForRefund(
  tx: Tx,
  accountId: string,
  id: string,
): Promise<{ run: Run; policy: 'full' | 'none' } | undefined> {
  const isIt = and(eq(runs.accountId, accountId), eq(runs.id, id));
  const [run] = await tx.select().from(runs).where(isIt).for('update');
  if (!run) return undefined;
  const [service] = await tx
    .select({ policy: services.refundOnFailure })
    .from(services)
    .where(eq(services.id, run.serviceId));
  return { run, policy: service?.policy ?? 'none' };
}

/**
 * Gives credits of a run that is over back: once, whether the run did so itself when it failed or its owner asked for it
 * afterwards. Undefined when that has been done, or the run goes on.
 */
export async function returnRun(tx: Tx, accountId: string, id: string, credits: bigint): Promise<Run | undefined> {
  const [returned] = await tx
    .update(runs)
    .set({ returned: credits })
    .where(
      and(
        eq(runs.accountId, accountId),
        eq(runs.id, id),
        eq(runs.returned, 0n),
        sql`${runs.cost} >= ${credits}::bigint`,
        inArray(runs.state, ['succeeded', 'failed', 'cancelled']),
      ),
    )
    .returning();
  if (!returned) return undefined;
  const outcome = await returnSpend(tx, accountId, id, credits);
  if (outcome.result !== 'posted') throw new Error(`the return of a run's credits was ${outcome.result}`);
  await tell(tx, returned, 'run_refunded');
  return returned;
}
