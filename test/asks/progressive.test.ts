import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Report } from '../../sandbox/executor/report.ts';
import { type Client, eventually, type Json } from '../harness/client.ts';
import { available, eventsOf, runOf, startRun, workflowOf } from '../workflows/stage.ts';
import { type AskStage, movesOf, openAskStage, pay } from './stage.ts';

let stage: AskStage;
beforeAll(async () => {
  stage = await openAskStage();
});
afterAll(() => stage.close());

const milestones = (more: Json = {}) => ({ mode: 'upfront', milestones: [10, 5, 15], ...more });

const stands = (who: Client, run: Json, state: string): Promise<Json> =>
  eventually(
    () => runOf(who, run),
    (now) => now.state === state,
  );
const partsOf = async (who: Client, run: Json): Promise<number[]> =>
  (await who.ok('GET', `/v1/runs/${run.id}/parts`)).data.map(({ number }: Json) => number);

/** Everything that an account can read of a run, in one text. */
async function allThatCanBeRead(who: Client, run: Json): Promise<string> {
  const paths = [`/v1/runs/${run.id}`, `/v1/runs/${run.id}/parts`, '/v1/runs', '/v1/asks', '/v1/events?limit=100'];
  const numbers = Array.from({ length: 4 }, (_, n) => `/v1/runs/${run.id}/parts/${n + 1}`);
  const texts = await Promise.all([...paths, ...numbers].map(async (path) => (await who.get(path)).text));
  return texts.join('\n');
}

// REQ V8 V10
test('part by part: paid, worked on, delivered, and the next one asked for', async () => {
  const { who, start } = await stage.party(milestones(), { path: '/milestones', credits: 30 });
  const { run } = (await start()).body;
  expect(run.payment).toMatchObject({ state: 'paid', paid: 10, parts: { paid: 1, of: 3 } });
  for (const paid of [1, 2]) {
    const paused = await stands(who, run, 'paused');
    const due = [0, 5, 15][paid];
    expect(paused).toMatchObject({ output: null, payment: { state: 'open', due, parts: { paid, of: 3 } } });
    expect(await partsOf(who, run)).toEqual(Array.from({ length: paid }, (_, n) => n + 1));
    const next = await who.get(`/v1/runs/${run.id}/parts/${paid + 1}`);
    expect(next.body).toMatchObject({
      status: 402,
      code: 'payment_required',
      ask_id: paused.payment.ask_id,
      amount: due,
    });
    expect((await who.get(`/v1/runs/${run.id}/parts/${paid + 2}`)).status).toBe(404);
    expect((await who.get(`/v1/runs/${run.id}/parts/${paid}`)).body).toMatchObject({ number: paid });
    expect((await pay(who, { id: paused.payment.ask_id })).body).toMatchObject({
      kind: 'part',
      seq: paid + 1,
      state: 'paid',
    });
  }
  const done = await stands(who, run, 'succeeded');
  expect(done).toMatchObject({ output: { echo: {} }, payment: { state: 'paid', paid: 30, due: 0 } });
  expect(await partsOf(who, run)).toEqual([1, 2, 3]);
  const moves = [10, 5, 15].flatMap((credits) => [`hold ${credits}`, `capture ${credits}`]);
  expect(await movesOf(stage, run)).toEqual(moves);
  expect(await available(who)).toBe(0);
  const once = ['queued', 'dispatched', 'part_added', 'paused'];
  expect(await eventsOf(stage.root, run)).toEqual([
    ...once,
    ...once,
    'queued',
    'dispatched',
    'part_added',
    'succeeded',
  ]);
});

test('each milestone has all the attempts and all the time of a run', async () => {
  const terms = { path: '/milestones', credits: 30, executor: { max_attempts: 1 } };
  const { who, start } = await stage.party(milestones(), terms);
  const { run } = (await start()).body;
  for (const _ of [1, 2]) await pay(who, { id: (await stands(who, run, 'paused')).payment.ask_id });
  expect(await stands(who, run, 'succeeded')).toMatchObject({ attempt: 3 });
});

