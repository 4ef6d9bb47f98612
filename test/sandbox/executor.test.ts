import { spawn } from 'node:child_process';
import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { behaviours } from '../../sandbox/executor/behaviours.ts';
import { cut, hang } from '../../sandbox/executor/faults.ts';
import { type Executor, startExecutor } from '../../sandbox/executor/server.ts';

const SECRET = `whsec_${randomBytes(32).toString('base64')}`;
const started: { close(): Promise<void> }[] = [];

let executor: Executor;
let died: string[] = [];

beforeAll(async () => {
  executor = await startExecutor({ secret: SECRET, callbackDelayMs: 1, onDie: (run) => void died.push(run.runId) });
});
afterEach(async () => {
  executor.reset();
  died = [];
  for (const one of started.splice(0)) await one.close();
});
afterAll(() => executor.close());

interface Wish {
  runId?: string;
  attempt?: number;
  input?: unknown;
  callback?: string;
  secret?: string;
  /** What goes over the wire instead of what was signed. */
  body?: (signed: string) => string;
  headers?: Record<string, string>;
  signatures?: (mine: string) => string;
  ageS?: number;
  signal?: AbortSignal;
  to?: string;
}

/** A dispatch as Farebox sends it, signed by hand (Standard Webhooks §signature scheme), not by the verifier's own library. */
function dispatch(path: string, wish: Wish = {}): Promise<Response> {
  const runId = wish.runId ?? `run_${randomUUID()}`;
  const message = {
    type: 'run.dispatched',
    timestamp: new Date().toISOString(),
    data: {
      run_id: runId,
      attempt: wish.attempt ?? 1,
      service: 'svc_1',
      workflow: 'wf_1',
      input: wish.input ?? { n: 1 },
      deadline: new Date(Date.now() + 60_000).toISOString(),
      callback_url: wish.callback ?? `http://127.0.0.1:9/v1/executor/runs/${runId}`,
      callback_token: `token-${wish.attempt ?? 1}`,
    },
  };
  const body = JSON.stringify(message);
  const at = Math.floor(Date.now() / 1000) - (wish.ageS ?? 0);
  const key = Buffer.from((wish.secret ?? SECRET).slice('whsec_'.length), 'base64');
  const mine = `v1,${createHmac('sha256', key).update(`${runId}.${at}.${body}`).digest('base64')}`;
  return fetch(`${wish.to ?? executor.url}${path}`, {
    method: 'POST',
    redirect: 'manual',
    body: wish.body?.(body) ?? body,
    headers: {
      'content-type': 'application/json',
      'idempotency-key': runId,
      'webhook-id': runId,
      'webhook-timestamp': String(at),
      'webhook-signature': wish.signatures?.(mine) ?? mine,
      ...wish.headers,
    },
    ...(wish.signal && { signal: wish.signal }),
  });
}

