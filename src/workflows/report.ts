import { and, eq, inArray, sql } from 'drizzle-orm';
import type { Db, Tx } from '../platform/database/clients.ts';
import { failpoint } from '../platform/failpoints.ts';
import { Problem } from '../platform/http/problem.ts';
import type { Metrics } from '../platform/metrics.ts';
import { partCame } from './asks/advance.ts';
import { isQuoted, milestonesOf } from './asks/open.ts';
import { backoffMs, retry } from './dispatch.ts';
import { type Failure, fail, type RunRef, succeed } from './finish.ts';
import { isOver, type Run } from './runs.ts';
import { parts, runs, services } from './tables.ts';
import { asJson, tell } from './tell.ts';

/** What an executor that answered 202 tells later. Each report extends the time until the next one is due. */

export interface Reporter extends RunRef {
  attempt: number;
}

/** How far the work is. 409 from an attempt that is no longer the latest. */
export async function reportProgress(
  db: Db,
  by: Reporter,
  progress: { percent: number | null; message: string | null },
): Promise<void> {
  await db.transaction(async (tx) => {
    const run = await extend(tx, by, { progress: asJson(progress) });
    await tell(tx, run, 'run_progressed', { progress });
    await failpoint('workflows.report.before_progress_commit');
  });
  await failpoint('workflows.report.after_progress_commit');
}

/** A partial result. The same part twice is fine; the same number with other content is a 409. */
export async function reportPart(db: Db, by: Reporter, number: number, content: unknown): Promise<void> {
  await db.transaction(async (tx) => {
    const run = await alive(tx, by, {});
    // Its run waits for the next payment because of it: whoever repeats it has had no answer.
    if (!run && (await isKept(tx, by, number, content)) && (await isPaused(tx, by))) return;
    if (!run) throw await whyNot(tx, by);
    const [added] = await tx
      .insert(parts)
      .values({ accountId: by.accountId, runId: by.id, number, content: asJson(content) })
      .onConflictDoNothing()
      .returning({ number: parts.number });
    if (added) await came(tx, run, number);
    await failpoint('workflows.report.before_part_commit');
    if (!added && !(await isKept(tx, by, number, content))) throw new Problem('part_conflict');
  });
  await failpoint('workflows.report.after_part_commit');
}

const came = (tx: Tx, run: Run, number: number): Promise<void> =>
  isQuoted(run) && milestonesOf(run) ? partCame(tx, run, number) : tell(tx, run, 'run_part_added', { part: number });

async function isKept(tx: Tx, by: Reporter, number: number, content: unknown): Promise<boolean> {
  const isIt = and(eq(parts.accountId, by.accountId), eq(parts.runId, by.id), eq(parts.number, number));
  return (await tx.$count(parts, and(isIt, sql`${parts.content} = ${asJson(content)}`))) > 0;
}

const isPaused = async (tx: Tx, by: Reporter): Promise<boolean> =>
  (await tx.$count(runs, and(isRun(by), eq(runs.state, 'paused'), eq(runs.attempt, by.attempt)))) > 0;

/** `paused`: with an output, what waits is its payment. */
const DELIVERED: Run['state'][] = ['succeeded', 'paused'];

/**
 * The result. The first completion wins, even one of an older attempt: the work is done. The same completion again, as
 * after a lost answer, is fine; any other one is late.
 */
export async function reportCompletion(db: Db, metrics: Metrics, by: Reporter, output: unknown): Promise<void> {
  if (await succeed(db, metrics, by, output, { attempt: by.attempt, mayBeOlder: true })) return;
  const [same] = await db
    .select({ id: runs.id })
    .from(runs)
    .where(and(isRun(by), inArray(runs.state, DELIVERED), sql`${runs.output} = ${asJson(output)}`));
  if (!same) throw await whyNot(db, by);
}

/** A failure: for good, or to be tried again as after a 503. The same failure again, as after a lost answer, is fine. */
export async function reportFailure(
  db: Db,
  metrics: Metrics,
  by: Reporter,
  failure: Failure,
  retryable: boolean,
): Promise<void> {
  if (retryable && (await tryAgain(db, by))) return;
  if (await fail(db, metrics, by, failure, by.attempt)) return;
  const [same] = await db
    .select({ id: runs.id })
    .from(runs)
    .where(and(isRun(by), eq(runs.state, 'failed'), eq(runs.attempt, by.attempt), eq(runs.failureCode, failure.code)));
  if (!same) throw await whyNot(db, by);
}

/** Puts the run back into the queue, if it has not been put there already; false: it has no attempt left, or is not at it. */
async function tryAgain(db: Db, by: Reporter): Promise<boolean> {
  return db.transaction(async (tx) => {
    const [run] = await tx
      .select()
      .from(runs)
      .where(and(isRun(by), eq(runs.attempt, by.attempt)))
      .for('update');
    if (run?.state === 'queued') return true;
    if (run?.state !== 'running') return false;
    const [service] = await tx
      .select({ maxAttempts: services.maxAttempts })
      .from(services)
      .where(eq(services.id, run.serviceId));
    const attempts = run.attempt - run.attemptsBefore;
    return attempts < (service?.maxAttempts ?? 0) && retry(tx, run, backoffMs(run.attempt));
  });
}

/** Counts a sign of life of the latest attempt. 409 when it does not count any more. */
async function extend(tx: Tx, by: Reporter, change: object): Promise<Run> {
  const run = await alive(tx, by, change);
  if (!run) throw await whyNot(tx, by);
  return run;
}

/** It never shortens the time that the attempt has. */
async function alive(tx: Tx, by: Reporter, change: object): Promise<Run | undefined> {
  const interval = tx.select({ s: services.reportIntervalS }).from(services).where(eq(services.id, runs.serviceId));
  const [run] = await tx
    .update(runs)
    .set({ ...change, nextAttemptAt: sql`greatest(${runs.nextAttemptAt}, now() + make_interval(secs => ${interval}))` })
    .where(and(isRun(by), eq(runs.state, 'running'), eq(runs.attempt, by.attempt)))
    .returning();
  return run;
}

async function whyNot(on: Db | Tx, by: Reporter): Promise<Problem> {
  const [run] = await on.select({ state: runs.state }).from(runs).where(isRun(by));
  if (!run) return new Problem('not_found');
  if (isOver(run.state))
    return new Problem('run_finished', `The run has ${run.state}.`, { extra: { state: run.state } });
  if (run.state === 'paused') return new Problem('run_paused');
  return new Problem('attempt_superseded');
}

const isRun = ({ accountId, id }: RunRef) => and(eq(runs.accountId, accountId), eq(runs.id, id));
