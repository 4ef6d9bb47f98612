import { readFileSync } from 'node:fs';
import { and, eq, inArray, sql } from 'drizzle-orm';
import type { Db, Tx } from '../platform/database/clients.ts';
import { prepared, runIn, type Statement } from '../platform/database/statement.ts';
import type { Feed } from '../platform/delivery/feed.ts';
import { fullJitter, insist, LEASE_MARGIN_MS } from '../platform/delivery/retries.ts';
import type { Worker } from '../platform/delivery/worker.ts';
import type { Egress } from '../platform/egress.ts';
import { failpoint } from '../platform/failpoints.ts';
import { toWire } from '../platform/ids.ts';
import type { Log } from '../platform/log.ts';
import type { Metrics } from '../platform/metrics.ts';
import type { Vault } from '../platform/secrets.ts';
import { callExecutor, type Verdict } from './call-executor.ts';
import { fail, succeed } from './finish.ts';
import type { Run } from './runs.ts';
import { type Service, signingSecretsOf } from './services.ts';
import { runs, services, workflows } from './tables.ts';
import { tell } from './tell.ts';

export interface DispatchDeps {
  db: Db;
  vault: Vault;
  egress: Egress;
  feed: Feed;
  log: Log;
  metrics: Metrics;
  publicUrl: string;
  /** There may be room for another run. */
  wakeDispatcher(): void;
  /** A token for the executor of this attempt of this run. */
  signCallback(claims: { sub: string; acc: string; att: number }, expiresAt: Date): string;
}

const EVERY_MS = 1_000; // the safety net; new runs ring the bell
const CALLS_AT_ONCE = 64; // per replica
const CALLS_OF_EACH = 4; // that a service may always have: slow executors of others do not stop it
const RUNS_PER_ACCOUNT = 4; // per turn: a busy customer does not crowd out the others
const CALLBACK_GRACE_MS = 3_600_000; // a report after the deadline is told so, not refused as a stranger's
const FIRST_BACKOFF_MS = 1_000;
const MAX_BACKOFF_MS = 300_000;
const NOBODY = '00000000-0000-0000-0000-000000000000';

interface Leased {
  run: Run;
  workflowName: string;
  /** Its account's place in the turn. */
  n: number;
  /** Until the deadline, by the database's clock. */
  leftMs: number;
}

const leaseStatement: Statement<
  [string, string, number, number, number, number],
  { id: string; n: number; leftMs: number }[]
> = {
  text: readFileSync(new URL('./lease-runs.sql', import.meta.url), 'utf8'),
  parse: (rows) =>
    rows.map((row) => ({ id: row['id'] as string, n: Number(row['n']), leftMs: Number(row['left_ms']) })),
};

/**
 * Hands due runs to their executors: at least once, always with the same run id. The lease is the attempt: whoever
 * answers under an older number changes nothing.
 */
export function dispatcher(deps: DispatchDeps): Worker {
  const inHand = new Map<Promise<void>, string>();
  const lastServed = new Map<string, string>();
  const roomFor = (serviceId: string) => {
    const own = [...inHand.values()].filter((id) => id === serviceId).length;
    return Math.max(CALLS_AT_ONCE - inHand.size, CALLS_OF_EACH - own);
  };
  const hand = (service: Service, leased: Leased) => {
    const call = dispatch(deps, service, leased).catch((fault) => {
      deps.log.error({ err: fault, run_id: leased.run.id }, 'a dispatch was not finished; its lease will run out');
    });
    inHand.set(call, service.id);
    void call.then(() => {
      inHand.delete(call);
      deps.wakeDispatcher();
    });
  };
  return {
    name: 'dispatch',
    everyMs: EVERY_MS,
    settle: async () => {
      await Promise.all(inHand.keys());
    },
    runOnce: async (signal) => {
      let taken = 0;
      for (const service of await servicesWithDueRuns(deps.db).execute()) {
        if (signal.aborted || deps.egress.isClosing) return { more: false };
        const room = roomFor(service.id);
        if (room <= 0) continue;
        const leased = await lease(deps.db, service, lastServed.get(service.id) ?? NOBODY, room);
        if (leased.length > 0) await failpoint('workflows.dispatch.after_lease');
        const last = leased.toSorted((a, b) => b.n - a.n)[0];
        if (last) lastServed.set(service.id, last.run.accountId);
        taken += leased.length;
        for (const one of leased) hand(service, one);
      }
      return { more: taken > 0 };
    },
  };
}

/** Services that have something due and room for it, in an order that changes, so that none is always last. */
const servicesWithDueRuns = prepared((db) =>
  db
    .select()
    .from(services)
    .where(
      and(
        // A scalar in the order of the queue's index: of `exists` the planner may make a join that reads the whole queue.
        sql`(select true from ${runs} r where r.service_id = ${services.id} and r.state in ('queued', 'running') and r.next_attempt_at <= now() order by r.account_id limit 1)`,
        sql`(select count(*) from ${runs} r where r.service_id = ${services.id} and r.state = 'running' and r.next_attempt_at > now()) < ${services.maxConcurrency}`,
      ),
    )
    .orderBy(sql`random()`)
    .prepare('services_with_due_runs'),
);

