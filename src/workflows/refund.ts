import { and, eq, lte } from 'drizzle-orm';
import { returnSpend } from '../credits/index.ts';
import type { Tx } from '../platform/database/clients.ts';
import { givePaymentBack } from './asks/end.ts';
import { isQuoted, milestonesOf } from './asks/open.ts';
import { isOver, type Run } from './runs.ts';
import { parts, runs, services } from './tables.ts';
import { tell } from './tell.ts';

/** What a run has to do with refunds: whether its service's policy allows one, and the return itself. */

interface RefundableRun {
  run: Run;
  /** Its service's of today. */
  policy: 'full' | 'none';
  /** What was taken for it. */
  paid: bigint;
  /** Work was done and handed over: all of it, or parts that were paid and can be read. */
  isHandedOver: boolean;
}

/** Locks a run of the account; undefined when it has none such. */
export async function lockRunForRefund(tx: Tx, accountId: string, id: string): Promise<RefundableRun | undefined> {
  const isIt = and(eq(runs.accountId, accountId), eq(runs.id, id));
  const [run] = await tx.select().from(runs).where(isIt).for('update');
  if (!run) return undefined;
  const [service] = await tx
    .select({ policy: services.refundOnFailure })
    .from(services)
    .where(eq(services.id, run.serviceId));
  return {
    ...{ run, policy: service?.policy ?? 'none', paid: isQuoted(run) ? run.paid : run.cost },
    isHandedOver: run.state === 'succeeded' || (await hasPaidParts(tx, run)),
  };
}

async function hasPaidParts(tx: Tx, run: Run): Promise<boolean> {
  if (milestonesOf(run) === null) return false;
  const isPaid = and(eq(parts.accountId, run.accountId), eq(parts.runId, run.id), lte(parts.number, run.paidParts));
  return (await tx.$count(parts, isPaid)) > 0;
}

/**
 * Gives credits of a run that is over back: once, whether the run did so itself when it failed or its owner asked for it
 * afterwards. Undefined when that has been done, or the run goes on.
 */
export async function returnRun(tx: Tx, accountId: string, id: string, credits: bigint): Promise<Run | undefined> {
  const found = await lockRunForRefund(tx, accountId, id);
  if (!found) return undefined;
  const { run, paid } = found;
  if (!isOver(run.state) || run.returned > 0n || credits > paid) return undefined;
  const returned = isQuoted(run) ? await givePaymentBack(tx, run, credits) : await giveSpendBack(tx, run, credits);
  await tell(tx, returned, 'run_refunded');
  return returned;
}

async function giveSpendBack(tx: Tx, { accountId, id }: Run, credits: bigint): Promise<Run> {
  const outcome = await returnSpend(tx, accountId, id, credits);
  if (outcome.result !== 'posted') throw new Error(`the return of a run's credits was ${outcome.result}`);
  const [returned] = await tx
    .update(runs)
    .set({ returned: credits })
    .where(and(eq(runs.accountId, accountId), eq(runs.id, id)))
    .returning();
  if (!returned) throw new Error('a run that vanished');
  return returned;
}
