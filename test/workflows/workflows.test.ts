import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fromWire } from '../../src/platform/ids.ts';
import { type Client, type Json, newCustomer } from '../harness/client.ts';
import { accepted, openStage, type Stage, startRun, workflowOf } from './stage.ts';

let stage: Stage;
let service: Json;
beforeAll(async () => {
  stage = await openStage();
  service = await stage.offer('/echo', { credit_cost: 12 });
});
afterAll(() => stage.close());

// REQ E5.1
test('a workflow belongs to whoever made it and has the cost of its service', async () => {
  const customer = await newCustomer(stage.farebox);
  const made = await customer.post('/v1/workflows', { service_id: service.id, name: 'Mine', input_defaults: { a: 1 } });
  expect(made.status).toBe(201);
  expect(made.headers.get('location')).toBe(`/v1/workflows/${made.body.id}`);
  expect(made.body).toEqual({
    object: 'workflow',
    id: expect.stringMatching(/^wf_/),
    created_at: expect.any(String),
    service_id: service.id,
    name: 'Mine',
    credit_cost: 12,
    price_version: 1,
    milestones: null,
    input_defaults: { a: 1 },
  });
  expect((await customer.get(`/v1/workflows/${made.body.id}`)).body).toEqual(made.body);
});

// REQ E5.2
test('a list shows names and costs of own workflows, newest first, page by page', async () => {
  const [customer, other] = [await newCustomer(stage.farebox), await newCustomer(stage.farebox)];
  await workflowOf(other, service, { name: 'Not mine' });
  const names = ['One', 'Two', 'Three', 'Four', 'Five'];
  for (const name of names) await workflowOf(customer, service, { name });
  const seen: unknown[] = [];
  let after = '';
  do {
    const page = await customer.ok('GET', `/v1/workflows?limit=2${after && `&starting_after=${after}`}`);
    seen.push(...page.data.map((one: Json) => [one.name, one.credit_cost]));
    after = page.next_cursor ?? '';
  } while (after);
  expect(seen).toEqual(names.toReversed().map((name) => [name, 12]));
});

describe('what a customer cannot set', () => {
  let customer: Client;
  beforeAll(async () => {
    customer = await newCustomer(stage.farebox);
  });

  test.each([
    'credit_cost',
    'cost',
    'price_version',
    'endpoint',
    'executor',
    'account_id',
    'id',
    'created_at',
    'version',
    'active',
    'deleted_at',
  ])('%s', async (field) => {
    const body = { service_id: service.id, name: 'Cheap', [field]: 1 };
    const made = await customer.post('/v1/workflows', body);
    expect(made.body).toMatchObject({ status: 422, errors: [{ pointer: `/${field}`, code: 'unknown_field' }] });
    const workflow = await workflowOf(customer, service);
    const changed = await customer.call('PATCH', `/v1/workflows/${workflow.id}`, { body: { name: 'x', [field]: 1 } });
    expect(changed.body).toMatchObject({ status: 422, errors: [{ pointer: `/${field}`, code: 'unknown_field' }] });
    expect((await customer.get(`/v1/workflows/${workflow.id}`)).body).toEqual(workflow);
    const run = await startRun(customer, workflow, { [field]: 1 });
    expect(run.body).toMatchObject({ status: 422, errors: [{ pointer: `/${field}`, code: 'unknown_field' }] });
  });
});

test('a change sets what it names; an empty one is refused', async () => {
  const customer = await newCustomer(stage.farebox);
  const workflow = await workflowOf(customer, service, { input_defaults: { a: 1 } });
  const path = `/v1/workflows/${workflow.id}`;
  expect(await customer.ok('PATCH', path, { body: { name: 'New' } })).toEqual({ ...workflow, name: 'New' });
  expect(await customer.ok('PATCH', path, { body: { input_defaults: {} } })).toMatchObject({
    name: 'New',
    input_defaults: {},
  });
  expect((await customer.call('PATCH', path, { body: {} })).status).toBe(422);
});

