import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually, type Json } from '../harness/client.ts';
import { letTimePass, type Mailbox, openMailbox, type Subscriber } from './mailbox.ts';
import { silence, status } from './receiver.ts';

/** Endpoints that do not take what they are sent: nothing is lost, and nobody else waits. */

let box: Mailbox;
beforeAll(async () => {
  box = await openMailbox();
});
afterAll(() => box.close());

const states = (all: Json[]) => all.map(({ state }) => state).toReversed();
/** The oldest delivery, once so many attempts of it are over. */
const afterAttempt = (ada: Subscriber, n: number): Promise<Json> =>
  eventually(
    async () => {
      const oldest = (await ada.deliveries()).at(-1);
      return oldest && ada.customer.ok('GET', `/v1/webhook-endpoints/${ada.endpoint.id}/deliveries/${oldest.id}`);
    },
    (delivery) => delivery?.attempt_log.length >= n,
  );

test('an endpoint that is down for hours gets everything afterwards, in order per subject', async () => {
  const ada = await box.subscriber();
  box.receiver.answer(ada.path, status(503, {}, 'down for maintenance'));
  const runs = [randomUUID(), randomUUID(), randomUUID()];
  for (const run of runs) await ada.happen(run, 0, 1, 2);
  const waiting = ['held', 'held', 'held', 'held', 'held', 'held', 'pending', 'pending', 'pending'];
  /** Nothing is under way, and each that is not held has had so many attempts. */
  const rest = (attempts: number) => (all: Json[]) =>
    String(states(all).toSorted()) === String(waiting) &&
    all.every((one) => one.state === 'held' || one.attempts >= attempts);
  for (let tries = 1; tries <= 6; tries += 1) {
    await ada.reaches(rest(tries));
    await letTimePass(box.root, ada.endpoint, 4);
  }
  await ada.reaches(rest(7));
  const refused = ada.letters().length;
  expect(new Set(ada.heard()), 'only the first of each').toEqual(new Set([0]));
  expect((await ada.read()).failing_since).not.toBeNull();
  expect(await afterAttempt(ada, 1)).toMatchObject({
    ...{ state: 'pending', attempt_log: expect.arrayContaining([expect.objectContaining({ status: 503 })]) },
  });
  box.receiver.answer(ada.path, status(204));
  await letTimePass(box.root, ada.endpoint, 4);
  await ada.reaches((all) => all.every(({ state }) => state === 'delivered'));
  const taken = ada.letters().slice(refused);
  for (const run of runs) expect(ada.heard(run).slice(-3)).toEqual([0, 1, 2]);
  expect(new Set(taken.map(({ id }) => id)).size).toBe(9);
  expect(taken.every(({ verified }) => verified)).toBe(true);
  expect((await ada.read()).failing_since).toBeNull();
});

test('a failing delivery holds back later ones of its subject, and nothing else', async () => {
  const ada = await box.subscriber();
  const [stuck, fine] = [randomUUID(), randomUUID()];
  box.receiver.answer(ada.path, (response, { body }) => {
    response.writeHead(body.data.n === 13 ? 500 : 204).end();
  });
  await ada.happen(stuck, 13, 14, 15);
  await ada.happen(fine, 1, 2);
  await ada.hears([1, 2], fine);
  await ada.happen(stuck, 16);
  await ada.reaches((all) => all.length === 6);
  expect(new Set(ada.heard(stuck))).toEqual(new Set([13]));
  expect(states(await ada.deliveries()).filter((state) => state === 'held')).toHaveLength(3);
  box.receiver.answer(ada.path, status(204));
  await letTimePass(box.root, ada.endpoint, 1);
  await ada.reaches((all) => all.every(({ state }) => state === 'delivered'));
  expect(ada.heard(stuck).slice(-4)).toEqual([13, 14, 15, 16]);
});

test.each([
  ['refuses', status(400, {}, 'no such thing'), { status: 400, error: 'refused', excerpt: 'no such thing' }],
  ['redirects', status(302, { location: 'https://example.com/' }), { status: 302, error: 'redirected' }],
  ['answers garbage', status(500, {}, 'a\0b\xff'), { status: 500, error: 'refused' }],
  ['hangs up', (response: { destroy(): void }) => response.destroy(), { status: null, error: 'network' }],
])('an endpoint that %s is tried again, and the account sees why', async (_what, manner, seen) => {
  const ada = await box.subscriber();
  box.receiver.answer(ada.path, manner as never);
  await ada.happen(randomUUID(), 1);
  const delivery = await afterAttempt(ada, 1);
  expect(delivery).toMatchObject({ state: 'pending', attempt_log: [{ attempt: 1, ...seen }] });
  const wait = Date.parse(delivery.next_attempt_at) - Date.parse(delivery.attempt_log[0].at);
  expect(wait, 'the first bound of the backoff').toBeLessThanOrEqual(5_000 + 1_000);
  box.receiver.answer(ada.path, status(200));
  await letTimePass(box.root, ada.endpoint, 1);
  await ada.reaches(([one]) => one?.state === 'delivered');
  expect(new Set(ada.letters().map(({ id }) => id)).size, 'one id').toBe(1);
});

