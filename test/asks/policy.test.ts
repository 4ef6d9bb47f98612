import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Json } from '../harness/client.ts';
import { startStillChain } from '../harness/still-chain.ts';
import { workflowOf } from '../workflows/stage.ts';
import { type AskStage, askOf, openAskStage, pay } from './stage.ts';

let stage: AskStage;
let chain: Awaited<ReturnType<typeof startStillChain>>;
beforeAll(async () => {
  chain = await startStillChain();
  stage = await openAskStage({ env: { WORKERS: 'off', EVM_CHAINS: chain.setting } });
});
afterAll(async () => {
  await stage.close();
  chain.stop();
});

const patch = (service: Json, body: Json) => stage.operator.call('PATCH', `/v1/admin/services/${service.id}`, { body });

// REQ V1
test('a service of which nothing is said is paid upfront, at one price, with credits', async () => {
  const service = await stage.offer('/echo');
  expect(service.payment).toEqual({
    ...{ mode: 'upfront', default: 'upfront', milestones: null, unpaid_part: 'pause', quote_ttl_s: 600 },
    after: { credit_limit: 1000, max_unpaid_runs: 1, grace_s: 86_400 },
    ...{ surplus: 'credit', underpay: 'reject', rails: [{ rail: 'credits' }] },
  });
  const customer = await stage.customer();
  const seen = await customer.ok('GET', `/v1/services/${service.id}`);
  expect(seen.payment).toEqual(service.payment); // customers see what they agree to
});

describe('refused, with a pointer', () => {
  const evm = { rail: 'evm', asset: 'eip155:31337/slip44:60', price_per_credit: '5' };
  test.each([
    ['a mode that is none', { mode: 'later' }, '/payment/mode'],
    ['parts that do not make up the price', { milestones: [10, 10] }, '/payment/milestones'],
    ['one part only', { milestones: [30] }, '/payment/milestones'],
    ['a part for nothing', { milestones: [0, 30] }, '/payment/milestones/0'],
    ['parts that are paid afterwards', { mode: 'after', milestones: [10, 20] }, '/payment/milestones'],
    ['a price that holds for a moment', { quote_ttl_s: 1 }, '/payment/quote_ttl_s'],
    ['no unpaid run at all', { after: { max_unpaid_runs: 0 } }, '/payment/after/max_unpaid_runs'],
    ['no way to pay', { rails: [] }, '/payment/rails'],
    ['a rail twice', { rails: [{ rail: 'credits' }, { rail: 'credits' }] }, '/payment/rails/1'],
    ['an asset twice', { rails: [evm, { ...evm, price_per_credit: '6' }] }, '/payment/rails/1'],
    [
      'a price of nothing',
      { rails: [{ rail: 'omise', currency: 'THB', price_per_credit: 0 }] },
      '/payment/rails/0/price_per_credit',
    ],
    [
      'a fraction of a base unit',
      { rails: [{ ...evm, price_per_credit: '0.5' }] },
      '/payment/rails/0/price_per_credit',
    ],
    ['a field that nobody knows', { escrow: true }, '/payment'],
  ])('%s', async (_, payment, pointer) => {
    const body = { name: 'S', credit_cost: 30, payment, executor: { endpoint: `${stage.executor.url}/echo` } };
    const refused = await stage.operator.post('/v1/admin/services', body);
    expect([refused.status, refused.body.code], refused.text).toEqual([422, 'validation_failed']);
    expect(refused.body.errors[0].pointer).toMatch(new RegExp(`^${pointer}`));
    const service = await stage.offer('/echo', { credit_cost: 30 });
    expect((await patch(service, { payment })).status).toBe(422);
  });

  test.each([
    ['another currency than ours', { rail: 'omise', currency: 'USD', price_per_credit: 5 }, 'currency', undefined],
    ['an asset that is not taken', { ...evm, asset: 'eip155:1/slip44:60' }, 'asset', 'asset_unsupported'],
  ])('%s', async (_, rail, field, code = 'validation_failed') => {
    const service = await stage.offer('/echo', { credit_cost: 30 });
    const refused = await patch(service, { payment: { rails: [{ rail: 'credits' }, rail] } });
    expect([refused.status, refused.body.code, refused.body.errors[0].pointer]).toEqual([
      ...[422, code, `/payment/rails/1/${field}`],
    ]);
  });

  test('a price in Lightning that nobody could ever pay', async () => {
    const dear = { rails: [{ rail: 'lightning', price_per_credit: 1_000_000_000_000 }] };
    const service = await stage.offer('/echo', { credit_cost: 2_100_000, payment: dear });
    const refused = await patch(service, { credit_cost: 2_100_001 });
    expect([refused.status, refused.body.errors[0].pointer]).toEqual([422, '/payment/rails/0/price_per_credit']);
  });

  test.each([
    ['in money', { rail: 'omise', currency: 'THB', price_per_credit: 1_000_000 }, 1_000_000],
    ['on chain', { ...evm, price_per_credit: '1'.padEnd(78, '0') }, 1],
  ])('a price %s that is more than one amount can be', async (_, rail, most) => {
    const service = await stage.offer('/echo', { credit_cost: most, payment: { rails: [rail] } });
    const refused = await patch(service, { credit_cost: most * 10 });
    expect([refused.status, refused.body.errors[0].pointer]).toEqual([422, '/payment/rails/0/price_per_credit']);
  });

  test('a new price that the parts do not make up', async () => {
    const service = await stage.offer('/echo', { credit_cost: 30, payment: { milestones: [10, 20] } });
    expect((await patch(service, { credit_cost: 31 })).body.errors[0].pointer).toBe('/payment/milestones');
    const both = await patch(service, { credit_cost: 31, payment: { milestones: [11, 20] } });
    expect([both.status, both.body.price_version]).toEqual([200, 2]);
  });
});

