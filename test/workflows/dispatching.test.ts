import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { AcceptedRun } from '../../sandbox/executor/receive.ts';
import { fromWire } from '../../src/platform/ids.ts';
import { type Client, eventually, type Json } from '../harness/client.ts';
import type { TestFarebox } from '../harness/farebox.ts';
import {
  accepted,
  ended,
  eventsOf,
  fastForward,
  movesOf,
  openStage,
  replicaOf,
  runOf,
  type Stage,
  workflowOf,
} from './stage.ts';

/** Two replicas with all their workers on one database: how many run at once, who is next, and who has the last word. */

let stage: Stage;
let second: TestFarebox;
let customer: Client;
/** What the executor does, by path. */
const at = new Map<string, (run: AcceptedRun) => Promise<Json>>();
beforeAll(async () => {
  stage = await openStage();
  second = await replicaOf(stage);
  customer = await stage.customer(100_000);
  stage.executor.behave(async (run) => {
    const work = at.get(run.path);
    return work ? { json: await work(run) } : undefined;
  });
});
afterAll(async () => {
  await second.stop();
  await stage.close();
});

const callsAt = (path: string) => stage.executor.runs.filter((run) => run.path === path);
const many = (n: number, workflow: Json, by = customer): Promise<Json[]> =>
  Promise.all(Array.from({ length: n }, () => accepted(by, workflow)));
/** A service at a path of its own, and what it does there. */
async function serviceAt(path: string, work: (run: AcceptedRun) => Promise<Json>, calls: Json = {}) {
  at.set(path, work);
  return stage.offer(path, { executor: calls });
}

test('a service has no more runs at once than it takes, over all replicas, and each run is called once', async () => {
  let now = 0;
  let most = 0;
  const work = async () => {
    now += 1;
    most = Math.max(most, now);
    await sleep(15);
    now -= 1;
    return null;
  };
  const workflow = await workflowOf(customer, await serviceAt('/three', work, { max_concurrency: 3 }));
  const runs = await many(40, workflow);
  for (const run of runs) expect((await ended(customer, run)).state).toBe('succeeded');
  expect(most).toBe(3);
  expect(callsAt('/three')).toHaveLength(40);
  expect(new Set(callsAt('/three').map(({ runId }) => runId)).size).toBe(40);
});

test('while one replica hands out runs of a service, no other does; other services are not held up', async () => {
  const service = await serviceAt('/locked', async () => null);
  const [held, free] = [
    await workflowOf(customer, service),
    await workflowOf(customer, await serviceAt('/free', async () => null)),
  ];
  const handing = await stage.root.reserve();
  await handing`begin`;
  await handing`select pg_advisory_xact_lock(hashtextextended(${`workflows.dispatch ${fromWire('service', service.id)}`}, 0))`;
  const run = await accepted(customer, held);
  expect((await ended(customer, await accepted(customer, free))).state).toBe('succeeded');
  expect((await ended(customer, await accepted(customer, free))).state).toBe('succeeded');
  expect(await runOf(customer, run)).toMatchObject({ state: 'queued', attempt: 0 });
  await handing`commit`;
  handing.release();
  expect((await ended(customer, run)).state).toBe('succeeded');
});

test('a place that becomes free is taken at once', async () => {
  const workflow = await workflowOf(customer, await serviceAt('/one', async () => null, { max_concurrency: 1 }));
  const began = performance.now();
  const runs = await many(20, workflow);
  for (const run of runs) await ended(customer, run);
  expect(performance.now() - began).toBeLessThan(6_000); // a place a second would be twenty
});

test('a customer with hundreds of runs does not keep another one waiting', async () => {
  const work = () => sleep(10).then(() => null);
  const service = await serviceAt('/shared', work, { max_concurrency: 2 });
  const [busy, other] = [await stage.customer(3000), await stage.customer(10)];
  const [theirs, mine] = [await workflowOf(busy, service), await workflowOf(other, service)];
  await many(300, theirs, busy);
  const run = await accepted(other, mine);
  const before = callsAt('/shared').length;
  await ended(other, run);
  const turn = callsAt('/shared').findIndex(({ runId }) => runId === run.id);
  expect(turn - before).toBeLessThan(20);
  await stage.root`update workflows.runs set state = 'cancelled', finished_at = now()
    where service_id = ${fromWire('service', service.id)} and state = 'queued'`;
});

test('an executor that hangs does not keep the others from being called', async () => {
  const never = new AbortController();
  const hang = () => sleep(60_000, null, { signal: never.signal }).catch(() => null);
  const stuck = await workflowOf(
    customer,
    await serviceAt('/stuck', hang, { max_concurrency: 1000, timeout_ms: 60_000 }),
  );
  const runs = await many(160, stuck);
  await eventually(
    async () => callsAt('/stuck').length,
    (calls) => calls >= 120,
  ); // both replicas are full
  const quick = await workflowOf(customer, await serviceAt('/quick', async () => 'done'));
  for (const run of await many(6, quick)) expect((await ended(customer, run, 5_000)).output).toBe('done');
  never.abort();
  for (const run of runs) expect((await ended(customer, run)).state).toBe('succeeded');
});

