import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Report } from '../../sandbox/executor/report.ts';
import { fromWire } from '../../src/platform/ids.ts';
import { type Client, eventually, type Json } from '../harness/client.ts';
import type { TestFarebox } from '../harness/farebox.ts';
import { listen } from './event-stream.ts';
import { accepted, ended, openStage, replicaOf, type Stage, workflowOf } from './stage.ts';

/** A run's life as it happens, over HTTP, at either of two replicas. */

let stage: Stage;
let second: TestFarebox;
let customer: Client;
let workflow: Json;
let talking: Json;
beforeAll(async () => {
  stage = await openStage();
  second = await replicaOf(stage);
  customer = await stage.customer(100_000);
  const calls = { report_interval_s: 1000, max_concurrency: 1000 };
  workflow = await workflowOf(customer, await stage.offer('/async-silent', { executor: calls }));
  talking = await workflowOf(customer, await stage.offer('/async?progress=3&parts=2&delay_ms=5', { executor: calls }));
});
afterAll(async () => {
  await second.stop();
  await stage.close();
});

const follow = (
  run: Json,
  { last, as = customer, at = stage.farebox.url }: { last?: string; as?: Client; at?: string } = {},
) => listen(as, at, `/v1/runs/${run.id}/events`, last);
const types = (events: { type: string }[]) => events.map(({ type }) => type);
const LIFE = [
  'queued',
  'dispatched',
  'progressed',
  'part_added',
  'progressed',
  'part_added',
  'progressed',
  'succeeded',
];

async function atWork() {
  const run = await accepted(customer, workflow);
  const [call] = await eventually(
    async () => stage.executor.runs.filter(({ runId }) => runId === run.id),
    (calls) => calls.length === 1,
  );
  const say = async (to: Report['to'], body: Json = {}) => {
    if (!call) throw new Error('no call');
    expect((await stage.executor.report(call, { to, body })).status).toBe(204);
  };
  return { run, say };
}

test('is told from its beginning, each step once and in order, and then the stream ends', async () => {
  const run = await accepted(customer, talking);
  const stream = await follow(run);
  expect(stream.status).toBe(200);
  expect(Object.fromEntries(stream.headers)).toMatchObject({
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
    'request-id': expect.any(String),
  });
  await stream.over;
  expect(types(stream.events)).toEqual(LIFE);
  expect(stream.events.at(0)?.data).toEqual({
    type: 'workflows.run_queued',
    created_at: run.created_at,
    data: { state: 'queued', attempt: 0, cost: 10, returned: 0 },
  });
  expect(stream.events.at(2)?.data.data.progress).toEqual({ percent: 25, message: 'step 1 of 3' });
  expect(stream.events.at(3)?.data.data.part).toBe(1);
  expect(stream.events.at(-1)?.data.data).toEqual({ state: 'succeeded', attempt: 1, cost: 10, returned: 0 });
  expect(stream.comments[0]).toBe(': farebox');
});

test('is told as it happens: a reader waits for nobody', async () => {
  const { run, say } = await atWork();
  const stream = await follow(run);
  for (const percent of [1, 2, 3]) {
    await say('progress', { percent });
    const told = await eventually(
      async () => types(stream.events).filter((type) => type === 'progressed').length,
      (n) => n === percent,
      3_000,
    );
    expect(told).toBe(percent);
  }
  await say('complete', { output: 1 });
  await stream.over;
  expect(types(stream.events)).toEqual(['queued', 'dispatched', 'progressed', 'progressed', 'progressed', 'succeeded']);
});

describe('a reader that comes back', () => {
  test('at any place misses nothing and hears nothing twice; after the last event there is nothing more', async () => {
    const run = await ended(customer, await accepted(customer, talking));
    const whole = await follow(run);
    await whole.over;
    for (const [n, { id }] of whole.events.entries()) {
      for (const at of [stage.farebox.url, second.url]) {
        const again = await follow(run, { last: id, at });
        await again.over;
        const isLast = n === whole.events.length - 1;
        expect(again.status).toBe(isLast ? 204 : 200);
        expect(again.events).toEqual(whole.events.slice(n + 1));
      }
    }
  });

  test('again and again, after each event, while the run goes on', async () => {
    const run = await accepted(customer, talking);
    const heard: string[] = [];
    let last: string | undefined;
    for (let n = 0; n < 50; n += 1) {
      const stream = await follow(run, { ...(last ? { last } : {}), at: n % 2 ? second.url : stage.farebox.url });
      if (stream.status === 204) break;
      await eventually(
        async () => stream.events.length,
        (count) => count > 0,
      );
      stream.leave();
      const [event] = stream.events;
      heard.push(event?.type ?? '');
      last = event?.id;
    }
    expect(heard).toEqual(LIFE);
  });

  test.each(['x', '0', 'e', 'e-1', 'e1.5', 'e1e3', `e${'9'.repeat(30)}`, '00000000-0000-0000-0000-000000000000'])(
    'with the cursor %s, which is none, is told so',
    async (last) => {
      const { run } = await atWork();
      const stream = await follow(run, { last });
      expect(stream.status).toBe(400);
    },
  );
});

