import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, eventually, type Json, newCustomer } from '../harness/client.ts';
import {
  accepted,
  available,
  books,
  eventsOf,
  grant,
  movesOf,
  openStage,
  type Stage,
  startRun,
  workflowOf,
} from './stage.ts';

let stage: Stage;
let service: Json;
beforeAll(async () => {
  stage = await openStage({ env: { WORKERS: 'off' } });
  service = await stage.offer('/echo', {
    credit_cost: 40,
    input_schema: { type: 'object', properties: { n: { type: 'integer', maximum: 9 } } },
  });
});
afterAll(() => stage.close());

/** Does something that must leave an account as it was. */
async function withoutTrace<T>(customer: Client, work: () => Promise<T>): Promise<T> {
  const before = await books(stage.root, customer);
  const result = await work();
  expect(await books(stage.root, customer)).toEqual(before);
  return result;
}

// REQ E4.1 E4.2 E4.4
test('with enough credits the run is there, paid and queued, with one transaction', async () => {
  const customer = await stage.customer(100);
  const workflow = await workflowOf(customer, service);
  const reply = await startRun(customer, workflow, { input: { n: 3 }, expected_cost: 40 });
  expect(reply.status).toBe(202);
  expect(reply.headers.get('location')).toBe(`/v1/runs/${reply.body.run.id}`);
  expect(reply.headers.get('idempotent-replayed')).toBeNull();
  const { run, balance } = reply.body;
  expect(balance).toMatchObject({ available: 60, held: 0, debt: 0 });
  expect(run).toMatchObject({
    object: 'run',
    workflow_id: workflow.id,
    service_id: service.id,
    state: 'queued',
    cost: 40,
    returned: 0,
    price_version: 1,
    input: { n: 3 },
    output: null,
    failure: null,
    progress: null,
    attempt: 0,
    started_at: null,
    finished_at: null,
  });
  expect(Date.parse(run.deadline_at) - Date.parse(run.created_at)).toBe(3_600_000);
  expect((await customer.get(`/v1/runs/${run.id}`)).body).toEqual(run);
  expect(await movesOf(stage.root, run)).toEqual(['spend 40']);
  expect(await eventsOf(stage.root, run)).toEqual(['queued']);
  const rows = await stage.root`
    select (select xmin from workflows.runs order by created_at desc limit 1)::text as run,
      (select xmin from credits.transfers order by created_at desc limit 1)::text as spend,
      (select xmin from platform.events order by created_at desc limit 1)::text as event`;
  expect(new Set(Object.values(rows[0] ?? {})).size).toBe(1);
});

describe('too few credits', () => {
  // REQ E4.3
  test('402 tells what is missing, nothing runs, nothing is kept', async () => {
    const customer = await stage.customer(15);
    const workflow = await workflowOf(customer, service);
    const reply = await withoutTrace(customer, () => startRun(customer, workflow));
    expect(reply.headers.get('content-type')).toContain('application/problem+json');
    expect(reply.body).toMatchObject({
      status: 402,
      code: 'insufficient_credits',
      required: 40,
      available: 15,
      shortfall: 25,
      currency: 'credit',
      pay_with: [],
    });
  });

  test('an account that never had any is told the same', async () => {
    const customer = await newCustomer(stage.farebox);
    const workflow = await workflowOf(customer, service);
    const reply = await withoutTrace(customer, () => startRun(customer, workflow));
    expect(reply.body).toMatchObject({ status: 402, required: 40, available: 0, shortfall: 40 });
  });

  test('one credit short is short, and exactly enough is enough', async () => {
    const customer = await stage.customer(39);
    const workflow = await workflowOf(customer, service);
    expect((await startRun(customer, workflow)).body).toMatchObject({ status: 402, shortfall: 1 });
    await grant(stage.operator, customer, 1);
    expect((await startRun(customer, workflow)).body.balance.available).toBe(0);
  });

  test('paid as the 402 says, the same request with the same key succeeds', async () => {
    const pack = await stage.operator.ok('POST', '/v1/admin/packages', {
      body: { name: 'Starter', credits: 500, price: 50_000 },
    });
    const customer = await stage.customer(15);
    const workflow = await workflowOf(customer, service);
    const order = () => startRun(customer, workflow, { input: { n: 1 } }, { key: 'before-and-after-the-top-up' });
    const [first, second] = [await order(), await order()];
    expect([first.status, second.status]).toEqual([402, 402]);
    const [way] = first.body.pay_with;
    expect(way).toMatchObject({ package_id: pack.id, credits: 500, price: 50_000, currency: 'THB', quantity: 1 });
    const purchase = await customer.call(way.method, way.href, { body: way.body, key: 'the-top-up' });
    expect(purchase.status, purchase.text).toBe(201);
    await grant(stage.operator, customer, 500); // settlement is told elsewhere
    const done = await order();
    expect(done.status).toBe(202);
    expect(done.body.balance.available).toBe(475);
    expect(await movesOf(stage.root, done.body.run)).toEqual(['spend 40']);
  });

  test('a shortfall that no package covers names the largest, several times', async () => {
    const dear = await stage.offer('/echo', { credit_cost: 1_201 });
    const customer = await stage.customer(1);
    const reply = await startRun(customer, await workflowOf(customer, dear));
    expect(reply.body.pay_with).toMatchObject([{ credits: 500, quantity: 3 }]);
  });
});

