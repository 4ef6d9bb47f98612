import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fromWire } from '../../src/platform/ids.ts';
import { eventually, type Json } from '../harness/client.ts';
import { inProcess } from '../harness/in-process.ts';
import { expectProblem } from '../harness/problems.ts';
import { type Mailbox, openMailbox, type Subscriber } from './mailbox.ts';
import { status } from './receiver.ts';

/** The log of what was delivered, and what can be done with it. */

let box: Mailbox;
beforeAll(async () => {
  box = await openMailbox();
});
afterAll(() => box.close());

const at = ({ endpoint }: Subscriber, more = '') => `/v1/webhook-endpoints/${endpoint.id}/deliveries${more}`;
const allDelivered = (n: number) => (all: Json[]) =>
  all.length === n && all.every(({ state }) => state === 'delivered');

test('the log is listed newest event first, page by page and by state', async () => {
  const ada = await box.subscriber();
  const run = randomUUID();
  await ada.happen(run, 0, 1, 2, 3, 4);
  await ada.reaches(allDelivered(5));
  const seen: Json[] = [];
  for (let cursor = ''; ; ) {
    const page = await ada.customer.ok('GET', at(ada, `?limit=2${cursor}`));
    seen.push(...page.data);
    if (!page.has_more) break;
    cursor = `&starting_after=${page.next_cursor}`;
  }
  expect(seen).toEqual(await ada.deliveries());
  const numbers = seen.map(({ event }) => event.seq);
  expect(numbers).toEqual(numbers.toSorted((a, b) => b - a));
  expect(await ada.deliveries('&state=failed')).toEqual([]);
  expect(await ada.deliveries('&state=delivered')).toHaveLength(5);
  expectProblem(await ada.customer.get(at(ada, '?state=lost')), 'validation_failed');
  const { next_cursor } = await ada.customer.ok('GET', at(ada, '?limit=2'));
  expectProblem(await ada.customer.get(at(ada, `?state=held&starting_after=${next_cursor}`)), 'invalid_cursor');
});

test('what was delivered comes again on demand under the same id, with its attempts in one log', async () => {
  const ada = await box.subscriber();
  await ada.happen(randomUUID(), 1);
  const [delivery] = await ada.reaches(allDelivered(1));
  const key = randomUUID();
  const again = () => ada.customer.post(at(ada, `/${delivery.id}/redeliver`), undefined, { key });
  expect((await again()).status).toBe(202);
  await eventually(
    async () => ada.letters().length,
    (n) => n === 2,
  );
  expect((await again()).headers.get('idempotent-replayed')).toBe('true');
  const whole = await eventually(
    () => ada.customer.ok('GET', at(ada, `/${delivery.id}`)),
    ({ state }) => state === 'delivered',
  );
  expect(whole.attempt_log.map(({ attempt }: Json) => attempt)).toEqual([1, 2]);
  expect(new Set(ada.letters().map(({ id }) => id)).size).toBe(1);
  expect(ada.letters()).toHaveLength(2);
});

test('it waits behind a later event of its subject that is under way', async () => {
  const ada = await box.subscriber();
  const run = randomUUID();
  await ada.happen(run, 1);
  const [first] = await ada.reaches(allDelivered(1));
  box.receiver.answer(ada.path, status(500));
  await ada.happen(run, 2);
  await ada.reaches(([later]) => later?.event.seq !== first.event.seq && later.attempts > 0);
  const { body } = await ada.customer.post(at(ada, `/${first.id}/redeliver`));
  expect(body.state).toBe('held');
  box.receiver.answer(ada.path, status(204));
  await box.root`update platform.webhook_deliveries set next_attempt_at = now() where state = 'pending'`;
  await ada.reaches(allDelivered(2));
  expect(ada.heard().slice(-2)).toEqual([2, 1]);
});

test('what is not over is not redelivered, nor to an endpoint that is not enabled', async () => {
  const ada = await box.subscriber();
  box.receiver.answer(ada.path, status(500));
  await ada.happen(randomUUID(), 1);
  const [delivery] = await ada.reaches(([one]) => one?.attempts > 0);
  expectProblem(await ada.customer.post(at(ada, `/${delivery.id}/redeliver`)), 'conflict');
  const body = { enabled: false };
  await ada.customer.ok('PATCH', `/v1/webhook-endpoints/${ada.endpoint.id}`, { body });
  expectProblem(await ada.customer.post(at(ada, `/${delivery.id}/redeliver`)), 'conflict');
});

test('another endpoint’s delivery is not there', async () => {
  const [ada, eve] = [await box.subscriber(), await box.subscriber()];
  await ada.happen(randomUUID(), 1);
  const [delivery] = await ada.reaches(allDelivered(1));
  expectProblem(await eve.customer.get(at(eve, `/${delivery.id}`)), 'not_found');
  expectProblem(await eve.customer.post(at(eve, `/${delivery.id}/redeliver`)), 'not_found');
  expectProblem(await eve.customer.get(at(ada, `/${delivery.id}`)), 'not_found');
});

test('two weeks later it is forgotten, and what was held behind it goes on', async () => {
  const ada = await box.subscriber();
  box.receiver.answer(ada.path, status(500));
  const run = randomUUID();
  await ada.happen(run, 1, 2);
  await ada.happen(randomUUID(), 3);
  await ada.reaches((all) => all.length === 3 && all.every(({ state }) => state !== 'sending'));
  const id = fromWire('webhookEndpoint', ada.endpoint.id);
  await box.root`update platform.webhook_deliveries set created_at = created_at - interval '15 days'
    where endpoint_id = ${id} and event_seq = (select min(event_seq) from platform.webhook_deliveries where endpoint_id = ${id})`;
  const { work } = await inProcess(box.farebox);
  await work('webhook-reaper');
  const left = await ada.deliveries();
  expect(left).toHaveLength(2);
  expect(left.filter(({ state }) => state === 'held')).toEqual([]);
});

test('a deleted endpoint and all that was its own is gone', async () => {
  const ada = await box.subscriber();
  await ada.happen(randomUUID(), 1, 2);
  await ada.reaches(allDelivered(2));
  await ada.customer.ok('DELETE', `/v1/webhook-endpoints/${ada.endpoint.id}`);
  const id = fromWire('webhookEndpoint', ada.endpoint.id);
  await box.root`update platform.webhook_endpoints set deleted_at = now() - interval '2 hours' where id = ${id}`;
  const { work } = await inProcess(box.farebox);
  await work('webhook-reaper');
  const [left] = await box.root`
    select (select count(*)::int from platform.webhook_endpoints where id = ${id}) as endpoints,
      (select count(*)::int from platform.webhook_deliveries where endpoint_id = ${id}) as deliveries`;
  expect(left).toEqual({ endpoints: 0, deliveries: 0 });
});