/** A run whose first call is still on its way when its second is made: gates hold both answers back. */
async function overtaken(path: string) {
  const gates = [Promise.withResolvers<Json>(), Promise.withResolvers<Json>()];
  onTestFinished(() => gates.forEach(({ resolve }) => void resolve(null)));
  const service = await serviceAt(path, (run) => gates[run.attempt - 1]?.promise ?? Promise.resolve(null), {
    timeout_ms: 60_000,
  });
  const run = await accepted(customer, await workflowOf(customer, service));
  await eventually(
    async () => callsAt(path).length,
    (calls) => calls === 1,
  );
  await fastForward(stage.root, run, 120);
  await eventually(
    async () => callsAt(path).length,
    (calls) => calls === 2,
  );
  return { run, answer: (attempt: number, json: Json) => gates[attempt - 1]?.resolve(json) };
}

test('a worker that comes back after its lease was over changes nothing', async () => {
  const { run, answer } = await overtaken('/overtaken');
  answer(1, 'late');
  await sleep(100);
  expect(await runOf(customer, run)).toMatchObject({ state: 'running', attempt: 2, output: null });
  answer(2, 'present');
  expect(await ended(customer, run)).toMatchObject({ state: 'succeeded', attempt: 2, output: 'present' });
  expect(await eventsOf(stage.root, run)).toEqual(['queued', 'dispatched', 'dispatched', 'succeeded']);
  expect(callsAt('/overtaken').map(({ runId }) => runId)).toEqual([run.id, run.id]);
});

test('nor does it when the run has ended meanwhile', async () => {
  const { run, answer } = await overtaken('/overtaken-and-done');
  answer(2, 'present');
  const done = await ended(customer, run);
  answer(1, 'late');
  await sleep(100);
  expect(await runOf(customer, run)).toEqual(done);
});

test('a run that is cancelled or expires during its call stays so, whatever the executor answers', async () => {
  for (const [n, end] of ['cancel', 'expire'].entries()) {
    const gate = Promise.withResolvers<Json>();
    onTestFinished(() => gate.resolve(null));
    const path = `/ended-${end}`;
    const run = await accepted(
      customer,
      await workflowOf(customer, await serviceAt(path, () => gate.promise, { timeout_ms: 60_000 })),
    );
    await eventually(
      async () => callsAt(path).length,
      (calls) => calls === 1,
    );
    if (n === 0) await customer.ok('POST', `/v1/runs/${run.id}/cancel`);
    else await stage.root`update workflows.runs set deadline_at = now() where id = ${fromWire('run', run.id)}`;
    const over = await ended(customer, run);
    expect(over).toMatchObject(
      n === 0 ? { state: 'cancelled' } : { state: 'failed', failure: { code: 'deadline_exceeded' } },
    );
    gate.resolve('too late');
    await sleep(100);
    expect(await runOf(customer, run)).toEqual(over);
    expect(await movesOf(stage.root, run)).toEqual(n === 0 ? ['spend 10'] : ['spend 10', 'return 10']);
  }
});

// It used to be read after the lease what the call needs: a database that was away for a moment cost the run its attempt.
test('a run whose workflow cannot be read is not leased: its only attempt is still there', async () => {
  const gate = Promise.withResolvers<Json>();
  const service = await serviceAt('/only', () => gate.promise, { max_attempts: 1, max_concurrency: 1 });
  const workflow = await workflowOf(customer, service);
  const [before, run] = [await accepted(customer, workflow), await accepted(customer, workflow)];
  await eventually(
    async () => callsAt('/only').length,
    (calls) => calls === 1,
  );
  const faults = async () => {
    const texts = [stage.farebox, second].map(async ({ internalUrl }) =>
      (await fetch(`${internalUrl}/metrics`)).text(),
    );
    return (await Promise.all(texts)).join('').match(/^farebox_worker_faults_total\{worker="dispatch"\} .*/gm) ?? [];
  };
  const known = await faults();
  const [locked, free] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  onTestFinished(() => free.resolve());
  const locking = stage.root.begin(async (tx) => {
    await tx`lock table workflows.workflows`;
    locked.resolve();
    await free.promise;
  });
  await locked.promise;
  gate.resolve('done');
  await ended(customer, before);
  await eventually(faults, (now) => now.join() !== known.join());
  expect(await runOf(customer, run)).toMatchObject({ state: 'queued', attempt: 0 });
  free.resolve();
  await locking;
  expect(await ended(customer, run)).toMatchObject({ state: 'succeeded', attempt: 1 });
});
