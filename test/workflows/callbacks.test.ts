import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Report } from '../../sandbox/executor/report.ts';
import { fromWire } from '../../src/platform/ids.ts';
import { type Client, eventually, type Json } from '../harness/client.ts';
import {
  accepted,
  ended,
  eventsOf,
  fastForward,
  hurry,
  movesOf,
  openStage,
  runOf,
  type Stage,
  workflowOf,
} from './stage.ts';

/** Executors that answer 202 and report later: what they may say, how often, and under which attempt. */

let stage: Stage;
let customer: Client;
let quiet: Json;
beforeAll(async () => {
  stage = await openStage();
  customer = await stage.customer(100_000);
  quiet = await stage.offer('/async-silent', {
    executor: { max_attempts: 3, report_interval_s: 100, max_concurrency: 1000 },
  });
});
afterAll(() => stage.close());

const runAt = async (service: Json) => accepted(customer, await workflowOf(customer, service), { input: { a: 1 } });
const callsOf = (run: Json) => stage.executor.runs.filter(({ runId, refusal }) => runId === run.id && refusal === null);
const rowOf = async (run: Json): Promise<Json> =>
  (
    await stage.root`select state, attempt, extract(epoch from next_attempt_at - now())::float8 as due_s
      from workflows.runs where id = ${idOf(run)}`
  )[0];
const idOf = (run: Json) => fromWire('run', run.id);

/** A run whose executor has said 202 to so many attempts, and says nothing by itself. */
async function silent(attempts = 1, service = quiet) {
  const run = await runAt(service);
  for (let n = 1; n <= attempts; n += 1) {
    await eventually(
      async () => [callsOf(run).length, (await rowOf(run)).due_s],
      ([calls, due]) => calls === n && due > 50,
    );
    if (n < attempts) await fastForward(stage.root, run, 200);
  }
  const say = async (to: Report['to'], body: Json = {}, attempt = attempts) => {
    const call = callsOf(run)[attempt - 1];
    if (!call) throw new Error(`no attempt ${attempt}`);
    const { status, reply } = await stage.executor.report(call, { to, body });
    return status === 204 ? 204 : `${status} ${JSON.parse(reply).code}`;
  };
  return { run, say };
}

test('an executor that works on reports progress and parts, and then the result', async () => {
  const service = await stage.offer('/async?progress=2&parts=2&delay_ms=5');
  const run = await ended(customer, await runAt(service));
  expect(run).toMatchObject({
    state: 'succeeded',
    output: { echo: { a: 1 } },
    attempt: 1,
    progress: { percent: 66, message: 'step 2 of 2' },
  });
  const life = ['queued', 'dispatched', 'progressed', 'part_added', 'progressed', 'part_added', 'succeeded'];
  expect(await eventsOf(stage.root, run)).toEqual(life);
  const parts = await customer.ok('GET', `/v1/runs/${run.id}/parts`);
  expect(parts.data.map((part: Json) => [part.number, part.content])).toEqual([
    [1, { text: 'part 1 of 2' }],
    [2, { text: 'part 2 of 2' }],
  ]);
  expect(await movesOf(stage.root, run)).toEqual(['spend 10']);
});

test('a failure that it reports is for good, and the credits go back', async () => {
  const service = await stage.offer('/async-fail?code=model_overheated');
  const run = await ended(customer, await runAt(service));
  expect(run).toMatchObject({
    state: 'failed',
    returned: 10,
    failure: { code: 'model_overheated', message: 'The executor could not do it.' },
  });
  expect(await movesOf(stage.root, run)).toEqual(['spend 10', 'return 10']);
});

