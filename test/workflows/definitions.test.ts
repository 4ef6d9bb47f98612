import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, clientOf, type Json } from '../harness/client.ts';
import type { TestFarebox } from '../harness/farebox.ts';
import { books, openStage, replicaOf, type Stage, startRun, workflowOf } from './stage.ts';

/** What a replica remembers of services and workflows is never used once somebody, anywhere, has changed it. */

let stage: Stage;
let second: TestFarebox;
beforeAll(async () => {
  stage = await openStage({ env: { WORKERS: 'off' } });
  second = await replicaOf(stage);
});
afterAll(async () => {
  await second.stop();
  await stage.close();
});

const NUMBERS = { properties: { n: { type: 'integer' } }, required: ['n'] };
const TEXTS = { properties: { n: { type: 'string' } }, required: ['n'] };

/** Both replicas have run the workflow, and so remember it. */
async function remembered(terms: Json = {}) {
  const service = await stage.offer('/echo', { credit_cost: 1, input_schema: NUMBERS, ...terms });
  const customer = await stage.customer(50);
  const away = clientOf(second.url, customer);
  const workflow = await workflowOf(customer, service);
  for (const at of [customer, away]) expect((await startRun(at, workflow, { input: { n: 1 } })).status).toBe(202);
  const change = (body: Json) => stage.operator.ok('PATCH', `/v1/admin/services/${service.id}`, { body });
  const configure = (body: Json) => customer.ok('PATCH', `/v1/workflows/${workflow.id}`, { body });
  const run = async (at: Client, input: Json) => {
    const reply = await startRun(at, workflow, { input });
    return reply.body.code ?? reply.body.run.input;
  };
  return { customer, replicas: [customer, away], workflow, change, configure, run };
}

test('an input that has become fitting is accepted, by every replica', async () => {
  const { replicas, change, run } = await remembered();
  for (const at of replicas) expect(await run(at, { n: 'one' })).toBe('input_invalid');
  await change({ input_schema: TEXTS });
  for (const at of replicas) expect(await run(at, { n: 'one' })).toEqual({ n: 'one' });
});

test('an input that fits no more is refused by every replica, and costs nothing', async () => {
  const { customer, replicas, change, run } = await remembered();
  await change({ input_schema: TEXTS });
  const before = await books(stage.root, customer);
  for (const at of replicas) expect(await run(at, { n: 1 })).toBe('input_invalid');
  expect(await books(stage.root, customer)).toEqual(before);
});

test('new defaults count at once, at every replica, also where they make an input fit', async () => {
  const { replicas, configure, run } = await remembered();
  for (const at of replicas) expect(await run(at, {})).toBe('input_invalid');
  await configure({ input_defaults: { n: 7 } });
  for (const at of replicas) expect(await run(at, {})).toEqual({ n: 7 });
  await configure({ input_defaults: {} });
  for (const at of replicas) expect(await run(at, {})).toBe('input_invalid');
});

test('a withdrawn service, a new price and a deleted workflow are known to every replica', async () => {
  const { customer, replicas, workflow, change, run } = await remembered();
  await change({ active: false });
  for (const at of replicas) expect(await run(at, { n: 1 })).toBe('service_inactive');
  await change({ active: true, credit_cost: 3 });
  await customer.ok('PATCH', `/v1/workflows/${workflow.id}`, { body: { accept_price_version: 2 } });
  for (const at of replicas) expect((await startRun(at, workflow, { input: { n: 1 } })).body.run.cost).toBe(3);
  await customer.ok('DELETE', `/v1/workflows/${workflow.id}`);
  for (const at of replicas) expect(await run(at, { n: 1 })).toBe('workflow_not_found');
});

test('a replica that does not know a workflow yet learns of it', async () => {
  const service = await stage.offer('/echo', { credit_cost: 1 });
  const customer = await stage.customer(5);
  const away = clientOf(second.url, customer);
  for (let n = 0; n < 5; n += 1) expect((await startRun(away, await workflowOf(customer, service))).status).toBe(202);
});

test('while somebody changes the service all the time, runs are accepted or told to come again', async () => {
  const { customer, replicas, workflow, change } = await remembered();
  let over = false;
  const busy = (async () => {
    for (let n = 0; !over; n += 1) await change({ description: `text ${n}` });
  })();
  const replies = await Promise.all(
    Array.from({ length: 40 }, (_, n) => startRun(replicas[n % 2] as Client, workflow, { input: { n } })),
  );
  over = true;
  await busy;
  const accepted = replies.filter(({ status }) => status === 202).length;
  expect(accepted).toBeGreaterThan(0);
  expect(new Set(replies.map(({ status }) => status)).difference(new Set([202, 409]))).toEqual(new Set());
  expect(await books(stage.root, customer)).toMatchObject({
    runs: 2 + accepted,
    balance: { available: 48 - accepted },
  });
});