async function lease(db: Db, service: Service, after: string, room: number): Promise<Leased[]> {
  return db.transaction(async (tx) => {
    const [lock] = await tx.execute<{ taken: boolean }>(
      sql`select pg_try_advisory_xact_lock(hashtextextended(${`workflows.dispatch ${service.id}`}, 0)) as taken`,
    );
    if (!lock?.taken) return []; // another replica is at it
    const leaseMs = service.timeoutMs + LEASE_MARGIN_MS;
    const picked = await runIn(tx, leaseStatement, [
      service.id,
      after,
      room,
      RUNS_PER_ACCOUNT,
      leaseMs,
      service.maxAttempts,
    ]);
    if (picked.length === 0) return [];
    // All that the call needs is read here: once the lease is taken, a database that is away costs no attempt.
    const rows = await tx
      .select({ run: runs, workflowName: sql<string>`coalesce(${workflows.name}, '')` })
      .from(runs)
      .leftJoin(workflows, eq(workflows.id, runs.workflowId))
      .where(
        inArray(
          runs.id,
          picked.map(({ id }) => id),
        ),
      );
    await tell(
      tx,
      rows.map(({ run }) => run),
      'run_dispatched',
    );
    await failpoint('workflows.dispatch.before_lease_commit');
    return picked.flatMap((pick) => rows.filter(({ run }) => run.id === pick.id).map((row) => ({ ...pick, ...row })));
  });
}

async function dispatch(deps: DispatchDeps, service: Service, leased: Leased): Promise<void> {
  const { db, metrics, feed } = deps;
  const { run, leftMs } = leased;
  feed.wake();
  await failpoint('workflows.dispatch.before_call');
  const verdict = await callExecutor(deps.egress, {
    url: service.endpoint,
    runId: toWire('run', run.id),
    body: JSON.stringify(describe(deps, service, leased)),
    secrets: signingSecretsOf(deps.vault, service),
    timeoutMs: Math.max(1, Math.floor(Math.min(service.timeoutMs, leftMs))),
  });
  await failpoint('workflows.dispatch.after_call');
  metrics.dispatches.inc({ outcome: verdict.outcome });
  await insist(() => settle(db, metrics, service, run, verdict));
  await failpoint('workflows.dispatch.after_record');
  feed.wake();
}

/** Writes down what a call came to, if this attempt still counts. */
async function settle(db: Db, metrics: Metrics, service: Service, run: Run, verdict: Verdict): Promise<void> {
  const hasAttempts = run.attempt - run.attemptsBefore < service.maxAttempts;
  switch (verdict.outcome) {
    case 'done':
      await succeed(db, metrics, run, verdict.output, run);
      return;
    case 'accepted':
      await db.transaction(async (tx) => {
        await postpone(tx, run, { state: 'running' }, service.reportIntervalS * 1000);
        await failpoint('workflows.dispatch.before_accept_commit');
      });
      return;
    case 'failed':
      await fail(db, metrics, run, verdict.failure, run.attempt);
      return;
    case 'retry':
      if (hasAttempts) await db.transaction((tx) => retry(tx, run, verdict.afterMs + backoffMs(run.attempt)));
      else await fail(db, metrics, run, verdict.failure, run.attempt);
      return;
    case 'unsent': // it was no attempt
      await db.transaction((tx) => requeue(tx, run, { attempt: run.attempt - 1 }, 0));
      return;
    case 'cut': // the executor may be at work: after the last attempt the run waits for its report until the lease ends
      if (hasAttempts) await db.transaction((tx) => requeue(tx, run, {}, 0));
  }
}

/** Full jitter: between nothing and the exponential bound. */
export const backoffMs = (attempt: number): number => fullJitter(attempt, FIRST_BACKOFF_MS, MAX_BACKOFF_MS);

/** Puts a run back into the queue for its next attempt; false: this attempt does not count any more. */
export const retry = (tx: Tx, run: Run, afterMs: number): Promise<boolean> => requeue(tx, run, {}, afterMs);

async function requeue(tx: Tx, run: Run, change: { attempt?: number }, afterMs: number): Promise<boolean> {
  const queued = await postpone(tx, run, { state: 'queued', ...change }, afterMs);
  if (queued) await tell(tx, queued, 'run_requeued', { next_attempt_at: queued.nextAttemptAt.toISOString() });
  await failpoint('workflows.dispatch.before_requeue_commit');
  return queued !== undefined;
}

async function postpone(tx: Tx, run: Run, change: Partial<Run>, ms: number): Promise<Run | undefined> {
  const [postponed] = await tx
    .update(runs)
    .set({ ...change, nextAttemptAt: sql`now() + make_interval(secs => ${ms / 1000}::float8)` })
    .where(
      and(
        eq(runs.accountId, run.accountId),
        eq(runs.id, run.id),
        eq(runs.state, 'running'),
        eq(runs.attempt, run.attempt),
      ),
    )
    .returning();
  return postponed;
}

/** The body of the call: everything an executor needs, and nothing about the customer but the workflow's name. */
function describe(deps: DispatchDeps, service: Service, { run, workflowName, leftMs }: Leased) {
  const runId = toWire('run', run.id);
  const expiresAt = new Date(Date.now() + leftMs + CALLBACK_GRACE_MS); // by the clock that will judge it
  return {
    type: 'run.dispatched',
    timestamp: new Date().toISOString(),
    data: {
      run_id: runId,
      attempt: run.attempt,
      service: { id: toWire('service', service.id), name: service.name },
      workflow: { id: toWire('workflow', run.workflowId), name: workflowName },
      input: run.input,
      ...(run.quote?.milestones ? { parts: { paid: run.paidParts, of: run.quote.milestones.length } } : {}),
      deadline: run.deadlineAt.toISOString(),
      callback_url: `${deps.publicUrl}/v1/executor/runs/${runId}`,
      callback_token: deps.signCallback(
        { sub: runId, acc: toWire('account', run.accountId), att: run.attempt },
        expiresAt,
      ),
    },
  };
}