describe.concurrent('the time until the next report', () => {
  test('202 grants it, each report grants it anew', async () => {
    const { run, say } = await silent();
    expect((await rowOf(run)).due_s).toBeGreaterThan(95);
    for (const [to, body] of [
      ['progress', {}],
      ['parts', { part: 1, content: 1 }],
    ] as const) {
      await fastForward(stage.root, run, 90);
      expect(await say(to, body)).toBe(204);
      expect((await rowOf(run)).due_s).toBeGreaterThan(95);
    }
  });

  test('a report during the call does not take the call its time', async ({ onTestFinished }) => {
    const service = await stage.offer('/slow-and-talking', { executor: { timeout_ms: 60_000, report_interval_s: 1 } });
    const { promise, resolve } = Promise.withResolvers<Json>();
    onTestFinished(() => resolve(null));
    stage.executor.behave(async (call) => (call.path === '/slow-and-talking' ? { json: await promise } : undefined));
    const run = await runAt(service);
    const [call] = await eventually(
      async () => callsOf(run),
      (calls) => calls.length === 1,
    );
    if (!call) throw new Error('no call');
    expect((await stage.executor.report(call, { to: 'progress', body: { percent: 10 } })).status).toBe(204);
    expect((await rowOf(run)).due_s).toBeGreaterThan(60);
    resolve('done');
    expect(await ended(customer, run)).toMatchObject({ state: 'succeeded', output: 'done', attempt: 1 });
  });

  test('when it passes in silence, the run is dispatched again; after the last attempt it fails, once', async () => {
    const { run } = await silent(3);
    expect(callsOf(run).map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    await fastForward(stage.root, run, 200);
    expect(await ended(customer, run)).toMatchObject({
      state: 'failed',
      attempt: 3,
      returned: 10,
      failure: { code: 'executor_silent' },
    });
    expect(await movesOf(stage.root, run)).toEqual(['spend 10', 'return 10']);
    expect(callsOf(run)).toHaveLength(3);
  });
});

describe.concurrent('of several attempts', () => {
  test('an older one is told that it is, and changes nothing', async () => {
    const { run, say } = await silent(2);
    const before = await rowOf(run);
    expect(await say('progress', { percent: 5 }, 1)).toBe('409 attempt_superseded');
    expect(await say('parts', { part: 1, content: 'x' }, 1)).toBe('409 attempt_superseded');
    expect(await say('fail', { code: 'gave_up' }, 1)).toBe('409 attempt_superseded');
    expect(await say('fail', { code: 'gave_up', retryable: true }, 1)).toBe('409 attempt_superseded');
    expect(await rowOf(run)).toMatchObject({ state: before.state, attempt: before.attempt });
    expect((await customer.ok('GET', `/v1/runs/${run.id}/parts`)).data).toEqual([]);
    expect(await say('progress', { percent: 6 }, 2)).toBe(204);
  });

  test('the first completion wins, even an older one; the same again is fine, another one is late', async () => {
    const { run, say } = await silent(2);
    expect(await say('complete', { output: { n: 1 } }, 1)).toBe(204);
    expect(await say('complete', { output: { n: 1 } }, 1)).toBe(204);
    expect(await say('complete', { output: { n: 1 } }, 2)).toBe(204);
    expect(await say('complete', { output: { n: 2 } }, 2)).toBe('409 run_finished');
    expect(await say('fail', { code: 'gave_up' }, 2)).toBe('409 run_finished');
    expect(await say('progress', {}, 2)).toBe('409 run_finished');
    expect(await runOf(customer, run)).toMatchObject({ state: 'succeeded', output: { n: 1 }, attempt: 2 });
    expect(await movesOf(stage.root, run)).toEqual(['spend 10']);
  });

  test('all at once: one result', async () => {
    const round = async () => {
      const { run, say } = await silent(2);
      const answers = await Promise.all(
        [1, 2, 1, 2, 1, 2].map((attempt, n) => say('complete', { output: n }, attempt)),
      );
      expect(answers.filter((answer) => answer === 204)).toHaveLength(1);
      expect((await runOf(customer, run)).output).toBe(answers.indexOf(204));
      expect((await eventsOf(stage.root, run)).filter((type) => type === 'succeeded')).toHaveLength(1);
    };
    await Promise.all([1, 2, 3, 4, 5].map(round));
  });
});

describe.concurrent('a failure that may pass', () => {
  test('puts the run back; said again, as after a lost answer, it still does', async () => {
    const { run, say } = await silent(1);
    const failure = { code: 'no_gpu_free', retryable: true };
    expect(await say('fail', failure)).toBe(204);
    expect(await rowOf(run)).toMatchObject({ state: 'queued', attempt: 1 });
    await stage.root`update workflows.runs set next_attempt_at = now() + interval '1 hour' where id = ${idOf(run)}`;
    expect(await say('fail', failure)).toBe(204);
    expect(await say('progress', { percent: 1 })).toBe('409 attempt_superseded');
    expect(await rowOf(run)).toMatchObject({ state: 'queued', attempt: 1 });
    expect(await movesOf(stage.root, run)).toEqual(['spend 10']);
    await hurry(stage.root, run);
    await eventually(
      async () => callsOf(run).length,
      (calls) => calls === 2,
    );
    expect(await say('fail', failure)).toBe('409 attempt_superseded');
  });

  test('after the last attempt it is for good; said again, it was', async () => {
    const last = await stage.offer('/async-silent', { executor: { max_attempts: 1, report_interval_s: 100 } });
    const { run, say } = await silent(1, last);
    const failure = { code: 'no_gpu_free', retryable: true };
    expect([await say('fail', failure), await say('fail', failure)]).toEqual([204, 204]);
    expect(await runOf(customer, run)).toMatchObject({ state: 'failed', failure: { code: 'no_gpu_free' } });
    expect(await movesOf(stage.root, run)).toEqual(['spend 10', 'return 10']);
    expect(await say('fail', { code: 'something_else' })).toBe('409 run_finished');
    expect(await say('complete', { output: 1 })).toBe('409 run_finished');
  });

  test('many times at once it puts the run back once', async () => {
    const { run, say } = await silent(1);
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => say('fail', { code: 'no_gpu_free', retryable: true })),
    );
    expect(new Set(answers).difference(new Set([204, '409 attempt_superseded']))).toEqual(new Set());
    expect((await eventsOf(stage.root, run)).filter((type) => type === 'requeued')).toHaveLength(1);
    expect((await runOf(customer, run)).finished_at).toBeNull();
  });
});

test('an output of null is a result, and so is none', async () => {
  for (const body of [{ output: null }, {}]) {
    const { run, say } = await silent();
    expect([await say('complete', body), await say('complete', { output: null })]).toEqual([204, 204]);
    expect(await runOf(customer, run)).toMatchObject({ state: 'succeeded', output: null });
  }
});
