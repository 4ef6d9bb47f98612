import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type Executor, startExecutor } from '../../sandbox/executor/server.ts';
import { type Client, type Json, newCustomer, newOperator } from '../harness/client.ts';
import { fareboxForFile, type TestFarebox } from '../harness/farebox.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { accepted, ended, grant, offer, workflowOf } from '../workflows/stage.ts';
import { askBack, balanceOf } from './stage.ts';

let farebox: TestFarebox;
let executor: Executor;
let operator: Client;
beforeAll(async () => {
  executor = await startExecutor();
  farebox = await fareboxForFile({ env: { EGRESS_ALLOW: `127.0.0.1:${executor.port}` } });
  operator = await newOperator(farebox);
});
afterEach(async () => {
  expect(await faultsAtRest(farebox.database.superuserUrl)).toEqual([]);
});
afterAll(async () => {
  await farebox.stop();
  await executor.close();
});

const runOf = ({ id }: Json): Json => ({ type: 'run', id });

/** A run of a new customer with 100 credits, at an executor that does this; it costs 10. */
async function ran(path: string, terms: Json = {}): Promise<{ customer: Client; run: Json }> {
  const customer = await newCustomer(farebox);
  await grant(operator, customer, 100);
  const workflow = await workflowOf(customer, await offer(operator, executor, path, terms));
  const run = await accepted(customer, workflow);
  return { customer, run: await ended(customer, run) };
}

const approve = ({ id }: Json) =>
  operator.ok('POST', `/v1/admin/refunds/${id}/approve`, { body: { reason: 'it was bad work' } });

// REQ P10
test('a run that succeeded is given back when an operator agrees: once, by its return', async () => {
  const { customer, run } = await ran('/echo');
  const reply = await askBack(customer, runOf(run));
  expect(reply.body).toMatchObject({ status: 'awaiting_approval', rail: 'credits', credits: run.cost, unit: 'credit' });
  expect((await askBack(customer, runOf(run))).body.code, 'asked for already').toBe('not_refundable');
  expect(await approve(reply.body)).toMatchObject({ status: 'completed' });
  expect(await customer.ok('GET', `/v1/runs/${run.id}`)).toMatchObject({ state: 'succeeded', returned: run.cost });
  expect(await balanceOf(customer)).toMatchObject({ available: 100, held: 0 });
  expect((await askBack(customer, runOf(run))).body.code).toBe('not_refundable');
  const { data } = await customer.ok('GET', '/v1/events?limit=100');
  const types = data.map(({ type }: Json) => type);
  expect(types).toEqual(expect.arrayContaining(['refunds.refund_completed', 'workflows.run_refunded']));
});

test('in part: so much, and no second time', async () => {
  const { customer, run } = await ran('/echo');
  const reply = await askBack(customer, runOf(run), { amount: 4 });
  await approve(reply.body);
  expect(await customer.ok('GET', `/v1/runs/${run.id}`)).toMatchObject({ returned: 4 });
  expect((await askBack(customer, runOf(run), { amount: 1 })).body.code).toBe('not_refundable');
});

test('a run that failed has given its credits back by itself: nothing more', async () => {
  const { customer, run } = await ran('/refuse');
  expect(run).toMatchObject({ state: 'failed', returned: run.cost });
  const reply = await askBack(customer, runOf(run));
  expect([reply.status, reply.body.code]).toEqual([409, 'not_refundable']);
  expect(await balanceOf(customer)).toMatchObject({ available: 100 });
});

test('a service that gives nothing back gives nothing back', async () => {
  const { customer, run } = await ran('/refuse', { refund_on_failure: 'none' });
  expect(run).toMatchObject({ state: 'failed', returned: 0 });
  expect((await askBack(customer, runOf(run))).body.code).toBe('not_refundable');
});

test('a cancelled run that was begun goes back at once, below the limit', async () => {
  const customer = await newCustomer(farebox);
  await grant(operator, customer, 100);
  const workflow = await workflowOf(customer, await offer(operator, executor, '/async-silent'));
  const run = await accepted(customer, workflow);
  for (let attempt = 0; attempt < 1; ) ({ attempt } = await customer.ok('GET', `/v1/runs/${run.id}`));
  const open = await askBack(customer, runOf(run));
  expect(open.body.code, 'it goes on').toBe('not_refundable');
  await customer.ok('POST', `/v1/runs/${run.id}/cancel`);
  const replies = await Promise.all(Array.from({ length: 10 }, () => askBack(customer, runOf(run))));
  expect(replies.filter(({ status }) => status === 201).map(({ body }) => body.status)).toEqual(['completed']);
  expect(await balanceOf(customer)).toMatchObject({ available: 100 });
});

test('the return of a run that fails and a refund of it, at once: never both', async () => {
  const customer = await newCustomer(farebox);
  await grant(operator, customer, 100);
  const workflow = await workflowOf(customer, await offer(operator, executor, '/refuse'));
  for (let n = 0; n < 5; n += 1) {
    const run = await accepted(customer, workflow);
    let isOver = false;
    const asking = (async () => {
      const replies = [];
      while (!isOver) replies.push(await askBack(customer, runOf(run)));
      return replies;
    })();
    await ended(customer, run);
    isOver = true;
    const replies = await asking;
    expect(replies.every(({ body }) => body.code === 'not_refundable')).toBe(true);
    expect(await balanceOf(customer)).toMatchObject({ available: 100 });
  }
});

test("somebody else's run, a target or an amount that makes no sense", async () => {
  const { customer, run } = await ran('/echo');
  const stranger = await newCustomer(farebox);
  expect((await askBack(stranger, runOf(run))).status).toBe(404);
  expect((await askBack(customer, runOf(run), { target: 'original' })).body.code).toBe('refund_target_unavailable');
  const large = await askBack(customer, runOf(run), { amount: run.cost + 1 }, { key: randomUUID() });
  expect([large.body.code, large.body.refundable]).toEqual(['refund_too_large', run.cost]);
});
