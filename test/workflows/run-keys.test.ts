import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Client, Json, Reply } from '../harness/client.ts';
import { accepted, available, books, ended, openStage, type Stage, startRun, workflowOf } from './stage.ts';

let stage: Stage;
let service: Json;
beforeAll(async () => {
  stage = await openStage();
  service = await stage.offer('/echo', { credit_cost: 10 });
});
afterAll(() => stage.close());

/** A hundred credits and one run on the way, started with a key. */
async function started(body: Json = {}, key = 'the-key', more: Json = {}) {
  const customer = await stage.customer(100);
  const workflow = await workflowOf(customer, service, more);
  const first = await startRun(customer, workflow, body, { key });
  expect(first.status).toBe(202);
  return { customer, workflow, first, again: (other: Json = body) => startRun(customer, workflow, other, { key }) };
}

function expectReplay(again: Reply, first: Reply) {
  expect(again.status).toBe(202);
  expect(again.text).toBe(first.text);
  expect(again.headers.get('location')).toBe(first.headers.get('location'));
  expect(again.headers.get('idempotent-replayed')).toBe('true');
}

const INPUT = { zebra: 1, a: [1.5, -0.0, 1e21, 1e-7, 'ä\u2028'], 'a/b': { longer: null, b: true }, '': '' };

test('the same bytes for ever: while it runs, when it has ended, after other spends', async () => {
  const { customer, workflow, first, again } = await started({ input: INPUT }, 'for-ever', {
    input_defaults: { mid: 0, y: {} },
  });
  expectReplay(await again(), first);
  await ended(customer, first.body.run);
  await accepted(customer, workflow);
  expectReplay(await again(), first);
  expect(first.body.balance.available).toBe(90);
  expect(await available(customer)).toBe(80);
});

test('the order of members, spaces and left-out defaults make no other request', async () => {
  const { customer, workflow, first } = await started({ input: { a: 1, b: 2 } }, 'canonical');
  const response = await fetch(`${stage.farebox.url}/v1/workflows/${workflow.id}/runs?x=1`.replace('?x=1', ''), {
    method: 'POST',
    headers: {
      authorization: `Bearer ${customer.token}`,
      'content-type': 'application/json; charset=utf-8',
      'idempotency-key': '"canonical"',
    },
    body: '{ "input": { "b": 2.0, "a": 1 } }',
  });
  expect(await response.text()).toBe(first.text);
});

// What a first reply was does not change with what came later.
test.each<[string, (customer: Client, workflow: Json, one: Json) => Promise<unknown>]>([
  [
    'the workflow was changed',
    (c, w) => c.ok('PATCH', `/v1/workflows/${w.id}`, { body: { input_defaults: { n: 1 } } }),
  ],
  ['the workflow was deleted', (c, w) => c.ok('DELETE', `/v1/workflows/${w.id}`)],
  ['the service was withdrawn', (_, __, s) => change(s, { active: false })],
  ['the service was repriced', (_, __, s) => change(s, { credit_cost: 99 })],
  ['the service takes other inputs', (_, __, s) => change(s, { input_schema: { required: ['never'] } })],
  ['the credits are gone', (c, w) => spendAll(c, w)],
])('a replay is the same when meanwhile %s', async (_, meanwhile) => {
  const own = await stage.offer('/echo', { credit_cost: 10 });
  const customer = await stage.customer(30);
  const workflow = await workflowOf(customer, own);
  const again = () => startRun(customer, workflow, { expected_cost: 10 }, { key: 'k' });
  const first = await again();
  await meanwhile(customer, workflow, own);
  const before = await books(stage.root, customer);
  expectReplay(await again(), first);
  expect((await books(stage.root, customer)).runs).toBe(before.runs);
});

const change = (service: Json, body: Json) => stage.operator.ok('PATCH', `/v1/admin/services/${service.id}`, { body });
const spendAll = async (customer: Client, workflow: Json) => {
  for (let left = 2; left > 0; left -= 1) await accepted(customer, workflow);
  expect(await available(customer)).toBe(0);
};

test('the same key for another request is a 422, whatever differs', async () => {
  const { customer, first, again } = await started({ input: { a: 1 } }, 'reused');
  const other = await workflowOf(customer, service);
  const before = await books(stage.root, customer);
  const tries = [
    await again({ input: { a: 2 } }),
    await again({ input: { a: 1 }, expected_cost: 10 }),
    await again({}),
    await startRun(customer, other, { input: { a: 1 } }, { key: 'reused' }),
    await startRun(customer, { id: 'wf_00000000000000000000000000' }, { input: { a: 1 } }, { key: 'reused' }),
  ];
  expect(tries.map(({ status, body }) => [status, body.code])).toEqual(
    tries.map(() => [422, 'idempotency_key_reused']),
  );
  expect((await books(stage.root, customer)).transfers).toBe(before.transfers);
  expectReplay(await again(), first);
});

test("another account's key is another key", async () => {
  const [one, two] = [await started({}, 'everybody-says-1'), await started({}, 'everybody-says-1')];
  expect(two.first.body.run.id).not.toBe(one.first.body.run.id);
  expectReplay(await one.again(), one.first);
  expectReplay(await two.again(), two.first);
});

test('a key of 255 characters is one, and keys differ by case', async () => {
  const customer = await stage.customer(100);
  const workflow = await workflowOf(customer, service);
  const keys = ['k'.repeat(255), 'K'.repeat(255), '!"#$%&/()=?'];
  const runs = new Set<string>();
  for (const key of keys) runs.add((await startRun(customer, workflow, {}, { key })).body.run.id);
  expect(runs.size).toBe(3);
});

test('a refused request keeps no key: the same key with another body succeeds', async () => {
  const customer = await stage.customer(100);
  const workflow = await workflowOf(customer, service);
  expect((await startRun(customer, workflow, { expected_cost: 11 }, { key: 'x' })).status).toBe(409);
  expect((await startRun(customer, workflow, { expected_cost: 10 }, { key: 'x' })).status).toBe(202);
});