describe('schemas that an operator may give', () => {
  const offer = (input_schema: Json) =>
    stage.operator.post('/v1/admin/services', {
      name: 'x',
      credit_cost: 1,
      input_schema,
      executor: { endpoint: `${stage.executor.url}/echo` },
    });

  test.each<[string, Json]>([
    ['a type that is none', { type: 'strnig' }],
    ['properties that are none', { properties: 7 }],
    ['a pattern that is none', { properties: { x: { pattern: '(' } } }],
    ['another dialect', { $schema: 'http://json-schema.org/draft-04/schema#' }],
    ['a reference to elsewhere', { $ref: 'https://example.com/schema.json' }],
    ['a reference to a file', { $ref: 'file:///etc/passwd' }],
    ['a reference into nothing', { $ref: '#/$defs/none' }],
    ['a schema that is only itself', { $ref: '#' }],
    // Its verdict would be a promise, which counts as yes; and the promise that is broken would end the process.
    ['an asynchronous one', { $async: true, required: ['x'] }],
  ])('%s is refused', async (_, schema) => {
    const reply = await offer(schema);
    expect(reply.body).toMatchObject({ status: 422, errors: [{ pointer: '/input_schema', code: 'invalid_schema' }] });
  });

  test('two services may use the same $id, and refer to the meta-schema', async () => {
    const schema = {
      $id: 'https://example.com/mine',
      properties: { s: { $ref: 'https://json-schema.org/draft/2020-12/schema' } },
    };
    expect([(await offer(schema)).status, (await offer(schema)).status]).toEqual([201, 201]);
  });

  test.each<[string, Json, Json, Json, string]>([
    [
      'draft-07 with a tuple',
      {
        $schema: 'http://json-schema.org/draft-07/schema#',
        properties: { t: { items: [{ type: 'string' }], additionalItems: false } },
      },
      { t: ['a'] },
      { t: ['a', 'b'] },
      '/input/t',
    ],
    [
      '2020-12 with a tuple',
      { properties: { t: { prefixItems: [{ type: 'string' }], items: false } } },
      { t: ['a'] },
      { t: ['a', 'b'] },
      '/input/t',
    ],
    [
      'names with slashes',
      { properties: { 'a/b~c': { type: 'null' } } },
      { 'a/b~c': null },
      { 'a/b~c': 1 },
      '/input/a~1b~0c',
    ],
    ['what is missing', { properties: { x: { required: ['y/z'] } } }, {}, { x: {} }, '/input/x/y~1z'],
    ['formats', { properties: { x: { format: 'email' } } }, { x: 'a@example.com' }, { x: 'nobody' }, '/input/x'],
  ])('%s: fitting and unfitting inputs are told apart', async (_, schema, good, bad, pointer) => {
    const service = (await offer(schema)).body;
    const customer = await stage.customer(2);
    const workflow = await workflowOf(customer, service);
    expect((await startRun(customer, workflow, { input: good })).status).toBe(202);
    const refused = await startRun(customer, workflow, { input: bad });
    expect(refused.body).toMatchObject({ status: 422, code: 'input_invalid', errors: [{ pointer }] });
  });

  // One customer's input must not stop the process for everybody.
  test.each<[string, Json, Json]>([
    ['a pattern that backtracks', { properties: { x: { pattern: '^(a+)+$' } } }, { x: `${'a'.repeat(50)}!` }],
    [
      'a reference without end',
      {
        properties: { x: { $ref: '#/$defs/a' } },
        $defs: { a: { anyOf: [{ $ref: '#/$defs/b' }] }, b: { allOf: [{ $ref: '#/$defs/a' }] } },
      },
      { x: 1 },
    ],
    [
      'comparing all with all',
      { properties: { x: { uniqueItems: true } } },
      { x: Array.from({ length: 6000 }, (_, n) => ({ n })) },
    ],
  ])('%s is stopped in time, and nothing is spent', async (_, schema, input) => {
    const service = (await offer(schema)).body;
    const customer = await stage.customer(2);
    const workflow = await workflowOf(customer, service);
    const began = performance.now();
    const refused = await startRun(customer, workflow, { input });
    expect(performance.now() - began).toBeLessThan(2_000);
    expect(refused.body).toMatchObject({ status: 422, code: 'input_invalid', errors: [{ code: 'too_complex' }] });
    expect((await startRun(customer, workflow, { input: { x: 'a' } })).status).toBe(schema.$defs ? 422 : 202);
    expect(await books(stage.root, customer)).toMatchObject({ runs: schema.$defs ? 0 : 1 });
  });
});
