import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Rule } from '../../sandbox/executor/server.ts';
import { freePort } from '../../sandbox/postgres.ts';
import type { Client, Json } from '../harness/client.ts';
import { accepted, eventsOf, hurriedToEnd, movesOf, openStage, type Stage, workflowOf } from './stage.ts';

/** What an executor's answer means for a run. All calls are checked by a third party's Standard Webhooks library. */

let stage: Stage;
let customer: Client;
let closedPort: number;
beforeAll(async () => {
  closedPort = await freePort();
  const executorPort = await freePort();
  stage = await openStage({
    executor: { port: executorPort },
    env: { EGRESS_ALLOW: `127.0.0.1:${executorPort},127.0.0.1:${closedPort}` },
  });
  customer = await stage.customer(100_000);
});
afterAll(() => stage.close());

/** What the executor answers at /output. */
const output = (answer: Rule) => stage.executor.behave((run) => (run.path === '/output' ? answer(run) : undefined));

/** One run of a service that is at a path, to its end. */
async function runAt(path: string, { input = { text: 'x' }, ...terms }: Json = {}) {
  const { executor, ...more } = terms;
  const service = await stage.offer(path, { ...more, executor: { max_attempts: 2, timeout_ms: 400, ...executor } });
  stage.executor.expectSecret(service.signing_secret, path.split('?', 1)[0]);
  const run = await hurriedToEnd(
    stage,
    customer,
    await accepted(customer, await workflowOf(customer, service), { input }),
  );
  const calls = stage.executor.runs.filter(({ runId }) => runId === run.id);
  expect(calls.map(({ signature }) => signature)).toEqual(calls.map(() => 'valid'));
  return { run, calls, moves: await movesOf(stage.root, run) };
}

describe('work that is done', () => {
  test.each<[string, string, Json]>([
    ['a result', '/echo', { echo: { text: 'x' } }],
    ['another 2xx', '/status/201', { status: 201 }],
    ['null', '/null', null],
    ['nothing', '/empty', null],
    ['no content', '/status/204', null],
  ])('%s: the run has succeeded, is paid, and the executor was called once', async (_, path, output) => {
    const { run, calls, moves } = await runAt(path);
    expect(run).toMatchObject({ state: 'succeeded', output, failure: null, attempt: 1, cost: 10, returned: 0 });
    expect(run.started_at <= run.finished_at).toBe(true);
    expect([calls.length, moves]).toEqual([1, ['spend 10']]);
    expect(await eventsOf(stage.root, run)).toEqual(['queued', 'dispatched', 'succeeded']);
  });

  test.each<[string, string, Json]>([
    ['a byte order mark', '\uFEFF{"a":1}', { a: 1 }],
    ['text that only looks like a NUL', '"\\\\u0000"', '\\u0000'],
    ['text that only looks like a surrogate', '"\\\\ud83d"', '\\ud83d'],
    ['a pair of escaped surrogates', '"\\ud83d\\ude00"', '😀'],
    ['blanks around it', ' \n true \n', true],
    ['a name twice', '{"a":1,"a":2}', { a: 2 }],
    ['64 levels', `${'['.repeat(64)}${']'.repeat(64)}`, JSON.parse(`${'['.repeat(64)}${']'.repeat(64)}`)],
  ])('an output with %s is kept', async (_, text, kept) => {
    output(() => ({ text }));
    expect((await runAt('/output')).run).toMatchObject({ state: 'succeeded', output: kept });
  });

  test('an output of a whole mebibyte is kept, a byte more is not', async () => {
    output(({ data }) => ({ text: `"${'a'.repeat(Number((data.input as Json).bytes) - 2)}"` }));
    const { run } = await runAt('/output', { input: { bytes: 1024 * 1024 } });
    expect([run.state, run.output?.length]).toEqual(['succeeded', 1024 * 1024 - 2]);
    const more = await runAt('/output', { input: { bytes: 1024 * 1024 + 1 } });
    expect(more.run).toMatchObject({ state: 'failed', failure: { code: 'executor_too_large' } });
  });
});