test("another's run is not there, nor is one that never was", async () => {
  const { run } = await atWork();
  const stranger = await stage.customer();
  expect((await follow(run, { as: stranger })).status).toBe(404);
  expect((await follow({ id: 'run_00000000000000000000000000' })).status).toBe(404);
  expect((await follow(run, { as: { ...customer, token: 'x' } })).status).toBe(401);
});

test('many readers of one run and of many hear the same, at both replicas', async () => {
  const works = await Promise.all([1, 2, 3, 4].map(() => atWork()));
  const streams = await Promise.all(
    works.flatMap(({ run }) => [
      follow(run),
      follow(run),
      follow(run, { at: second.url }),
      follow(run, { at: second.url }),
    ]),
  );
  for (const { say } of works) await say('progress', { percent: 50 });
  await Promise.all(works.map(({ say }, n) => (n % 2 ? say('complete', {}) : say('fail', { code: 'x' }))));
  await Promise.all(streams.map(({ over }) => over));
  for (const [n, stream] of streams.entries()) {
    const end = Math.floor(n / 4) % 2 ? 'succeeded' : 'failed';
    expect(types(stream.events)).toEqual(['queued', 'dispatched', 'progressed', end]);
  }
});

test('an account has so many streams at a time and no more, and a place that is left is free again', async () => {
  const reader = await stage.customer(100);
  const service = await stage.offer('/async-silent', { executor: { report_interval_s: 1000 } });
  const run = await accepted(reader, await workflowOf(reader, service));
  const streams = await Promise.all(Array.from({ length: 20 }, () => follow(run, { as: reader })));
  expect(streams.map(({ status }) => status)).toEqual(streams.map(() => 200));
  const refused = await follow(run, { as: reader });
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '5']);
  streams[0]?.leave();
  await eventually(
    async () => {
      const again = await follow(run, { as: reader });
      again.leave();
      return again.status;
    },
    (status) => status === 200,
  );
  for (const stream of streams) stream.leave();
});

test('a run whose events were dropped long ago has nothing to tell, and says so', async () => {
  const run = await ended(customer, await accepted(customer, talking));
  await stage.root`alter table platform.events disable trigger user`;
  await stage.root`delete from platform.events where subject_id = ${fromWire('run', run.id)}`;
  await stage.root`alter table platform.events enable trigger user`;
  expect((await follow(run)).status).toBe(204);
});

test('a reader that does not read is let go, and the others hear everything', async () => {
  const { run, say } = await atWork();
  const id = fromWire('run', run.id);
  const flood = (kilobytes: number) => stage.root`
    insert into platform.events (account_id, type, subject_id, payload)
    select ${fromWire('account', customer.accountId)}, 'workflows.run_progressed', ${id}, jsonb_build_object('m', repeat('x', 100000))
    from generate_series(1, ${kilobytes / 100})`;
  const target = new URL(stage.farebox.url);
  const socket = connect(Number(target.port), target.hostname);
  await once(socket, 'connect');
  socket.pause();
  socket.write(`GET /v1/runs/${run.id}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${customer.token}\r\n\r\n`);
  const open = async () =>
    Number(
      /^farebox_event_streams (\d+)/m.exec(await (await fetch(`${stage.farebox.internalUrl}/metrics`)).text())?.[1],
    );
  await eventually(open, (n) => n === 1);
  await flood(40_000);
  await eventually(open, (n) => n === 0, 15_000);
  socket.destroy();
  await say('complete', { output: 1 });
  const heard: string[] = [];
  for (let last: string | undefined; ; ) {
    const stream = await follow(run, last ? { last } : {});
    await stream.over;
    if (stream.status === 204) break;
    heard.push(...types(stream.events));
    last = stream.events.at(-1)?.id;
  }
  expect(heard).toHaveLength(2 + 400 + 1);
  expect(heard.at(-1)).toBe('succeeded');
});

test('ends at shutdown, at once, and goes on at another replica', async () => {
  const third = await replicaOf(stage);
  const { run, say } = await atWork();
  const stream = await follow(run, { at: third.url });
  await eventually(
    async () => stream.events.length,
    (n) => n === 2,
  );
  const began = performance.now();
  await Promise.all([third.stop(), stream.over]);
  expect(performance.now() - began).toBeLessThan(5_000);
  await say('complete', { output: 1 });
  const rest = await follow(run, { last: stream.events.at(-1)?.id ?? '' });
  await rest.over;
  expect(types(rest.events)).toEqual(['succeeded']);
});

test('nothing is held back or lost by a transaction that is slow to commit', async () => {
  const { run, say } = await atWork();
  const stream = await follow(run);
  const slow = await stage.root.reserve();
  await slow`begin`;
  await slow`insert into platform.events (account_id, type, subject_id, payload)
    values (null, 'workflows.run_progressed', ${fromWire('run', run.id)}, '{"slow": true}')`;
  await sleep(600);
  await slow`commit`;
  slow.release();
  await say('complete', { output: 1 });
  await stream.over;
  expect(types(stream.events)).toEqual(['queued', 'dispatched', 'progressed', 'succeeded']);
});
