import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Answer } from '../../sandbox/executor/answer.ts';
import type { AcceptedRun } from '../../sandbox/executor/receive.ts';
import { type Client, clientOf, eventually, type Json } from '../harness/client.ts';
import type { TestFarebox } from '../harness/farebox.ts';
import {
  accepted,
  available,
  ended,
  eventsOf,
  movesOf,
  openStage,
  passDeadline,
  replicaOf,
  runOf,
  type Stage,
  workflowOf,
} from './stage.ts';

/** A run that is not wanted any more: who wins against dispatch, answer, report and deadline, and what happens to the credits. */

let stage: Stage;
let second: TestFarebox;
let customer: Client;
const at = new Map<string, (run: AcceptedRun) => Answer | Promise<Answer>>();
beforeAll(async () => {
  stage = await openStage();
  second = await replicaOf(stage);
  customer = await stage.customer(1_000_000);
  stage.executor.behave((run) => at.get(run.path)?.(run));
});
afterAll(async () => {
  await second.stop();
  await stage.close();
});

const cancel = (run: Json, as = customer) => as.post(`/v1/runs/${run.id}/cancel`);
async function workflowAt(path: string, answer: (run: AcceptedRun) => Answer | Promise<Answer>, calls: Json = {}) {
  at.set(path, answer);
  return workflowOf(customer, await stage.offer(path, { executor: { max_concurrency: 100, ...calls } }));
}
const callsOf = (run: Json) => stage.executor.runs.filter(({ runId }) => runId === run.id);
const atWork = (run: Json) =>
  eventually(
    async () => callsOf(run),
    (calls) => calls.length > 0,
  );

test('a run that was never handed out gives its credits back', async () => {
  const workflow = await workflowAt('/full', () => ({ status: 202 }), { max_concurrency: 1, report_interval_s: 1000 });
  const first = await accepted(customer, workflow);
  await atWork(first);
  const before = await available(customer);
  const run = await accepted(customer, workflow);
  const reply = await cancel(run);
  expect(reply.status).toBe(200);
  expect(reply.body).toMatchObject({ id: run.id, state: 'cancelled', attempt: 0, returned: 10, failure: null });
  expect(reply.body.finished_at).not.toBeNull();
  expect(await runOf(customer, run)).toEqual(reply.body);
  expect(await available(customer)).toBe(before);
  expect(await movesOf(stage.root, run)).toEqual(['spend 10', 'return 10']);
  expect(await eventsOf(stage.root, run)).toEqual(['queued', 'cancelled']);
  await cancel(first);
  expect(callsOf(run)).toEqual([]);
});

test('the place of a cancelled run is free for the next', async () => {
  const workflow = await workflowAt('/one-place', () => ({ status: 202 }), {
    max_concurrency: 1,
    report_interval_s: 1000,
  });
  const [first, next] = [await accepted(customer, workflow), await accepted(customer, workflow)];
  await atWork(first);
  await cancel(first);
  await atWork(next);
});

test('one that is at work gives nothing back, nor does one that waits for another attempt', async () => {
  const working = await accepted(
    customer,
    await workflowAt('/working', () => ({ status: 202 }), { report_interval_s: 1000 }),
  );
  const waiting = await accepted(
    customer,
    await workflowAt('/waiting', () => ({ status: 503, headers: { 'retry-after': '600' } })),
  );
  await atWork(working);
  await eventually(
    () => eventsOf(stage.root, waiting),
    (events) => events.includes('requeued'),
  );
  for (const run of [working, waiting]) {
    expect((await cancel(run)).body).toMatchObject({ state: 'cancelled', returned: 0, attempt: 1 });
    expect(await movesOf(stage.root, run)).toEqual(['spend 10']);
  }
});