describe('nothing leaks before it is paid', () => {
  const secret = (part: number) => `content-of-part-${part}`;

  /** An executor that has everything at once, and a run of which the first part is paid. */
  async function ahead(policy: Json, reports: Report[]): Promise<{ who: Client; run: Json }> {
    stage.executor.behave((run) => (run.path === '/all-at-once' ? { reports, everyMs: 1 } : undefined));
    const { who, start } = await stage.party(milestones(policy), { path: '/all-at-once', credits: 30 });
    const { run } = (await start()).body;
    await stage.executor.idle();
    return { who, run };
  }
  const part = (number: number): Report => ({ to: 'parts', body: { part: number, content: secret(number) } });
  const complete: Report = { to: 'complete', body: { output: 'the-output' } };

  // REQ V8
  test.each([
    ['that goes on', { unpaid_part: 'continue' }, [part(1), part(2), part(3), complete]],
    ['that is told to pause, and delivers ahead of that', {}, [part(3), part(2), part(1)]],
    ['that is done at once', { unpaid_part: 'continue' }, [complete]],
    [
      'that delivers more parts than were agreed',
      { unpaid_part: 'continue' },
      [part(1), part(4), part(2), part(3), complete],
    ],
  ])('of an executor %s', async (_, policy, reports) => {
    const { who, run } = await ahead(policy, reports);
    const delivered = reports.flatMap(({ to, body }) => (to === 'parts' ? [Number(body['part'])] : []));
    for (const paid of [1, 2]) {
      const now = await eventually(
        () => runOf(who, run),
        ({ payment }) => payment.due > 0 && payment.parts.paid === paid,
      );
      const read = await allThatCanBeRead(who, run);
      const shown = delivered.filter((number) => read.includes(secret(number))).toSorted();
      expect(shown).toEqual(delivered.filter((number) => number <= paid).toSorted());
      expect(read).not.toContain('the-output');
      const told = (await who.ok('GET', '/v1/events?limit=100')).data.filter(({ type }: Json) =>
        type.endsWith('part_added'),
      );
      expect(told.map(({ data }: Json) => data.part).toSorted()).toEqual(shown);
      await pay(who, { id: now.payment.ask_id });
    }
    const read = await allThatCanBeRead(who, run);
    for (const number of delivered.filter((n) => n <= 4)) expect(read).toContain(secret(number));
    const isDone = reports.some(({ to }) => to === 'complete');
    if (isDone)
      expect(await stands(who, run, 'succeeded')).toMatchObject({ output: 'the-output', payment: { paid: 30 } });
    else await who.ok('POST', `/v1/runs/${run.id}/cancel`);
    expect(await available(who)).toBe(0);
  });

  test('nor in a stream, nor to a webhook', async () => {
    const { who, run } = await ahead({ unpaid_part: 'continue' }, [part(1), part(2), part(3), complete]);
    const now = await stands(who, run, 'paused');
    const stream = await fetch(`${stage.farebox.url}/v1/runs/${run.id}/events`, {
      headers: { authorization: `Bearer ${who.token}` },
    });
    let text = '';
    const reading = (async () => {
      for await (const chunk of stream.body ?? []) text += Buffer.from(chunk).toString();
    })();
    await eventually(
      async () => text,
      (read) => read.includes('run_paused'),
    );
    expect(text.match(/^event: .*run_part_added/gm)).toHaveLength(1);
    expect(text).not.toContain('content-of');
    const [kept] =
      await stage.root`select count(*)::int as n from platform.events where payload::text like '%content-of%'`;
    expect(kept).toEqual({ n: 0 });
    await pay(who, { id: now.payment.ask_id });
    await pay(who, { id: (await runOf(who, run)).payment.ask_id });
    await reading; // it ends with the run
    expect(text.match(/^event: .*run_part_added/gm)).toHaveLength(3);
    expect(text).toContain('run_succeeded');
  });
});

