import { and, desc, eq, sql } from 'drizzle-orm';
import { post, transferOf } from '../../credits/index.ts';
import type { Tx } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { least } from '../../platform/least.ts';
import { parts } from '../tables.ts';
import { tell } from '../tell.ts';
import { isWaiting } from './decide.ts';
import { changeAsk, changeRun, milestonesOf, type QuotedRun } from './open.ts';
import { type Ask, dueOf, type Settlement, tellAsk } from './read.ts';
import { type Asked, letAllGo, takeAll } from './settle.ts';
import { leaveTab } from './tab.ts';
import { asks, settlements } from './tables.ts';

/** How asks end that are not paid, and what of a run's payments goes back. All with the run's lock. */

/** The price holds no more: what was set aside is free again, and the run ends. Parts that were paid stay. */
export async function expireAsk(tx: Tx, { run, ask }: Asked): Promise<void> {
  await close(tx, ask, 'expired');
  const expired = await changeRun(tx, run, {
    ...{ state: 'expired', finishedAt: sql`now()` },
    ...{ due: 0n, paymentState: 'expired' },
  });
  await tell(tx, expired, 'run_expired');
}

/** Nobody waits for it any more: what has come is taken, and until the rest is paid the account pays upfront. */
export async function writeOff(tx: Tx, { run, ask }: Asked): Promise<void> {
  const taken = await takeAll(tx, ask);
  const lost = await changeAsk(tx, ask, { state: 'written_off', closedAt: sql`now()` });
  await leaveTab(tx, ask, ask.amount, dueOf(lost));
  const over = await changeRun(tx, run, { paid: run.paid + taken, paymentState: 'written_off' });
  await tellAsk(tx, lost, 'written_off');
  await tell(tx, over, 'run_written_off');
}

/**
 * A run has failed or was cancelled: nothing more is asked for it, and, where `returns`, what was paid for work that was
 * not delivered goes back.
 */
export async function endUnpaid(tx: Tx, run: QuotedRun, { returns }: { returns: boolean }): Promise<QuotedRun> {
  let ended = run;
  const [ask] = await tx
    .select()
    .from(asks)
    .where(and(eq(asks.accountId, run.accountId), eq(asks.runId, run.id)))
    .orderBy(desc(asks.seq))
    .limit(1);
  if (ask && isWaiting(ask.state)) {
    await close(tx, ask, 'released');
    ended = await changeRun(tx, run, { due: 0n, paymentState: 'released' });
  }
  if (run.quote.mode === 'after') await leaveTab(tx, run, run.cost);
  return returns ? giveUnearnedBack(tx, ended) : ended;
}

async function close(tx: Tx, ask: Ask, state: 'expired' | 'released'): Promise<void> {
  await letAllGo(tx, ask);
  await failpoint('workflows.ask.after_release');
  const closed = await changeAsk(tx, ask, { state, received: 0n, closedAt: sql`now()` });
  await tellAsk(tx, closed, state);
}

/** What was paid for a part that was not delivered; all of it, where the run has one price. */
async function giveUnearnedBack(tx: Tx, run: QuotedRun): Promise<QuotedRun> {
  const isDelivered = sql<boolean>`exists (select from ${parts} p
    where p.account_id = ${asks.accountId} and p.run_id = ${asks.runId} and p.number = ${asks.seq})`;
  const rows = await settlementsOfRun(tx, run, milestonesOf(run) ? sql`not ${isDelivered}` : undefined);
  return giveBack(
    tx,
    run,
    rows,
    rows.reduce((sum, one) => sum + keptOf(one), 0n),
  );
}

/** Gives credits of a run that is over back to whoever paid them: what was paid last first. */
export async function givePaymentBack(tx: Tx, run: QuotedRun, credits: bigint): Promise<QuotedRun> {
  return giveBack(tx, run, await settlementsOfRun(tx, run), credits);
}

const keptOf = ({ taken, returned }: Settlement): bigint => taken - returned;

async function settlementsOfRun(tx: Tx, run: QuotedRun, more?: ReturnType<typeof sql>): Promise<Settlement[]> {
  const rows = await tx
    .select({ settlement: settlements })
    .from(settlements)
    .innerJoin(asks, and(eq(asks.accountId, settlements.accountId), eq(asks.id, settlements.askId)))
    .where(and(eq(asks.accountId, run.accountId), eq(asks.runId, run.id), more))
    .orderBy(desc(settlements.createdAt), desc(settlements.id));
  return rows.map(({ settlement }) => settlement).filter((one) => keptOf(one) > 0n);
}

async function giveBack(tx: Tx, run: QuotedRun, from: Settlement[], credits: bigint): Promise<QuotedRun> {
  let left = credits;
  for (const one of from) {
    const part = least(left, keptOf(one));
    if (part === 0n) break;
    const cause = { type: 'settlement', id: one.id };
    const parentId = await transferOf(tx, one.accountId, cause, 'capture');
    const { result } = await post(tx, 'return', one.accountId, part, cause, { parentId });
    if (result !== 'posted') throw new Error(`the return of a payment was ${result}`);
    await tx
      .update(settlements)
      .set({ returned: part })
      .where(and(eq(settlements.accountId, one.accountId), eq(settlements.id, one.id)));
    left -= part;
  }
  if (left > 0n) throw new Error('more was to be given back than was paid');
  if (credits === 0n) return run;
  await failpoint('workflows.ask.after_return');
  return changeRun(tx, run, { returned: run.returned + credits });
}