test('a huge reply is read no further than its beginning, and a yes is a yes', async () => {
  const ada = await box.subscriber();
  box.receiver.answer(ada.path, status(200, {}, 'x'.repeat(20_000_000)));
  await ada.happen(randomUUID(), 1);
  const delivery = await afterAttempt(ada, 1);
  expect(delivery.state).toBe('delivered');
  expect(delivery.attempt_log[0].excerpt).toBe('x'.repeat(500));
});

test('who answers 429 is left alone for as long as it asked, a day at most', async () => {
  for (const [asked, atLeast, atMost] of [
    ['3600', 3_590, 3_620],
    ['9999999', 86_390, 86_420],
  ] as const) {
    const ada = await box.subscriber();
    box.receiver.answer(ada.path, status(429, { 'retry-after': asked }));
    await ada.happen(randomUUID(), 1);
    const { next_attempt_at, attempt_log } = await afterAttempt(ada, 1);
    const seconds = (Date.parse(next_attempt_at) - Date.parse(attempt_log[0].at)) / 1000;
    expect(seconds).toBeGreaterThan(atLeast);
    expect(seconds).toBeLessThan(atMost);
  }
});

test('who answers 410 is called no more; enabled again it gets what waited', async () => {
  const ada = await box.subscriber();
  box.receiver.answer(ada.path, status(410));
  const run = randomUUID();
  await ada.happen(run, 1, 2);
  expect(await eventually(ada.read, ({ enabled }) => !enabled)).toMatchObject({ disabled_reason: 'gone' });
  const told = ada.letters().length;
  await ada.happen(run, 3);
  const bob = await box.subscriber();
  await bob.happen(randomUUID(), 1);
  await bob.hears([1]);
  expect(ada.letters()).toHaveLength(told);
  box.receiver.answer(ada.path, status(204));
  await ada.customer.ok('PATCH', `/v1/webhook-endpoints/${ada.endpoint.id}`, { body: { enabled: true } });
  await ada.reaches((all) => all.length === 2 && all.every(({ state }) => state === 'delivered'));
  expect(ada.heard().slice(told)).toEqual([1, 2]);
});

test('after three days of nothing but failure an endpoint is disabled, and the account is told elsewhere', async () => {
  const ada = await box.subscriber();
  const other = '/elsewhere';
  const body = { url: box.receiver.url + other, events: ['platform.*'] };
  await ada.customer.ok('POST', '/v1/webhook-endpoints', { body });
  box.receiver.answer(ada.path, status(500));
  const run = randomUUID();
  await ada.happen(run, 1, 2);
  await afterAttempt(ada, 1);
  await letTimePass(box.root, ada.endpoint, 71);
  await afterAttempt(ada, 2);
  expect(await ada.read()).toMatchObject({ enabled: true });
  await letTimePass(box.root, ada.endpoint, 2);
  expect(await eventually(ada.read, ({ enabled }) => !enabled)).toMatchObject({ disabled_reason: 'failing' });
  const notice = await eventually(async () => box.receiver.at(other)[0]?.body, Boolean);
  expect(notice).toMatchObject({
    type: 'platform.webhook_endpoint_disabled',
    data: { object: 'webhook_endpoint', id: ada.endpoint.id, reason: 'failing' },
  });
  box.receiver.answer(ada.path, status(204));
  await ada.customer.ok('PATCH', `/v1/webhook-endpoints/${ada.endpoint.id}`, { body: { enabled: true } });
  await ada.reaches((all) => all.every(({ state }) => state === 'delivered'));
  expect(ada.heard().slice(-2)).toEqual([1, 2]);
});

test('one event that is refused for three days fails, and what is held behind it goes on', async () => {
  const ada = await box.subscriber();
  box.receiver.answer(ada.path, (response, { body }) => {
    response.writeHead(body.data.n === 13 ? 500 : 204).end();
  });
  const run = randomUUID();
  await ada.happen(run, 13, 14);
  await afterAttempt(ada, 1);
  await ada.happen(randomUUID(), 1); // the endpoint itself is well
  await eventually(ada.read, ({ failing_since }) => failing_since === null);
  await letTimePass(box.root, ada.endpoint, 73);
  await ada.reaches((all) => all.find(({ event }) => event.seq === all.at(-1).event.seq)?.state === 'failed');
  await ada.reaches((all) => all.filter(({ state }) => state === 'delivered').length === 2);
  expect(await ada.read()).toMatchObject({ enabled: true });
});

test('an endpoint that never answers holds four calls, and nobody else waits for it', async () => {
  const ada = await box.subscriber();
  box.receiver.answer(ada.path, silence);
  for (let n = 0; n < 30; n += 1) await ada.happen(randomUUID(), n);
  await eventually(
    async () => box.receiver.open.get(ada.path)?.now,
    (now) => now === 4,
  );
  const bob = await box.subscriber();
  const began = performance.now();
  for (let n = 0; n < 20; n += 1) await bob.happen(randomUUID(), n);
  await bob.reaches((all) => all.length === 20 && all.every(({ state }) => state === 'delivered'));
  expect(performance.now() - began).toBeLessThan(14_000); // no time-out of hers has passed
  expect(box.receiver.open.get(ada.path)?.most).toBe(4);
  expect((await ada.deliveries('&state=sending')).length).toBe(4);
});
