import { and, eq, inArray, sql } from 'drizzle-orm';
import { returnSpend } from '../credits/index.ts';
import type { Db, Tx } from '../platform/database/clients.ts';
import { appendEvents } from '../platform/delivery/events.ts';
import { failpoint } from '../platform/failpoints.ts';
import type { Metrics } from '../platform/metrics.ts';
import type { Run } from './runs.ts';
import { runs, services } from './tables.ts';

/**
 * How runs end. Each ending is one guarded update that counts only while the run is open, together with the return of
 * the credits and the event, in one transaction: whoever comes second finds it over.
 */

export interface Failure {
  code: string;
  message: string | null;
}

export interface RunRef {
  accountId: string;
  id: string;
}

const isOpenRun = ({ accountId, id }: RunRef, attempt?: number) =>
  and(
    eq(runs.accountId, accountId),
    eq(runs.id, id),
    inArray(runs.state, ['queued', 'running']),
    attempt === undefined ? undefined : eq(runs.attempt, attempt),
  );

/** Ends a run with its output. `attempt` fences out whoever works under another number; false: it was over already. */
export async function succeed(
  db: Db,
  metrics: Metrics,
  ref: RunRef,
  output: unknown,
  attempt?: number,
): Promise<boolean> {
  const run = await db.transaction(async (tx) => {
    const [done] = await tx
      .update(runs)
      .set({ state: 'succeeded', output: asJson(output), finishedAt: sql`now()` })
      .where(isOpenRun(ref, attempt))
      .returning();
    if (done) await tell(tx, done, 'run_succeeded');
    await failpoint('workflows.succeed.before_commit');
    return done;
  });
  await failpoint('workflows.succeed.after_commit');
  if (run) metrics.runs.inc({ state: 'succeeded' });
  return run !== undefined;
}

/** Ends a run for good as failed and gives the credits back as its service promises. */
export async function fail(
  db: Db,
  metrics: Metrics,
  ref: RunRef,
  failure: Failure,
  attempt?: number,
): Promise<boolean> {
  const run = await db.transaction((tx) => failIn(tx, ref, failure, attempt));
  await failpoint('workflows.fail.after_commit');
  if (run) metrics.runs.inc({ state: 'failed' });
  return run !== undefined;
}

/** The same, inside a transaction. */
export async function failIn(tx: Tx, ref: RunRef, failure: Failure, attempt?: number): Promise<Run | undefined> {
  const [failed] = await tx
    .update(runs)
    .set({ state: 'failed', failureCode: failure.code, failureMessage: failure.message, finishedAt: sql`now()` })
    .where(isOpenRun(ref, attempt))
    .returning();
  if (!failed) return undefined;
  const [service] = await tx
    .select({ policy: services.refundOnFailure })
    .from(services)
    .where(eq(services.id, failed.serviceId));
  const run = service?.policy === 'full' ? await giveBack(tx, failed) : failed;
  await tell(tx, run, 'run_failed', { failure });
  await failpoint('workflows.fail.before_commit');
  return run;
}

/** What a cancellation came to. `undefined`: the run was over already. */
export async function cancel(db: Db, metrics: Metrics, ref: RunRef): Promise<Run | undefined> {
  const run = await db.transaction(async (tx) => {
    const [cancelled] = await tx
      .update(runs)
      .set({ state: 'cancelled', finishedAt: sql`now()` })
      .where(isOpenRun(ref))
      .returning();
    if (!cancelled) return undefined;
    // Never handed to its executor: nothing was done for the credits. Otherwise the work may be done, and is paid.
    const settled = cancelled.attempt === 0 ? await giveBack(tx, cancelled) : cancelled;
    await tell(tx, settled, 'run_cancelled');
    await failpoint('workflows.cancel.before_commit');
    return settled;
  });
  await failpoint('workflows.cancel.after_commit');
  if (run) metrics.runs.inc({ state: 'cancelled' });
  return run;
}

async function giveBack(tx: Tx, run: Run): Promise<Run> {
  await failpoint('workflows.return.before_post');
  const outcome = await returnSpend(tx, run.accountId, run.id, run.cost);
  if (outcome.result !== 'posted') throw new Error(`the return of a run's credits was ${outcome.result}`);
  await failpoint('workflows.return.after_post');
  const [returned] = await tx
    .update(runs)
    .set({ returned: run.cost })
    .where(and(eq(runs.accountId, run.accountId), eq(runs.id, run.id)))
    .returning();
  if (!returned) throw new Error('a run that vanished');
  return returned;
}

/** Tells of runs whose rows the caller has just changed. */
export const tell = (tx: Tx, changed: Run | Run[], what: string, more: Record<string, unknown> = {}): Promise<void> =>
  appendEvents(
    tx,
    [changed].flat().map((run) => ({
      accountId: run.accountId,
      type: `workflows.${what}`,
      subjectId: run.id,
      payload: {
        state: run.state,
        attempt: run.attempt,
        cost: Number(run.cost),
        returned: Number(run.returned),
        ...more,
      },
    })),
  );

/** A JSON `null` is a value here, not an absent column. */
export const asJson = (value: unknown) => sql`${JSON.stringify(value ?? null)}::text::jsonb`;
