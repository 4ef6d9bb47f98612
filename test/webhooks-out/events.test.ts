import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { allEvents } from '../../src/events.ts';
import { fromWire, toWire } from '../../src/platform/ids.ts';
import { type Client, eventually, type Json } from '../harness/client.ts';
import { expectProblem } from '../harness/problems.ts';
import { listen } from '../workflows/event-stream.ts';
import { type Mailbox, openMailbox } from './mailbox.ts';

/** The account's own events, to read again and as they happen. */

let box: Mailbox;
beforeAll(async () => {
  box = await openMailbox();
});
afterAll(() => box.close());

const numbers = (events: Json[]) => events.map(({ data }) => data.n);
/** Of a stream: the data of each is the whole event. */
const told = ({ events }: Awaited<ReturnType<typeof listen>>) => numbers(events.map(({ data }) => data));
const open = (client: Client, lastEventId?: string) =>
  listen(client, box.farebox.url, '/v1/events/stream', lastEventId);

/** Waits until so many events lie below the horizon: a transaction elsewhere on the server may hold it for a moment. */
const settled = ({ accountId }: Client, wanted: number): Promise<unknown> =>
  eventually(
    async () => box.root`select id from platform.events
      where account_id = ${fromWire('account', accountId)} and xid < platform.event_horizon()`,
    (below) => below.length === wanted,
  );

test('the list is newest first, page by page, by type, and nobody else’s', async () => {
  const [ada, eve] = [await box.subscriber(), await box.subscriber()];
  const run = randomUUID();
  await ada.happen(run, 0, 1, 2, 3, 4);
  await eve.happen(randomUUID(), 99);
  const whole = (await ada.customer.ok('GET', '/v1/events')).data;
  expect(numbers(whole)).toEqual([4, 3, 2, 1, 0]);
  expect(whole[0]).toMatchObject({
    object: 'event',
    type: 'workflows.run_progressed',
    data: { id: toWire('run', run) },
  });
  const seen: Json[] = [];
  for (let cursor = ''; ; ) {
    const page = await ada.customer.ok('GET', `/v1/events?limit=2${cursor}`);
    seen.push(...page.data);
    if (!page.has_more) break;
    cursor = `&starting_after=${page.next_cursor}`;
  }
  expect(seen).toEqual(whole);
  const ofType = (type: string) => ada.customer.get(`/v1/events?type=${type}`);
  expect((await ofType('workflows.run_progressed')).body.data).toEqual(whole);
  expect((await ofType('workflows.run_failed')).body.data).toEqual([]);
  expectProblem(await ofType('workflows.run_exploded'), 'validation_failed');
  const { next_cursor } = await ada.customer.ok('GET', '/v1/events?limit=2');
  expectProblem(await eve.customer.get(`/v1/events?starting_after=${next_cursor}`), 'invalid_cursor');
});

test('what an endpoint is told is what the list and the stream tell', async () => {
  const ada = await box.subscriber();
  const stream = await open(ada.customer);
  await ada.happen(randomUUID(), 1);
  await ada.hears([1]);
  await eventually(
    async () => told(stream),
    (seen) => seen.length === 1,
  );
  const [listed] = (await ada.customer.ok('GET', '/v1/events')).data;
  const { object, ...event } = listed;
  expect(object).toBe('event');
  expect(ada.letters()[0]?.body).toEqual(event);
  expect(stream.events[0]?.data).toEqual(listed);
  stream.leave();
});

test('a reader hears all of its account from now on, and comes back anywhere without missing or repeating', async () => {
  const ada = await box.subscriber();
  const runs = [randomUUID(), randomUUID()];
  await ada.happen(runs[0] ?? '', 100);
  await settled(ada.customer, 1);
  const first = await open(ada.customer);
  for (let n = 0; n < 6; n += 1) await ada.happen(runs[n % 2] ?? '', n);
  await eventually(
    async () => told(first),
    (seen) => seen.length === 6,
  );
  expect(told(first)).toEqual([0, 1, 2, 3, 4, 5]);
  for (const [n, { id }] of first.events.slice(0, 6).entries()) {
    const again = await open(ada.customer, id);
    const rest = [0, 1, 2, 3, 4, 5].slice(n + 1);
    await ada.happen(runs[0] ?? '', 7);
    await eventually(
      async () => told(again),
      (seen) => seen.filter((one) => one === 7).length === n + 1,
    );
    expect(told(again)).toEqual([...rest, ...Array(n + 1).fill(7)]);
    again.leave();
  }
  first.leave();
});

test('a slow transaction’s events are heard when it commits, and also by a reader that was away', async () => {
  const ada = await box.subscriber();
  const account = fromWire('account', ada.customer.accountId);
  const stream = await open(ada.customer);
  await ada.happen(randomUUID(), 0);
  await eventually(
    async () => told(stream),
    (seen) => seen.length === 1,
  );
  await box.root.begin(async (tx) => {
    await tx`insert into platform.events (account_id, type, subject_id, payload)
      values (${account}, 'workflows.run_progressed', ${randomUUID()}, '{"n": 1}')`;
    await ada.happen(randomUUID(), 2);
    await new Promise((resolve) => setTimeout(resolve, 1_200)); // more than two rounds of the feed
    expect(told(stream)).toEqual([0]);
  });
  await eventually(
    async () => told(stream),
    (seen) => seen.length === 3,
  );
  expect(told(stream)).toEqual([0, 1, 2]);
  const again = await open(ada.customer, stream.events[0]?.id);
  await eventually(
    async () => told(again),
    (seen) => seen.length === 2,
  );
  expect(told(again)).toEqual([1, 2]);
  stream.leave();
  again.leave();
});

test('a place that is not ours is a 400', async () => {
  const ada = await box.subscriber();
  for (const id of ['e1', 'a', 'x', 'a-1', `a${'z'.repeat(25)}`, `a${'z'.repeat(26)}`, 'null']) {
    const reply = await ada.customer.get('/v1/events/stream', { headers: { 'last-event-id': id } });
    expectProblem(reply, 'invalid_cursor');
  }
});

test('every type that the source tells of can be asked for', async () => {
  const { readdirSync, readFileSync } = await import('node:fs');
  const source = readdirSync('src', { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') || path.endsWith('.sql'))
    .map((path) => readFileSync(`src/${path}`, 'utf8'))
    .join('\n');
  const named = [...source.matchAll(/\b(?:tell|tellCharge)\([^)]*?'((?:run|charge)_[a-z_]+)'/gs)].map(
    ([, what]) => what,
  );
  const known = Object.keys(allEvents).map((type) => type.split('.')[1]);
  expect(named.length).toBeGreaterThan(6);
  expect(named.filter((what) => !known.includes(what))).toEqual([]);
});