test("a run's input is laid over the defaults of its workflow", async () => {
  const customer = await stage.customer(100);
  const workflow = await workflowOf(customer, service, { input_defaults: { a: 1, b: { c: 1 } } });
  const run = await accepted(customer, workflow, { input: { b: 2, d: 3 } });
  expect(run.input).toEqual({ a: 1, b: 2, d: 3 });
  await customer.ok('PATCH', `/v1/workflows/${workflow.id}`, { body: { input_defaults: { z: 0 } } });
  expect((await accepted(customer, workflow)).input).toEqual({ z: 0 });
});

describe("another user's workflow", () => {
  // REQ E5.3 E5.4
  test('is denied, whatever is wanted of it, and stays as it was', async () => {
    const [owner, stranger] = [await stage.customer(100), await stage.customer(100)];
    const workflow = await workflowOf(owner, service);
    const path = `/v1/workflows/${workflow.id}`;
    const tries = [
      await stranger.get(path),
      await stranger.call('PATCH', path, { body: { name: 'Taken' } }),
      await stranger.call('DELETE', path),
      await startRun(stranger, workflow),
    ];
    expect(tries.map(({ status, body }) => [status, body.code])).toEqual(tries.map(() => [403, 'not_workflow_owner']));
    expect((await owner.get(path)).body).toEqual(workflow);
    expect((await stranger.ok('GET', '/v1/runs')).data).toEqual([]);
  });

  test('one that was deleted is not told from one that never was', async () => {
    const [owner, stranger] = [await newCustomer(stage.farebox), await newCustomer(stage.farebox)];
    const workflow = await workflowOf(owner, service);
    await owner.ok('DELETE', `/v1/workflows/${workflow.id}`);
    for (const client of [owner, stranger]) {
      expect((await client.get(`/v1/workflows/${workflow.id}`)).body.code).toBe('workflow_not_found');
    }
  });
});

test('a deleted workflow is gone from the list, cannot be changed or run, and its runs stay', async () => {
  const customer = await stage.customer(100);
  const workflow = await workflowOf(customer, service);
  const run = await accepted(customer, workflow);
  expect((await customer.call('DELETE', `/v1/workflows/${workflow.id}`)).status).toBe(204);
  expect((await customer.ok('GET', '/v1/workflows')).data).toEqual([]);
  const again = [
    await customer.call('DELETE', `/v1/workflows/${workflow.id}`),
    await customer.call('PATCH', `/v1/workflows/${workflow.id}`, { body: { name: 'x' } }),
    await startRun(customer, workflow),
  ];
  expect(again.map(({ body }) => body.code)).toEqual(again.map(() => 'workflow_not_found'));
  expect((await customer.ok('GET', `/v1/runs/${run.id}`)).workflow_id).toBe(workflow.id);
});

test('a service that is not offered makes no workflow', async () => {
  const customer = await newCustomer(stage.farebox);
  const hidden = await stage.offer('/echo', { active: false });
  const nobody = 'svc_00000000000000000000000000';
  const make = (id: string) => customer.post('/v1/workflows', { service_id: id, name: 'x' });
  expect((await make(hidden.id)).body.code).toBe('service_inactive');
  expect((await make(nobody)).body.code).toBe('not_found');
  expect((await make('wf_00000000000000000000000000')).status).toBe(422);
});

test('an account has at most 1000 workflows, also when it makes many at once', async () => {
  const customer = await newCustomer(stage.farebox);
  await stage.root`
    insert into workflows.workflows (id, account_id, service_id, name, credit_cost, price_version, deleted_at)
    select gen_random_uuid(), ${fromWire('account', customer.accountId)}, ${fromWire('service', service.id)}, 'n', 1, 1,
      case when n > 995 then now() end
    from generate_series(1, 1100) n`;
  const made = await Promise.all(
    Array.from({ length: 20 }, () => customer.post('/v1/workflows', { service_id: service.id, name: 'x' })),
  );
  expect(made.filter(({ status }) => status === 201)).toHaveLength(5);
  expect(made.filter(({ body }) => body.code === 'conflict')).toHaveLength(15);
});
