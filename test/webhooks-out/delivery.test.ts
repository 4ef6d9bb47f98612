import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fromWire, toWire } from '../../src/platform/ids.ts';
import { eventually } from '../harness/client.ts';
import { endpointOf, type Mailbox, openMailbox } from './mailbox.ts';

/** Events arrive at the endpoints that asked for them: once each when all goes well, signed, in order. */

let box: Mailbox;
beforeAll(async () => {
  box = await openMailbox();
});
afterAll(() => box.close());

const upTo = (end: number) => Array.from({ length: end }, (_, n) => n);

test('an event arrives signed, thin and with ids as they are everywhere', async () => {
  const ada = await box.subscriber();
  const run = randomUUID();
  await ada.happen(run, 7);
  await ada.hears([7]);
  const [letter] = ada.letters();
  expect(letter?.verified, 'by the npm package standardwebhooks').toBe(true);
  expect(letter?.headers['content-type']).toBe('application/json');
  const [stored] = await box.root`select id, seq, created_at from platform.events where subject_id = ${run}`;
  expect(letter?.body).toEqual({
    id: toWire('event', stored?.['id']),
    type: 'workflows.run_progressed',
    timestamp: stored?.['created_at'].toISOString(),
    seq: Number(stored?.['seq']),
    data: { object: 'run', id: toWire('run', run), account_id: ada.customer.accountId, n: 7 },
  });
  expect(letter?.id).toBe(letter?.body.id);
  const [delivery] = await ada.reaches(([one]) => one?.state === 'delivered');
  expect(delivery).toMatchObject({ object: 'webhook_delivery', attempts: 1, next_attempt_at: null });
});

test('the events of a subject arrive in their order, each once, also when hundreds come at once', async () => {
  const ada = await box.subscriber();
  const runs = Array.from({ length: 20 }, () => randomUUID());
  await Promise.all(runs.map((run) => ada.happen(run, ...upTo(10))));
  await ada.reaches((all) => all.length === 100 && all.every(({ state }) => state === 'delivered'));
  await Promise.all(runs.map((run) => ada.hears(upTo(10), run)));
  expect(ada.letters()).toHaveLength(200);
  expect(ada.letters().every(({ verified }) => verified)).toBe(true);
  expect(box.receiver.open.get(ada.path)?.most, 'calls at once').toBeLessThanOrEqual(4);
});

test('an endpoint is told only what it asked for, of its own account, and from its creation on', async () => {
  const ada = await box.subscriber({ events: ['workflows.run_progressed'] });
  const others = { purchases: '/purchases', all: '/all', late: '/late' };
  await endpointOf(ada.customer, box.receiver.url + others.purchases, { events: ['payments.*'] });
  await endpointOf(ada.customer, box.receiver.url + others.all, { events: ['*'] });
  const bob = await box.subscriber();
  const [mine, his] = [randomUUID(), randomUUID()];
  await ada.happen(mine, 1);
  await ada.hears([1]);
  await endpointOf(ada.customer, box.receiver.url + others.late);
  await ada.happen(mine, 2);
  await bob.happen(his, 3);
  await Promise.all([ada.hears([1, 2]), bob.hears([3])]);
  const at = (path: string) => box.receiver.at(path).map(({ body }) => body.data.n);
  await ada.reaches((all) => all.every(({ state }) => state === 'delivered'));
  // Each endpoint is told at its own pace.
  await eventually(
    async () => [at(others.all), at(others.late)],
    ([all, late]) => all?.length === 2 && late?.length === 1,
  );
  expect(at(others.all)).toEqual([1, 2]);
  expect(at(others.late)).toEqual([2]);
  expect(at(others.purchases)).toEqual([]);
});

test('one event has one id, at every endpoint', async () => {
  const ada = await box.subscriber();
  const path = `/${randomUUID()}`;
  await endpointOf(ada.customer, box.receiver.url + path);
  await ada.happen(randomUUID(), 1);
  await ada.hears([1]);
  await expect.poll(() => box.receiver.at(path)[0]?.id).toBe(ada.letters()[0]?.id);
});

test('while a secret is being replaced both sign', async () => {
  const ada = await box.subscriber();
  const { signing_secret: fresh } = await ada.customer.ok(
    'POST',
    `/v1/webhook-endpoints/${ada.endpoint.id}/signing-secrets`,
  );
  expect(fresh).toMatch(/^whsec_/);
  expect(fresh).not.toBe(ada.endpoint.signing_secret);
  await ada.happen(randomUUID(), 1);
  await ada.hears([1]);
  expect(ada.letters()[0]?.verified, 'with the former secret').toBe(true);
  expect(String(ada.letters()[0]?.headers['webhook-signature']).split(' ')).toHaveLength(2);
  box.receiver.expectSecret(ada.path, fresh);
  await ada.happen(randomUUID(), 2);
  await ada.hears([1, 2]);
  expect(ada.letters()[1]?.verified, 'with the new one').toBe(true);
});

test('an endpoint that is not enabled is told nothing, and goes on with what comes after it is enabled again', async () => {
  const ada = await box.subscriber();
  const path = `/v1/webhook-endpoints/${ada.endpoint.id}`;
  await ada.happen(randomUUID(), 1);
  await ada.hears([1]);
  expect(await ada.customer.ok('PATCH', path, { body: { enabled: false } })).toMatchObject({
    ...{ enabled: false, disabled_reason: 'owner' },
  });
  const bob = await box.subscriber();
  await ada.happen(randomUUID(), 2);
  await bob.happen(randomUUID(), 2);
  await bob.hears([2]); // the events have been gone through
  await ada.customer.ok('PATCH', path, { body: { enabled: true } });
  await ada.happen(randomUUID(), 3);
  await ada.hears([1, 3]);
});

test('a slow transaction delays its events and loses none', async () => {
  const ada = await box.subscriber();
  const [slow, quick] = [randomUUID(), randomUUID()];
  const account = fromWire('account', ada.customer.accountId);
  await box.root.begin(async (tx) => {
    await tx`insert into platform.events (account_id, type, subject_id, payload)
      values (${account}, 'workflows.run_progressed', ${slow}, '{"n": 1}')`;
    await ada.happen(quick, 2);
    await new Promise((resolve) => setTimeout(resolve, 1_200)); // several rounds of the fan-out
    expect(ada.heard()).toEqual([]);
  });
  await Promise.all([ada.hears([1], slow), ada.hears([2], quick)]);
});