describe('a failure for good gives the credits back, once, after one call', () => {
  test.each([
    ['/refuse', 'executor_refused'],
    ['/status/401', 'executor_refused'],
    ['/status/404', 'executor_refused'],
    ['/status/422', 'executor_refused'],
    ['/redirect?to=http://127.0.0.1/echo', 'executor_redirected'],
    ['/redirect?to=/echo&status=302', 'executor_redirected'],
    ['/not-json', 'executor_output_invalid'],
    ['/huge', 'executor_too_large'],
    ['/huge?declared=1', 'executor_too_large'],
    ['/lying-length?by=-5', 'executor_output_invalid'],
  ])('%s: %s', async (path, code) => {
    const { run, calls, moves } = await runAt(path);
    expect(run).toMatchObject({ state: 'failed', output: null, failure: { code }, attempt: 1, returned: 10 });
    expect([calls.length, moves]).toEqual([1, ['spend 10', 'return 10']]);
    expect(await eventsOf(stage.root, run)).toEqual(['queued', 'dispatched', 'failed']);
  });

  test.each([
    ['a NUL', '"a\\u0000b"'],
    ['a NUL in a name', '{"a\\u0000":1}'],
    ['a lone high surrogate', '"\\ud83d"'],
    ['a lone low surrogate', '["\\ude00"]'],
    ['a lone surrogate behind text that looks like one', '"\\\\ud83d\\ude00"'],
    ['65 levels', `${'['.repeat(65)}${']'.repeat(65)}`],
    ['a hundred thousand levels', '['.repeat(100_000)],
    ['half of JSON', '{"a":'],
    ['NaN', '{"a":NaN}'],
  ])('an output with %s', async (_, text) => {
    output(() => ({ text }));
    const { run, calls, moves } = await runAt('/output');
    expect(run).toMatchObject({ state: 'failed', failure: { code: 'executor_output_invalid' } });
    expect([calls.length, moves]).toEqual([1, ['spend 10', 'return 10']]);
  });

  test('unless its service says none', async () => {
    const { run, moves } = await runAt('/refuse', { refund_on_failure: 'none' });
    expect(run).toMatchObject({ state: 'failed', returned: 0 });
    expect(moves).toEqual(['spend 10']);
  });
});

describe.concurrent('what may pass is tried again, under the same run id, until no attempt is left', () => {
  test.each([
    ['/status/408', 'executor_unavailable'],
    ['/status/425', 'executor_unavailable'],
    ['/status/429', 'executor_unavailable'],
    ['/status/500', 'executor_unavailable'],
    ['/status/503', 'executor_unavailable'],
    ['/reset', 'executor_network'],
    ['/cut', 'executor_network'],
    ['/lying-length?by=10', 'executor_network'],
    ['/hang', 'executor_timeout'],
    ['/drip?every_ms=50&bytes=1000', 'executor_timeout'],
  ])('%s: %s', async (path, code) => {
    const { run, calls, moves } = await runAt(path);
    expect(run).toMatchObject({ state: 'failed', failure: { code }, attempt: 2, returned: 10 });
    expect(calls.map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect(new Set(calls.map(({ runId, headers }) => `${runId} ${headers['idempotency-key']}`))).toEqual(
      new Set([`${run.id} ${run.id}`]),
    );
    expect(moves).toEqual(['spend 10', 'return 10']);
    expect(await eventsOf(stage.root, run)).toEqual(['queued', 'dispatched', 'requeued', 'dispatched', 'failed']);
    expect(run.failure.message).not.toMatch(/127\.0\.0\.1|localhost|:\d{2,5}/);
  });

  test('nobody is there', async () => {
    const endpoint = `http://127.0.0.1:${closedPort}/`;
    const { run } = await runAt('/echo', { executor: { endpoint } });
    expect(run).toMatchObject({ state: 'failed', attempt: 2, returned: 10 });
    expect(run.failure).toEqual({ code: 'executor_network', message: 'The connection failed (ECONNREFUSED).' });
  });
});

test('a later attempt that does it ends the run well, and it was paid once', async () => {
  const before = stage.executor.effects;
  const { run, calls, moves } = await runAt('/fail-times?n=2', { executor: { max_attempts: 5 } });
  expect(run).toMatchObject({ state: 'succeeded', attempt: 3, failure: null });
  expect([calls.length, stage.executor.effects - before, moves]).toEqual([3, 1, ['spend 10']]);
});

test('work that was done although the answer was lost is done once', async () => {
  const before = stage.executor.effects;
  output(({ nth }) => (nth === 1 ? { fault: async ({ response }) => void response.destroy() } : {}));
  const { run, calls } = await runAt('/output');
  expect([run.state, stage.executor.effects - before, calls.length]).toEqual(['succeeded', 1, 2]);
});

test('the call says everything that an executor needs, and of the customer only the name of the workflow', async () => {
  const { run, calls } = await runAt('/echo', { input: { ä: '\u2028' } });
  const body = JSON.parse(calls[0]?.body ?? '');
  const url = stage.farebox.environment['PUBLIC_URL'];
  expect(body).toEqual({
    type: 'run.dispatched',
    timestamp: expect.stringMatching(/^\d{4}-.*Z$/),
    data: {
      run_id: run.id,
      attempt: 1,
      service: { id: run.service_id, name: expect.stringMatching(/^Service/) },
      workflow: { id: run.workflow_id, name: 'Mine' },
      input: { ä: '\u2028' },
      deadline: run.deadline_at,
      callback_url: `${url}/v1/executor/runs/${run.id}`,
      callback_token: expect.any(String),
    },
  });
  expect(calls[0]?.headers).toMatchObject({ 'webhook-id': run.id, 'idempotency-key': run.id, 'user-agent': 'Farebox' });
  expect(JSON.stringify(calls[0]?.headers)).not.toContain(customer.email);
  expect(calls[0]?.body).not.toContain(customer.email);
  expect(calls[0]?.body).not.toContain(customer.accountId);
});