test('again is the same; what has ended otherwise is a 409; what is not theirs is not there', async () => {
  const waiting = await workflowAt('/again', () => ({ status: 202 }), { report_interval_s: 1000 });
  const run = await accepted(customer, waiting);
  const first = await cancel(run);
  expect((await cancel(run)).body).toEqual(first.body);
  expect((await eventsOf(stage.root, run)).filter((type) => type === 'cancelled')).toHaveLength(1);
  const done = await ended(customer, await accepted(customer, await workflowAt('/done', () => ({}))));
  expect((await cancel(done)).body).toMatchObject({ status: 409, code: 'run_finished', state: 'succeeded' });
  expect(await runOf(customer, done)).toEqual(done);
  const stranger = await stage.customer(10);
  const other = await accepted(customer, waiting);
  expect((await cancel(other, stranger)).body).toMatchObject({ status: 404, code: 'not_found' });
  expect((await cancel({ id: 'run_00000000000000000000000000' })).body.code).toBe('not_found');
});

/** One end, told once; credits as the end says; nothing of both. */
async function expectOneEnd(run: Json): Promise<string> {
  const over = await ended(customer, run);
  const ends = (await eventsOf(stage.root, run)).filter((type) => ['succeeded', 'failed', 'cancelled'].includes(type));
  expect(ends).toEqual([over.state]);
  const returned = over.state === 'failed' || (over.state === 'cancelled' && over.attempt === 0);
  expect(await movesOf(stage.root, run)).toEqual(returned ? ['spend 10', 'return 10'] : ['spend 10']);
  expect(over.returned).toBe(returned ? 10 : 0);
  expect([over.output !== null, over.failure !== null]).toEqual([over.state === 'succeeded', over.state === 'failed']);
  return `${over.state}${over.state === 'cancelled' && over.attempt > 0 ? ' at work' : ''}`;
}

const ROUNDS = 40;
const rounds = async (one: (n: number) => Promise<string>) =>
  Object.groupBy(await Promise.all(Array.from({ length: ROUNDS }, (_, n) => one(n))), (end) => end);

test('against the dispatch: either it was never called and the credits are back, or it was', async () => {
  const workflow = await workflowAt('/race-dispatch', () => ({ status: 202 }), { report_interval_s: 1000 });
  const away = clientOf(second.url, customer);
  const ends = await rounds(async (n) => {
    const run = await accepted(customer, workflow);
    const replies = await Promise.all([cancel(run), cancel(run, away)]);
    expect(replies.map(({ status }) => status)).toEqual([200, 200]);
    expect(replies[0]?.body).toEqual(replies[1]?.body);
    const end = await expectOneEnd(run);
    if (end === 'cancelled') expect(callsOf(run), `round ${n}`).toEqual([]);
    return end;
  });
  expect(Object.keys(ends).every((end) => end.startsWith('cancelled'))).toBe(true);
});

test('against an answer that comes at the same moment: a result or a cancellation, never both', async () => {
  const asked = new Set<string>();
  const answer = async (run: AcceptedRun): Promise<Answer> => {
    await eventually(async () => asked.has(run.runId), Boolean);
    return { json: 'done' };
  };
  const workflow = await workflowAt('/race-answer', answer, { timeout_ms: 60_000 });
  const ends = await rounds(async () => {
    const run = await accepted(customer, workflow);
    await atWork(run);
    asked.add(run.id);
    await cancel(run);
    return expectOneEnd(run);
  });
  expect(Object.keys(ends).every((end) => ['succeeded', 'cancelled at work'].includes(end))).toBe(true);
});

test('against completion, failure and progress reports and the deadline, all at once: one end', async () => {
  const workflow = await workflowAt('/race-all', () => ({ status: 202 }), { report_interval_s: 1000 });
  const ends = await rounds(async (n) => {
    const run = await accepted(customer, workflow);
    const [call] = await atWork(run);
    if (!call) throw new Error('no call');
    const say = (to: 'complete' | 'fail' | 'progress', body: Json) => () => stage.executor.report(call, { to, body });
    const moves = [
      () => cancel(run),
      say('complete', { output: 1 }),
      say('fail', { code: 'x' }),
      say('fail', { code: 'y', retryable: true }),
      say('progress', { percent: 1 }),
      ...(n % 4 === 0 ? [() => passDeadline(stage.root, run)] : []),
    ];
    // Another one is first each time.
    await Promise.all([...moves.slice(n % moves.length), ...moves.slice(0, n % moves.length)].map((move) => move()));
    await cancel(run);
    return expectOneEnd(run);
  });
  expect(Object.keys(ends).length).toBeGreaterThan(1);
});