describe('a refusal moves no money and leaves no key', () => {
  let customer: Client;
  let workflow: Json;
  beforeAll(async () => {
    customer = await stage.customer(1000);
    workflow = await workflowOf(customer, service);
  });

  test.each([
    ['another cost was expected', { expected_cost: 41 }, 409, 'price_changed'],
    ['the input does not fit', { input: { n: 10 } }, 422, 'input_invalid'],
    ['the input is no object', { input: [1] }, 422, 'validation_failed'],
    ['an unknown field', { cost: 1 }, 422, 'validation_failed'],
    ['an expectation of nothing', { expected_cost: 0 }, 422, 'validation_failed'],
    ['an expectation that is text', { expected_cost: '40' }, 422, 'validation_failed'],
    ['an expectation of a fraction', { expected_cost: 40.5 }, 422, 'validation_failed'],
    ['an expectation beyond all bounds', { expected_cost: 2 ** 53 }, 422, 'validation_failed'],
  ])('%s', async (_, body, status, code) => {
    const key = `refused-${code}-${status}`;
    const refused = await withoutTrace(customer, () => startRun(customer, workflow, body, { key }));
    expect([refused.status, refused.body.code]).toEqual([status, code]);
    // The key is as good as new.
    expect((await startRun(customer, workflow, {}, { key: `${key}-${JSON.stringify(body)}` })).status).toBe(202);
  });

  test('the input is judged with pointers', async () => {
    const refused = await startRun(customer, workflow, { input: { n: 'many' } });
    expect(refused.body.errors).toEqual([{ pointer: '/input/n', code: 'type', detail: 'must be integer' }]);
  });

  test('no key, and keys that are none', async () => {
    const path = `/v1/workflows/${workflow.id}/runs`;
    const bare = await withoutTrace(customer, () => customer.call('POST', path, { body: {} }));
    expect([bare.status, bare.body.code]).toEqual([400, 'idempotency_key_required']);
    for (const key of ['', ' ', 'a b', 'x'.repeat(256), 'schlüssel']) {
      const headers = { 'idempotency-key': Buffer.from(key).toString('latin1') };
      const reply = await withoutTrace(customer, () => customer.call('POST', path, { body: {}, headers }));
      expect([reply.status, reply.body.code], key).toEqual([400, 'idempotency_key_invalid']);
    }
  });

  test('no such workflow, an id of another kind, an id that is none', async () => {
    const tell = async (id: string) => {
      const reply = await withoutTrace(customer, () => startRun(customer, { id }));
      return [reply.status, reply.body.code];
    };
    expect(await tell('wf_00000000000000000000000000')).toEqual([404, 'workflow_not_found']);
    expect(await tell(service.id)).toEqual([400, 'invalid_id']);
    expect(await tell('..%2f..%2fadmin')).toEqual([400, 'invalid_id']);
  });

  // REQ E5.3 E5.4
  test("another's workflow is told before its input is judged, and costs neither side anything", async () => {
    const stranger = await stage.customer(1000);
    for (const body of [{}, { input: { n: 10 } }, { expected_cost: 1 }]) {
      const refused = await withoutTrace(customer, () =>
        withoutTrace(stranger, () => startRun(stranger, workflow, body)),
      );
      expect([refused.status, refused.body.code]).toEqual([403, 'not_workflow_owner']);
    }
  });

  test('a service that is not offered any more runs nothing', async () => {
    const closed = await stage.offer('/echo');
    const mine = await workflowOf(customer, closed);
    await stage.operator.ok('PATCH', `/v1/admin/services/${closed.id}`, { body: { active: false } });
    const refused = await withoutTrace(customer, () => startRun(customer, mine, {}, { key: 'while-closed' }));
    expect([refused.status, refused.body.code]).toEqual([409, 'service_inactive']);
    await stage.operator.ok('PATCH', `/v1/admin/services/${closed.id}`, { body: { active: true } });
    expect((await startRun(customer, mine, {}, { key: 'while-closed' })).status).toBe(202);
  });

  test('an API key without the scope starts nothing', async () => {
    const weak = await customer.ok('POST', '/v1/api-keys', { body: { name: 'reader', scopes: ['read'] } });
    const refused = await withoutTrace(customer, () =>
      customer.post(`/v1/workflows/${workflow.id}/runs`, {}, { token: weak.key }),
    );
    expect([refused.status, refused.body.code]).toEqual([403, 'insufficient_scope']);
  });
});

// REQ E4.5
test('what a run has cost is kept with the run and in the history of credits', async () => {
  const customer = await stage.customer(100);
  const run = await accepted(customer, await workflowOf(customer, service));
  const transfers = await eventually(
    () => customer.ok('GET', '/v1/credits/transfers'),
    (list) => list.data.length === 2,
  );
  expect(transfers.data[0]).toMatchObject({ kind: 'spend', amount: 40, available_after: 60 });
  expect(JSON.stringify(transfers.data[0])).toContain(run.id);
  expect(await available(customer)).toBe(60);
});