test('an executor that repeats its part has its answer; whatever else it says while the run is paused, it is told to stop', async () => {
  const { who, start } = await stage.party(milestones(), { path: '/milestones', credits: 30 });
  const { run } = (await start()).body;
  await stands(who, run, 'paused');
  await stage.executor.idle();
  const call = stage.executor.runs.find(({ runId }) => runId === run.id);
  if (!call) throw new Error('it was never called');
  const say = async (to: Report['to'], body: Json) => {
    const { status, reply } = await stage.executor.report(call, { to, body });
    return status === 204 ? status : JSON.parse(reply).code;
  };
  expect(await say('parts', { part: 1, content: { text: 'part 1 of 3' } })).toBe(204);
  expect(await say('parts', { part: 1, content: 'another' })).toBe('run_paused');
  expect(await say('parts', { part: 2, content: 'ahead' })).toBe('run_paused');
  expect(await say('progress', { percent: 99, message: null })).toBe('run_paused');
  expect(await say('complete', { output: 'all of it' })).toBe('run_paused');
  expect(await say('fail', { code: 'no_luck' })).toBe('run_paused');
  expect(await runOf(who, run)).toMatchObject({ state: 'paused', output: null });
});

test('an executor that was told to stop has no say any more when the next part is paid', async () => {
  const terms = { path: '/milestones', credits: 30, executor: { max_concurrency: 1 } };
  const { who, service, start } = await stage.party(milestones(), terms);
  stage.executor.behave((run) => ((run.data.workflow as Json).name === 'Slow' ? { status: 202 } : undefined));
  const { run } = (await start()).body;
  const { payment } = await stands(who, run, 'paused');
  const other = await stage.customer(10);
  const slow = await startRun(other, await workflowOf(other, service, { name: 'Slow' }));
  await stands(other, slow.body.run, 'running'); // the executor has no hand free
  await pay(who, { id: payment.ask_id });
  const call = stage.executor.runs.find(({ runId }) => runId === run.id);
  if (!call) throw new Error('it was never called');
  const say = async (to: Report['to'], body: Json) =>
    JSON.parse((await stage.executor.report(call, { to, body })).reply || '{}').code;
  expect(await say('complete', { output: 'all of it' })).toBe('attempt_superseded');
  expect(await say('fail', { code: 'no_luck' })).toBe('attempt_superseded');
  expect(await runOf(who, run)).toMatchObject({ state: 'queued', payment: { paid: 15, due: 0, parts: { paid: 2 } } });
  await other.ok('POST', `/v1/runs/${slow.body.run.id}/cancel`);
  await stands(who, run, 'paused');
  expect(await partsOf(who, run)).toEqual([1, 2]);
});

describe('a run that does not come to its end', () => {
  async function atSecond(terms: Json = {}): Promise<{ who: Client; run: Json; ask: Json }> {
    const { who, start } = await stage.party(milestones(), { path: '/milestones', credits: 30, ...terms });
    const { run } = (await start()).body;
    const { payment } = await stands(who, run, 'paused');
    return { who, run, ask: { id: payment.ask_id } };
  }

  // REQ V7 V8
  test('the next part is not paid in time: what was paid stays readable and paid', async () => {
    const { who, run, ask } = await atSecond();
    await stage.age(ask, 601);
    await stage.tick();
    expect(await runOf(who, run)).toMatchObject({
      state: 'expired',
      returned: 0,
      payment: { state: 'expired', paid: 10, due: 0 },
    });
    expect(await partsOf(who, run)).toEqual([1]);
    expect(await available(who)).toBe(20);
  });

  test('cancelled while it waits for the next payment: nothing more is asked, nothing goes back that was delivered', async () => {
    const { who, run, ask } = await atSecond();
    const cancelled = await who.ok('POST', `/v1/runs/${run.id}/cancel`);
    expect(cancelled).toMatchObject({
      state: 'cancelled',
      returned: 0,
      payment: { state: 'released', paid: 10, due: 0 },
    });
    expect(await stage.ask(who, ask.id)).toMatchObject({ state: 'released' });
    expect(await available(who)).toBe(20);
  });

  test.each([
    ['full', 5, 20],
    ['none', 0, 15],
  ])('it fails after two payments and one part; refunds %s: %i go back', async (refund_on_failure, returned, left) => {
    stage.executor.behave((run) => {
      if (run.path !== '/one-part') return undefined;
      const isFirst = run.data.parts?.paid === 1;
      const report: Report = isFirst
        ? { to: 'parts', body: { part: 1, content: 'one' } }
        : { to: 'fail', body: { code: 'no_luck' } };
      return { reports: [report], everyMs: 1 };
    });
    const { who, run, ask } = await atSecond({ path: '/one-part', refund_on_failure });
    await pay(who, ask);
    const failed = await stands(who, run, 'failed');
    expect(failed).toMatchObject({ returned, payment: { paid: 15 }, failure: { code: 'no_luck' } });
    expect(await available(who)).toBe(left);
    const moves = ['hold 10', 'capture 10', 'hold 5', 'capture 5', ...(returned ? [`return ${returned}`] : [])];
    expect(await movesOf(stage, run)).toEqual(moves);
  });
});

