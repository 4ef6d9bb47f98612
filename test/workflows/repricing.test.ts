import { afterAll, beforeAll, expect, test } from 'vitest';
import { fromWire } from '../../src/platform/ids.ts';
import type { Json } from '../harness/client.ts';
import { accepted, available, openStage, type Stage, startRun, workflowOf } from './stage.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await openStage();
});
afterAll(() => stage.close());

const reprice = (service: Json, credit_cost: number) =>
  stage.operator.ok('PATCH', `/v1/admin/services/${service.id}`, { body: { credit_cost } });
const moveAll = (service: Json) =>
  stage.operator.ok('POST', `/v1/admin/services/${service.id}/reprice-workflows`, { body: { reason: 'dearer power' } });

test('a workflow keeps the cost it agreed to until its owner accepts the new price', async () => {
  const service = await stage.offer('/echo', { credit_cost: 10 });
  const customer = await stage.customer(100);
  const workflow = await workflowOf(customer, service);
  const path = `/v1/workflows/${workflow.id}`;
  const accept = (version: number) => customer.call('PATCH', path, { body: { accept_price_version: version } });
  await reprice(service, 25);
  expect((await accepted(customer, workflow)).cost).toBe(10);
  expect(await available(customer)).toBe(90);

  const stale = await accept(1);
  expect(stale.body).toMatchObject({ status: 409, code: 'price_changed', price_version: 2, credit_cost: 25 });
  expect((await customer.get(path)).body).toMatchObject({ credit_cost: 10, price_version: 1 });
  expect((await accept(2)).body).toMatchObject({ credit_cost: 25, price_version: 2 });
  expect(await accepted(customer, workflow)).toMatchObject({ cost: 25, price_version: 2 });
  expect(await available(customer)).toBe(65);
});

test('a new workflow has the new price, and a cheaper one is not given to old ones unasked', async () => {
  const service = await stage.offer('/echo', { credit_cost: 10 });
  const customer = await stage.customer();
  const old = await workflowOf(customer, service);
  await reprice(service, 5);
  expect(await workflowOf(customer, service)).toMatchObject({ credit_cost: 5, price_version: 2 });
  expect((await customer.get(`/v1/workflows/${old.id}`)).body.credit_cost).toBe(10);
});

test('whoever expects another cost is told, and nothing is spent', async () => {
  const service = await stage.offer('/echo', { credit_cost: 10 });
  const customer = await stage.customer(100);
  const workflow = await workflowOf(customer, service);
  await reprice(service, 25);
  await customer.ok('PATCH', `/v1/workflows/${workflow.id}`, { body: { accept_price_version: 2 } });
  const refused = await startRun(customer, workflow, { expected_cost: 10 });
  expect(refused.body).toMatchObject({ status: 409, code: 'price_changed', cost: 25 });
  expect(await available(customer)).toBe(100);
  expect((await startRun(customer, workflow, { expected_cost: 25 })).status).toBe(202);
});

test('the operator moves all workflows, their owners are told, and the ones already there are left alone', async () => {
  const service = await stage.offer('/echo', { credit_cost: 10 });
  const customer = await stage.customer(100);
  const [one, two, gone] = [
    await workflowOf(customer, service),
    await workflowOf(customer, service),
    await workflowOf(customer, service),
  ];
  await customer.ok('DELETE', `/v1/workflows/${gone.id}`);
  await reprice(service, 25);
  await customer.ok('PATCH', `/v1/workflows/${two.id}`, { body: { accept_price_version: 2 } });
  expect(await moveAll(service)).toEqual({ object: 'repricing', workflows: 1 });
  expect(await moveAll(service)).toEqual({ object: 'repricing', workflows: 0 });
  const told = await stage.root`select subject_id, payload from platform.events
    where type = 'workflows.workflow_repriced' and account_id = ${fromWire('account', customer.accountId)}`;
  expect(told).toMatchObject([
    { subject_id: fromWire('workflow', one.id), payload: { credit_cost: 25, price_version: 2 } },
  ]);
  expect((await accepted(customer, one)).cost).toBe(25);
});

test('more workflows than a statement has parameters are moved, too', async () => {
  const service = await stage.offer('/echo', { credit_cost: 10 });
  await stage.root`
    insert into workflows.workflows (id, account_id, service_id, name, credit_cost, price_version)
    select gen_random_uuid(), gen_random_uuid(), ${fromWire('service', service.id)}, 'n', 10, 1
    from generate_series(1, 17000) n`;
  await reprice(service, 11);
  expect(await moveAll(service)).toEqual({ object: 'repricing', workflows: 17_000 });
});
