import { and, asc, eq, gt, sql } from 'drizzle-orm';
import type { Tx } from '../../platform/database/clients.ts';
import { parts } from '../tables.ts';
import { tell } from '../tell.ts';
import { changeRun, hasUnpaidParts, milestonesOf, openAsk, type QuotedRun } from './open.ts';
import type { Ask } from './read.ts';

/** What a run does once something of it is paid, and when it comes to where the next payment is due. */

/** An ask was paid a moment ago: the run starts, goes on, or owes nothing any more. */
export async function advance(tx: Tx, run: QuotedRun, ask: Ask): Promise<QuotedRun> {
  if (ask.kind === 'result') {
    await tell(tx, run, 'run_paid');
    return run;
  }
  const paid = await changeRun(tx, run, { paidParts: ask.seq });
  if (milestonesOf(paid) === null) return resume(tx, paid);
  const waiting = await showParts(tx, paid, run.paidParts);
  if (paid.deliveredAt !== null)
    return hasUnpaidParts(paid) ? (await openAsk(tx, paid, 'part')).run : conclude(tx, paid);
  if (waiting.includes(paid.paidParts) && hasUnpaidParts(paid)) return (await openAsk(tx, paid, 'part')).run;
  return paid.state === 'awaiting_payment' || paid.state === 'paused' ? resume(tx, paid) : paid;
}

/** Puts a run into the queue with all the time and the attempts that a run has. */
async function resume(tx: Tx, run: QuotedRun): Promise<QuotedRun> {
  const queued = await changeRun(tx, run, {
    state: 'queued',
    nextAttemptAt: sql`now()`,
    deadlineAt: sql`now() + make_interval(secs => ${run.quote.deadline_s})`,
    attemptsBefore: run.attempt,
  });
  await tell(tx, queued, 'run_queued');
  return queued;
}

/** Everything was delivered before, and now it is paid. */
async function conclude(tx: Tx, run: QuotedRun): Promise<QuotedRun> {
  const done = await changeRun(tx, run, { state: 'succeeded', finishedAt: sql`now()` });
  await tell(tx, done, 'run_succeeded');
  return done;
}

/** Tells of the parts that were there before they were paid. Answers the numbers of those that can be read now. */
async function showParts(tx: Tx, run: QuotedRun, before: number): Promise<number[]> {
  const there = await tx
    .select({ number: parts.number })
    .from(parts)
    .where(and(eq(parts.accountId, run.accountId), eq(parts.runId, run.id), gt(parts.number, before)))
    .orderBy(asc(parts.number));
  const shown = there.map(({ number }) => number).filter((number) => canBeRead(run, number));
  for (const part of shown) await tell(tx, run, 'run_part_added', { part });
  return shown;
}

/** Parts up to the last one that is paid; all of them once everything is, or where nothing is paid by parts. */
export const canBeRead = (run: Pick<QuotedRun, 'paidParts'> & { quote: QuotedRun['quote'] | null }, number: number) =>
  number <= run.paidParts || run.paidParts >= (run.quote?.milestones?.length ?? 0);

/**
 * A part of a run with milestones came in. It is told of once it can be read. When it is the last one that is paid, the
 * next one is asked for, and the run waits for that, unless its policy lets it go on.
 */
export async function partCame(tx: Tx, run: QuotedRun, number: number): Promise<void> {
  if (canBeRead(run, number)) await tell(tx, run, 'run_part_added', { part: number });
  if (number !== run.paidParts || !hasUnpaidParts(run) || run.due > 0n) return;
  const { run: asking } = await openAsk(tx, run, 'part');
  if (asking.quote.unpaid_part === 'pause') await pause(tx, asking);
}

async function pause(tx: Tx, run: QuotedRun): Promise<QuotedRun> {
  const paused = await changeRun(tx, run, { state: 'paused' });
  await tell(tx, paused, 'run_paused');
  return paused;
}

/**
 * The executor has delivered all of a run, which `succeed` has put to `succeeded`, or to `paused` when parts of it are not paid.
 * What is still to be paid is asked for now.
 */
export async function delivered(tx: Tx, run: QuotedRun): Promise<QuotedRun> {
  if (run.state !== 'paused') return run.quote.mode === 'after' ? (await openAsk(tx, run, 'result')).run : run;
  const asking = run.due > 0n ? run : (await openAsk(tx, run, 'part')).run;
  await tell(tx, asking, 'run_paused');
  return asking;
}
