import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, clientOf, type Json, type Reply } from '../harness/client.ts';
import type { TestFarebox } from '../harness/farebox.ts';
import { available, books, openStage, replicaOf, type Stage, startRun, workflowOf } from './stage.ts';

let stage: Stage;
let second: TestFarebox;
let service: Json;
beforeAll(async () => {
  stage = await openStage({ env: { WORKERS: 'off' } });
  second = await replicaOf(stage);
  service = await stage.offer('/echo', { credit_cost: 1 });
});
afterAll(async () => {
  await second.stop();
  await stage.close();
});

const HUNDRED = Array.from({ length: 100 }, (_, n) => n);
const tally = (replies: Reply[]) =>
  Object.fromEntries(Object.entries(Object.groupBy(replies, ({ status }) => status)).map(([s, r]) => [s, r?.length]));
/** The same account at both replicas. */
const everywhere = (customer: Client): [Client, Client] => [customer, clientOf(second.url, customer)];
const doors: [string, (customer: Client) => [Client, Client]][] = [
  ['one replica', (customer) => [customer, customer]],
  ['two replicas', everywhere],
];

// REQ E4.1 E4.3 E4.4
test.each(doors)('of 1000 parallel runs on credits for 100, %s accepts exactly 100', async (_, enter) => {
  const customer = await stage.customer(100);
  const workflow = await workflowOf(customer, service);
  const [one, two] = enter(customer);
  const replies = await Promise.all(
    Array.from({ length: 1000 }, (_, n) => startRun(n % 2 ? one : two, workflow, { input: { n } })),
  );
  expect(tally(replies)).toEqual({ 202: 100, 402: 900 });
  expect(await available(customer)).toBe(0);
  expect(await books(stage.root, customer)).toMatchObject({ runs: 100, transfers: 101, events: 100 });
  const left = replies.filter(({ status }) => status === 202).map(({ body }) => body.balance.available);
  expect(left.sort((a, b) => a - b)).toEqual(HUNDRED);
  expect(new Set(replies.map(({ body }) => body.run?.id).filter(Boolean)).size).toBe(100);
});

test.each(doors)('one key 100 times in parallel at %s: one run, one spend, one answer', async (_, enter) => {
  const customer = await stage.customer(50);
  const workflow = await workflowOf(customer, service);
  const clients = enter(customer);
  const replies = await Promise.all(
    HUNDRED.map((n) => startRun(clients[n % 2] as Client, workflow, { input: { z: 1, a: 2 } }, { key: 'storm' })),
  );
  const done = replies.filter(({ status }) => status === 202);
  expect(new Set(replies.map(({ status }) => status).filter((status) => status !== 409))).toEqual(new Set([202]));
  expect(new Set(done.map(({ text }) => text)).size).toBe(1);
  expect(await books(stage.root, customer)).toMatchObject({ runs: 1, transfers: 2, events: 1 });
  expect(await available(customer)).toBe(49);
});

// Whoever waited for the first one's lock finds the credits gone: for this very run, which is no reason to ask for more.
test.each(doors)('one key 100 times with credits for one run, at %s: nobody is told to pay', async (_, enter) => {
  for (let round = 0; round < 5; round += 1) {
    const customer = await stage.customer(1);
    const workflow = await workflowOf(customer, service);
    const clients = enter(customer);
    const replies = await Promise.all(
      HUNDRED.slice(0, 30).map((n) => startRun(clients[n % 2] as Client, workflow, {}, { key: 'last-credit' })),
    );
    expect(tally(replies)).not.toHaveProperty('402');
    expect(new Set(replies.filter(({ status }) => status === 202).map(({ text }) => text)).size).toBe(1);
    expect(await available(customer)).toBe(0);
  }
});

test('two bodies with one key at once: one run, the other is told', async () => {
  for (let round = 0; round < 5; round += 1) {
    const customer = await stage.customer(1);
    const workflow = await workflowOf(customer, service);
    const clients = everywhere(customer);
    const replies = await Promise.all(
      HUNDRED.slice(0, 10).map((n) =>
        startRun(clients[n % 2] as Client, workflow, { input: { side: n % 2 } }, { key: 'either' }),
      ),
    );
    const winners = new Set(replies.filter(({ status }) => status === 202).map(({ body }) => body.run.input.side));
    expect(winners.size).toBe(1);
    expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([202, 422]));
    expect(await books(stage.root, customer)).toMatchObject({ runs: 1, transfers: 2 });
  }
});

test('many accounts at once do not wait for each other, nor mix', async () => {
  const customers = await Promise.all(HUNDRED.slice(0, 12).map(() => stage.customer(5)));
  const mine = await Promise.all(customers.map((customer) => workflowOf(customer, service)));
  const replies = await Promise.all(
    customers.flatMap((customer, n) => HUNDRED.slice(0, 10).map(() => startRun(customer, mine[n]))),
  );
  expect(tally(replies)).toEqual({ 202: 60, 402: 60 });
  for (const customer of customers) {
    expect(await books(stage.root, customer)).toMatchObject({ runs: 5, transfers: 6, balance: { available: 0 } });
  }
});