test.each(['cancelled', 'expired'])(
  '%s after a part was delivered: it goes back when an operator agrees, and not by itself',
  async (state) => {
    const { who, start } = await stage.party(milestones(), { path: '/milestones', credits: 10 });
    const { run } = (await start()).body;
    const { payment } = await stands(who, run, 'paused');
    if (state === 'cancelled') await who.ok('POST', `/v1/runs/${run.id}/cancel`);
    else await stage.age({ id: payment.ask_id }, 601);
    await stands(who, run, state);
    const reply = await who.post('/v1/refunds', { subject: { type: 'run', id: run.id }, reason: 'I have read it' });
    expect(reply.body).toMatchObject({ status: 'awaiting_approval', credits: 10 });
    expect(await available(who)).toBe(0);
  },
);

test('cancelled before a part was delivered: it goes back at once', async () => {
  const { who, start } = await stage.party(milestones(), { path: '/async-silent', credits: 10 });
  const { run } = (await start()).body;
  await stands(who, run, 'running');
  await who.ok('POST', `/v1/runs/${run.id}/cancel`);
  const reply = await who.post('/v1/refunds', { subject: { type: 'run', id: run.id }, reason: 'nothing came' });
  expect(reply.body).toMatchObject({ status: 'completed', credits: 10 });
});

test('the last part that there can be is read like any other', async () => {
  const { who, start } = await stage.party({}, { path: '/async-silent', credits: 30 });
  const { run } = (await start()).body;
  await stands(who, run, 'running');
  const call = stage.executor.runs.find(({ runId }) => runId === run.id);
  if (!call) throw new Error('it was never called');
  await stage.executor.report(call, { to: 'parts', body: { part: 10_000, content: 'the end' } });
  expect((await who.get(`/v1/runs/${run.id}/parts/10000`)).body).toMatchObject({ number: 10_000, content: 'the end' });
  expect((await who.get(`/v1/runs/${run.id}/parts/10001`)).status).toBe(400);
});

test('paid and cancelled, and paid twice, at once: each part is paid once', async () => {
  const { who, start } = await stage.party(milestones(), { path: '/milestones', credits: 30 });
  const { run } = (await start()).body;
  const { payment } = await stands(who, run, 'paused');
  await Promise.all(Array.from({ length: 6 }, () => pay(who, { id: payment.ask_id })));
  await stands(who, run, 'paused');
  expect(await available(who)).toBe(15);
});

test('given back afterwards, what was paid last goes back first, and once', async () => {
  const { who, start } = await stage.party(milestones(), { path: '/milestones', credits: 30 });
  const { run } = (await start()).body;
  for (const _ of [1, 2]) await pay(who, { id: (await stands(who, run, 'paused')).payment.ask_id });
  await stands(who, run, 'succeeded');
  const ask = (amount: number) =>
    who.post('/v1/refunds', { subject: { type: 'run', id: run.id }, amount, reason: 'half of it is wrong' });
  expect((await ask(31)).body.code).toBe('refund_too_large');
  const { id } = (await ask(18)).body;
  await stage.operator.ok('POST', `/v1/admin/refunds/${id}/approve`, { body: { reason: 'it is' } });
  expect((await movesOf(stage, run)).slice(-2)).toEqual(['return 15', 'return 3']);
  expect(await runOf(who, run)).toMatchObject({
    state: 'succeeded',
    returned: 18,
    payment: { state: 'paid', paid: 30 },
  });
  expect(await available(who)).toBe(18);
  expect((await ask(1)).body.code).toBe('not_refundable');
});