/** Farebox's side of the callbacks: keeps what it is told, and answers with the statuses in turn, then with 200. */
async function listenForCallbacks(...statuses: number[]) {
  const heard: { to: string | undefined; token: string | undefined; body: Record<string, unknown> }[] = [];
  const server = createServer(async (request, response) => {
    const body = JSON.parse(Buffer.concat(await request.toArray()).toString());
    heard.push({ to: request.url?.split('/').pop(), token: request.headers.authorization, body });
    response.writeHead(statuses.shift() ?? 200, { 'content-type': 'application/json' }).end('{"object":"run"}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no address');
  started.push({ close: async () => void server.close().closeAllConnections() });
  return { heard, url: `http://127.0.0.1:${address.port}/v1/executor/runs/run_x` };
}

const soon = (look: () => unknown) => expect.poll(look, { interval: 5, timeout: 5_000 });

describe('what an executor checks', () => {
  it('a signed dispatch is done, and remembered as it came', async () => {
    const response = await dispatch('/echo?colour=red', { runId: 'run_a', attempt: 2, input: { text: 'Grüße 🙂' } });
    expect([response.status, await response.json()]).toEqual([200, { echo: { text: 'Grüße 🙂' } }]);
    const [run] = executor.runs;
    expect(run).toMatchObject({ path: '/echo', runId: 'run_a', attempt: 2, nth: 1, signature: 'valid', refusal: null });
    expect(run?.query.get('colour')).toBe('red');
    expect(run?.headers['webhook-id']).toBe('run_a');
    expect(run?.data?.input).toEqual({ text: 'Grüße 🙂' });
    expect(JSON.parse(run?.body ?? '').type).toBe('run.dispatched');
  });

  it.each<[string, Wish]>([
    ['another secret', { secret: `whsec_${randomBytes(32).toString('base64')}` }],
    ['a body that was changed', { body: (signed) => signed.replace('"n":1', '"n":2') }],
    ['a time six minutes ago', { ageS: 360 }],
    ['a time in six minutes', { ageS: -360 }],
    ['no signature', { headers: { 'webhook-signature': '' } }],
    ['another id', { headers: { 'webhook-id': 'run_b' } }],
  ])('%s is a 401, does nothing and is recorded', async (_name, wish) => {
    const response = await dispatch('/echo', wish);
    expect(response.status).toBe(401);
    expect(executor.runs).toMatchObject([{ signature: 'invalid', refusal: { status: 401 }, nth: 0, data: null }]);
    expect(executor.effects).toBe(0);
  });

  it('of several signatures one is enough, as while a secret is rotated', async () => {
    const response = await dispatch('/echo', { signatures: (mine) => `v1,AAAA v1a,BBBB ${mine}` });
    expect(response.status).toBe(200);
  });

  it.each<[string, Wish]>([
    ['Idempotency-Key is not the run id', { headers: { 'idempotency-key': 'other' } }],
    ['Content-Type is not application/json', { headers: { 'content-type': 'text/plain' } }],
    ['attempt is below 1', { attempt: 0 }],
    ['callback_url is not a URL', { callback: 'nowhere' }],
  ])('a breach of the contract is a 400: %s', async (reason, wish) => {
    expect((await dispatch('/echo', wish)).status).toBe(400);
    expect(executor.runs).toMatchObject([{ signature: 'valid', refusal: { status: 400, reason } }]);
  });

  it('without a secret nothing is checked but the contract', async () => {
    const open = await startExecutor();
    started.push(open);
    expect((await dispatch('/echo', { to: open.url })).status).toBe(200);
    const broken = await dispatch('/echo', { to: open.url, body: () => '{"type":"run.dispatched"' });
    expect([broken.status, open.runs.map((run) => run.signature)]).toEqual([400, ['unchecked', 'unchecked']]);
  });

  it('each path may have its own secret, and a service made later brings it then', async () => {
    const [one, two] = [randomBytes(24), randomBytes(24)].map((key) => `whsec_${key.toString('base64')}`);
    if (!one || !two) throw new Error('two secrets');
    const several = await startExecutor({ secret: SECRET, secrets: { '/status': one } });
    started.push(several);
    const to = several.url;
    expect((await dispatch('/status/202', { to, secret: one })).status).toBe(202);
    expect((await dispatch('/status/202', { to })).status).toBe(401);
    expect((await dispatch('/echo', { to })).status).toBe(200);
    several.expectSecret(two, '/echo');
    expect((await dispatch('/echo', { to })).status).toBe(401);
    expect((await dispatch('/echo', { to, secret: two })).status).toBe(200);
    several.expectSecret(two);
    expect((await dispatch('/null', { to, secret: two })).status).toBe(200);
    expect(() => several.expectSecret('whsec_no')).toThrow();
  });

  it('a body over 256 KiB is a 413, and is not kept', async () => {
    expect((await dispatch('/echo', { input: 'x'.repeat(300_000) })).status).toBe(413);
    expect(executor.runs).toMatchObject([{ body: '', refusal: { status: 413 } }]);
  });

  it('an unknown path is a 404, a misspelt option a 400, a GET a list of what there is', async () => {
    expect((await dispatch('/nothing')).status).toBe(404);
    expect((await dispatch('/slow?ms=soon')).status).toBe(400);
    expect((await dispatch('/status/999')).status).toBe(400);
    expect((await fetch(`${executor.url}/echo`)).status).toBe(405);
    const list = JSON.stringify(await (await fetch(executor.url)).json());
    for (const { path } of behaviours) expect(list).toContain(`"${path}"`);
  });
});

describe('an executor that works', () => {
  it('a run that is dispatched three times is worked on once', async () => {
    for (const attempt of [1, 2, 3]) await dispatch('/echo', { runId: 'run_thrice', attempt });
    await dispatch('/echo', { runId: 'run_once' });
    expect(executor.runs.map((run) => run.nth)).toEqual([1, 2, 3, 1]);
    expect(executor.effects).toBe(2);
  });

  it('/summarize picks the sentences that say most, and refuses an input without a text', async () => {
    const text = 'Credits pay for runs. Nobody asked. A run starts when its credits are paid. The end, my friend!';
    const response = await dispatch('/summarize', { input: { text } });
    const { summary, words } = (await response.json()) as { summary: string; words: number };
    expect(words).toBe(18);
    expect(text).toContain(summary.slice(0, 20));
    expect(summary.length).toBeLessThan(text.length);
    expect((await dispatch('/summarize', { input: { text: ' ' } })).status).toBe(422);
    expect(executor.effects).toBe(1);
  });

  it('/slow takes its time', async () => {
    const start = performance.now();
    expect((await dispatch('/slow?ms=60')).status).toBe(200);
    expect(performance.now() - start).toBeGreaterThan(55);
  });

  it('/async accepts, reports progress and parts in turn, and works when it completes', async () => {
    const farebox = await listenForCallbacks();
    const response = await dispatch('/async', { callback: farebox.url, attempt: 4 });
    expect([response.status, executor.effects]).toEqual([202, 0]);
    await executor.idle();
    expect(farebox.heard.map(({ to }) => to)).toEqual([
      'progress',
      'parts',
      'progress',
      'parts',
      'progress',
      'complete',
    ]);
    expect(new Set(farebox.heard.map(({ token }) => token))).toEqual(new Set(['Bearer token-4']));
    expect(farebox.heard[0]?.body).toEqual({ percent: 25, message: 'step 1 of 3' });
    expect(farebox.heard[3]?.body).toEqual({ part: 2, content: { text: 'part 2 of 2' } });
    expect(farebox.heard[5]?.body).toEqual({ output: { echo: { n: 1 } } });
    expect(executor.reports.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 200]);
    expect(executor.effects).toBe(1);
  });

  it('/async-fail and /async-silent end in a failure and in nothing', async () => {
    const farebox = await listenForCallbacks();
    await dispatch('/async-fail?progress=1&code=no_gpu', { callback: farebox.url });
    await executor.idle();
    await dispatch('/async-silent?parts=1', { callback: farebox.url });
    await executor.idle();
    expect(farebox.heard.map(({ to }) => to)).toEqual(['progress', 'fail', 'parts']);
    expect(farebox.heard[1]?.body).toEqual({ code: 'no_gpu', message: expect.any(String) });
    expect(executor.effects).toBe(0);
  });

  it('/async-late completes after the delay that was asked for', async () => {
    const farebox = await listenForCallbacks();
    const start = performance.now();
    await dispatch('/async-late?delay_ms=80', { callback: farebox.url });
    await executor.idle();
    expect(farebox.heard.map(({ to }) => to)).toEqual(['complete']);
    expect(performance.now() - start).toBeGreaterThan(75);
  });

  it('a callback is repeated while Farebox is away, and not when Farebox says no', async () => {
    const away = await listenForCallbacks(503, 429);
    await dispatch('/async?progress=0&parts=0', { callback: away.url });
    const no = await listenForCallbacks(409);
    await dispatch('/async?progress=0&parts=0', { callback: no.url });
    await executor.idle();
    expect([away.heard.length, no.heard.length]).toEqual([3, 1]);
    expect(executor.reports.map(({ status }) => status).toSorted()).toEqual([200, 409, 429, 503]);
  });

  it('a test can make a callback by hand, and learns what came of it', async () => {
    const farebox = await listenForCallbacks(409);
    await dispatch('/async-silent', { callback: farebox.url });
    await dispatch('/async-silent');
    const [reachable, unreachable] = executor.runs;
    if (!reachable || !unreachable) throw new Error('two runs');
    const report = { to: 'complete', body: { output: 7 } } as const;
    const heard = await executor.report(reachable, report);
    expect(heard).toMatchObject({ status: 409, reply: '{"object":"run"}', fault: null });
    expect(await executor.report(unreachable, report)).toMatchObject({ status: null, fault: expect.any(String) });
  });
});

describe('an executor that fails', () => {
  it.each<[string, number]>([
    ['/refuse', 400],
    ['/status/418', 418],
    ['/status/204', 204],
    ['/status/503', 503],
  ])('%s answers %i', async (path, status) => {
    expect((await dispatch(path)).status).toBe(status);
    expect(executor.effects).toBe(status < 300 ? 1 : 0);
  });

  it('/status can ask for patience, in seconds or as a date', async () => {
    const response = await dispatch('/status/429?retry_after=17');
    expect([response.status, response.headers.get('retry-after')]).toEqual([429, '17']);
    const date = 'Wed, 21 Oct 2065 07:28:00 GMT';
    const later = await dispatch(`/status/503?retry_after=${encodeURIComponent(date)}`);
    expect(later.headers.get('retry-after')).toBe(date);
  });

  it('/fail-times counts for each run', async () => {
    const statuses = [];
    for (const runId of ['run_1', 'run_2', 'run_1', 'run_1', 'run_2']) {
      statuses.push((await dispatch('/fail-times?n=2', { runId })).status);
    }
    expect(statuses).toEqual([503, 503, 503, 200, 503]);
    expect(executor.effects).toBe(1);
  });

  it('/redirect points elsewhere, and keeps the method unless told', async () => {
    const response = await dispatch('/redirect?to=http://127.0.0.1:9/x');
    expect([response.status, response.headers.get('location')]).toEqual([307, 'http://127.0.0.1:9/x']);
    expect((await dispatch('/redirect?to=/x&status=302')).status).toBe(302);
    expect((await dispatch('/redirect')).status).toBe(400);
  });

  it.each([
    ['/hang', 0],
    ['/hang?works=1', 1],
  ])('%s never answers', async (path, effects) => {
    const patience = new AbortController();
    let answered = false;
    const answer = dispatch(path, { signal: patience.signal }).finally(() => {
      answered = true;
    });
    await soon(() => executor.runs.length).toBe(1);
    await sleep(50);
    expect([answered, executor.effects]).toEqual([false, effects]);
    patience.abort();
    await expect(answer).rejects.toThrow(/aborted/);
    await executor.idle(); // it noticed that the caller went away
  });

  it.each([
    ['/reset', 0],
    ['/reset?works=1', 1],
  ])('%s loses the connection before the reply', async (path, effects) => {
    const error = await dispatch(path).catch((fault: Error) => fault);
    expect(error).toMatchObject({ cause: { code: 'ECONNRESET' } });
    expect(executor.effects).toBe(effects);
  });

  it.each(['/cut', '/cut?bytes=0', '/lying-length', '/lying-length?by=1000'])('%s ends in the body', async (path) => {
    const response = await dispatch(path);
    expect(response.status).toBe(200);
    await expect(response.text()).rejects.toThrow(/terminated/);
    expect(executor.effects).toBe(1);
  });

  it('/lying-length may also leave bytes over, and then the JSON is broken', async () => {
    const text = await (await dispatch('/lying-length?by=-3')).text();
    expect(text).toBe('{"echo":{"n":1}}'.slice(0, -3));
  });

  it('/drip sends its headers at once and its reply at last', async () => {
    const response = await dispatch('/drip?every_ms=10&bytes=5');
    expect(await response.text()).toBe('     {"echo":{"n":1}}');
    const endless = await dispatch('/drip?every_ms=10');
    await endless.body?.cancel();
    await executor.idle();
  });

  it.each(['', '&declared=1'])('/huge is as large as was asked for %s', async (declared) => {
    const response = await dispatch(`/huge?bytes=3000000${declared}`);
    expect(response.headers.get('content-length')).toBe(declared ? '3000000' : null);
    expect((await response.text()).length).toBe(3_000_000);
  });

  it('/huge stops when the caller has enough', async () => {
    const response = await dispatch('/huge?bytes=200000000');
    await response.body?.cancel();
    await executor.idle();
  });

  it('/not-json, /empty and /null are successes that say nothing', async () => {
    const page = await dispatch('/not-json');
    expect([page.headers.get('content-type'), (await page.text())[0]]).toEqual(['application/json', '<']);
    expect((await dispatch('/not-json?type=text/html')).headers.get('content-type')).toBe('text/html');
    expect(await (await dispatch('/empty')).text()).toBe('');
    expect(await (await dispatch('/null')).json()).toBe(null);
  });

  it('/die tells the test, and then answers', async () => {
    expect((await dispatch('/die', { runId: 'run_last' })).status).toBe(200);
    expect([died, executor.effects]).toEqual([['run_last'], 1]);
  });
});

describe('a test that steers', () => {
  it('a rule decides, by run and attempt, and leaves the rest to the path', async () => {
    executor.behave(({ attempt }) => (attempt === 1 ? { json: 'lost', fault: cut(2) } : undefined));
    await expect((await dispatch('/echo', { runId: 'run_r' })).text()).rejects.toThrow();
    expect((await dispatch('/echo', { runId: 'run_r', attempt: 2 })).status).toBe(200);
    expect(executor.effects).toBe(1);
    executor.behave(async () => ({ status: 201, json: [1], headers: { 'x-more': 'yes' } }));
    const response = await dispatch('/anything');
    expect([response.status, response.headers.get('x-more'), await response.json()]).toEqual([201, 'yes', [1]]);
  });

  it('a rule that throws is a 500 that says why', async () => {
    executor.behave(() => {
      throw new Error('the test is wrong');
    });
    const response = await dispatch('/echo');
    expect([response.status, await response.text()]).toEqual([500, '{"error":"Error: the test is wrong"}']);
  });

  it('a reset forgets, cuts off what hangs and drops what was to be reported', async () => {
    const farebox = await listenForCallbacks();
    executor.behave(() => ({ fault: hang(), works: false }));
    const hanging = dispatch('/echo').catch((fault: Error) => fault);
    await soon(() => executor.runs.length).toBe(1);
    executor.reset();
    expect(await hanging).toBeInstanceOf(Error);
    await dispatch('/async?delay_ms=60000', { callback: farebox.url });
    executor.reset();
    await executor.idle();
    expect([executor.runs, executor.reports, executor.effects, farebox.heard]).toEqual([[], [], 0, []]);
    expect((await dispatch('/echo')).status).toBe(200);
  });

  it('several live side by side, remember only the latest, and nothing is left after close', async () => {
    const heard: string[] = [];
    const one = await startExecutor({ keep: 2, onReceived: (run) => heard.push(run.runId) });
    const two = await startExecutor();
    for (const runId of ['run_1', 'run_2', 'run_3']) await dispatch('/echo', { to: one.url, runId });
    expect([one.runs.map((run) => run.runId), one.effects, heard.length]).toEqual([['run_2', 'run_3'], 3, 3]);
    expect(two.runs).toEqual([]);
    const hanging = dispatch('/hang', { to: two.url }).catch((fault: Error) => fault);
    await dispatch('/async?delay_ms=60000', { to: two.url });
    await soon(() => two.runs.length).toBe(2);
    await Promise.all([one.close(), two.close()]);
    expect(await hanging).toBeInstanceOf(Error);
    await two.idle();
    await expect(dispatch('/echo', { to: two.url })).rejects.toMatchObject({ cause: { code: 'ECONNREFUSED' } });
  });
});

it('runs alone, says what it offers, and ends when told', async () => {
  const main = fileURLToPath(new URL('../../sandbox/executor/main.ts', import.meta.url));
  const child = spawn(process.execPath, [main, '--port', '0', '--secret', SECRET], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  child.stdout.on('data', (text) => {
    said += text;
  });
  try {
    await soon(() => said).toMatch(/Listening at (\S+); signatures are checked/);
    for (const { path } of behaviours) expect(said).toContain(`  ${path} `);
    const to = /Listening at ([^;]+);/.exec(said)?.[1] ?? '';
    expect((await dispatch('/echo', { to, runId: 'run_alone' })).status).toBe(200);
    await soon(() => said).toMatch(/\/echo {2}run_alone {2}attempt 1 {2}signature valid/);
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
  } finally {
    child.kill('SIGKILL');
  }
});