// REQ V1
test('parts are part of the price: a workflow keeps those it agreed to, until its owner accepts others', async () => {
  const service = await stage.offer('/echo', { credit_cost: 30, payment: { milestones: [10, 20] } });
  const who = await stage.customer(100);
  const [kept, accepted, moved] = [
    await workflowOf(who, service),
    await workflowOf(who, service),
    await workflowOf(who, service),
  ];
  expect(kept.milestones).toEqual([10, 20]);
  const changed = (await patch(service, { payment: { milestones: [20, 10] } })).body;
  expect(changed).toMatchObject({ credit_cost: 30, price_version: 2 }); // divided anew, it is another price
  const own = await who.ok('PATCH', `/v1/workflows/${accepted.id}`, { body: { accept_price_version: 2 } });
  expect(own.milestones).toEqual([20, 10]);
  const start = async (workflow: Json) =>
    (await who.post(`/v1/workflows/${workflow.id}/runs`, {})).body.run.payment.paid;
  expect([await start(kept), await start(accepted)]).toEqual([10, 20]);
  await stage.operator.ok('POST', `/v1/admin/services/${service.id}/reprice-workflows`, {
    body: { reason: 'one for all' },
  });
  expect((await who.ok('GET', `/v1/workflows/${moved.id}`)).milestones).toEqual([20, 10]);
  expect(await start(kept)).toBe(20);
});

test('a former cost that a rail cannot carry at its new price: that way is not offered, and not open', async () => {
  const service = await stage.offer('/echo', { credit_cost: 1_000_000_000_000 });
  const who = await stage.customer();
  const workflow = await workflowOf(who, service);
  const omise = { rail: 'omise', currency: 'THB', price_per_credit: 1_000_000 };
  const change = { credit_cost: 1, payment: { rails: [{ rail: 'credits' }, omise] } };
  expect((await patch(service, change)).status).toBe(200);
  const refused = await who.post(`/v1/workflows/${workflow.id}/runs`, { payment: 'upfront' });
  expect([refused.status, refused.body.code], refused.text).toEqual([402, 'payment_required']);
  expect((await stage.ask(who, refused.body.ask_id)).pay_with).toMatchObject([{ rail: 'credits' }]);
  expect((await pay(who, askOf(refused), { rail: 'omise' })).body.code).toBe('method_unavailable');
});

test('a run keeps the terms of its order, whatever the service says later', async () => {
  const { who, service, start } = await stage.party({ underpay: 'accumulate', quote_ttl_s: 3_600 });
  const refused = await start({ payment: 'upfront' });
  await patch(service, { payment: { underpay: 'reject', quote_ttl_s: 10 } });
  const ask = await stage.ask(who, refused.body.ask_id);
  expect(Date.parse(ask.expires_at) - Date.parse(ask.created_at)).toBe(3_600_000);
  await stage.bring(who, ask, 10);
  await stage.tick();
  expect(await stage.ask(who, ask.id)).toMatchObject({ state: 'part_paid', received: 10 });
});
