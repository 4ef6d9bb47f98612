import { and, eq, inArray, lt, sql } from 'drizzle-orm';
import { returnSpend } from '../credits/index.ts';
import type { Db, Tx } from '../platform/database/clients.ts';
import { failpoint } from '../platform/failpoints.ts';
import type { Metrics } from '../platform/metrics.ts';
import { delivered } from './asks/advance.ts';
import { endUnpaid } from './asks/end.ts';
import { isQuoted } from './asks/open.ts';
import type { Run } from './runs.ts';
import { type RunState, runs, services } from './tables.ts';
import { asJson, tell } from './tell.ts';

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

const AT_WORK: RunState[] = ['queued', 'running'];
const NOT_OVER: RunState[] = [...AT_WORK, 'awaiting_payment', 'paused'];

/** Which attempt says so. */
interface Speaker {
  attempt: number;
  /** The work is done, whoever has done it: an older attempt counts, too. */
  mayBeOlder?: boolean;
}

const isOpenRun = ({ accountId, id }: RunRef, by?: Speaker, states = AT_WORK) =>
  and(eq(runs.accountId, accountId), eq(runs.id, id), inArray(runs.state, states), by && hasSay(by));

/** A pause ends its attempt: what is paid after it is for the next one to work on, and not for that one to end. */
const hasSay = ({ attempt, mayBeOlder = false }: Speaker) =>
  and(lt(runs.attemptsBefore, attempt), mayBeOlder ? undefined : eq(runs.attempt, attempt));

/** Something of it is not paid: the output is kept, and shown when it is. */
const waitsForPayment = sql`coalesce(${runs.paidParts} < jsonb_array_length(nullif(${runs.quote} -> 'milestones', 'null')), false)`;

/** Ends a run with its output. False: it was over already, or whoever says so has no say any more. */
export async function succeed(db: Db, metrics: Metrics, ref: RunRef, output: unknown, by: Speaker): Promise<boolean> {
  const run = await db.transaction(async (tx) => {
    const [done] = await tx
      .update(runs)
      .set({
        state: sql`case when ${waitsForPayment} then 'paused' else 'succeeded' end`,
        output: asJson(output),
        finishedAt: sql`case when ${waitsForPayment} then null else now() end`,
        deliveredAt: sql`case when ${runs.quote} is null then null else now() end`,
      })
      .where(isOpenRun(ref, by))
      .returning();
    const run = done && isQuoted(done) ? await delivered(tx, done) : done;
    if (run?.state === 'succeeded') await tell(tx, run, 'run_succeeded');
    await failpoint('workflows.succeed.before_commit');
    return done;
  });
  await failpoint('workflows.succeed.after_commit');
  if (run?.state === 'succeeded') metrics.runs.inc({ state: 'succeeded' });
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
    .where(isOpenRun(ref, attempt === undefined ? undefined : { attempt }))
    .returning();
  if (!failed) return undefined;
  const run = await settleFailure(tx, failed);
  await tell(tx, run, 'run_failed', { failure });
  await failpoint('workflows.fail.before_commit');
  return run;
}

async function settleFailure(tx: Tx, failed: Run): Promise<Run> {
  if (isQuoted(failed)) return endUnpaid(tx, failed, { returns: failed.quote.refund_on_failure === 'full' });
  const [service] = await tx
    .select({ policy: services.refundOnFailure })
    .from(services)
    .where(eq(services.id, failed.serviceId));
  return service?.policy === 'full' ? giveBack(tx, failed) : failed;
}

/** What a cancellation came to. `undefined`: the run was over already. */
export async function cancel(db: Db, metrics: Metrics, ref: RunRef): Promise<Run | undefined> {
  const run = await db.transaction((tx) => cancelIn(tx, ref));
  await failpoint('workflows.cancel.after_commit');
  if (run) metrics.runs.inc({ state: 'cancelled' });
  return run;
}

/** The same, inside a transaction. */
export async function cancelIn(tx: Tx, ref: RunRef): Promise<Run | undefined> {
  const [cancelled] = await tx
    .update(runs)
    .set({ state: 'cancelled', finishedAt: sql`now()` })
    .where(isOpenRun(ref, undefined, NOT_OVER))
    .returning();
  if (!cancelled) return undefined;
  const settled = await settleCancellation(tx, cancelled);
  await tell(tx, settled, 'run_cancelled');
  await failpoint('workflows.cancel.before_commit');
  return settled;
}

/** Never handed to its executor: nothing was done for the credits. Otherwise the work may be done, and is paid. */
async function settleCancellation(tx: Tx, cancelled: Run): Promise<Run> {
  const isUntouched = cancelled.attempt === cancelled.attemptsBefore;
  if (isQuoted(cancelled)) return endUnpaid(tx, cancelled, { returns: isUntouched });
  return isUntouched ? giveBack(tx, cancelled) : cancelled;
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
