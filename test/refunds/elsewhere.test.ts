import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Client, Json } from '../harness/client.ts';
import { uuidOf } from '../payments/shop.ts';
import { balanceOf, openRefundStage, type RefundStage, refundOf } from './stage.ts';

let stage: RefundStage;
beforeAll(async () => {
  stage = await openRefundStage();
});
afterEach(async () => {
  stage.shop.omise.clearFaults();
  await stage.isSound();
});
afterAll(() => stage.close());

/** Twice, as everything is seen twice: by a webhook and by the sweep. */
async function lookEverywhere() {
  await stage.work();
  await stage.hands.run('reconcile');
  await stage.work();
}

const purchaseNow = (customer: Client, { id }: Json) => customer.ok('GET', `/v1/purchases/${id}`);
const spend = (customer: Client, credits: number) =>
  stage.shop.operator.ok('POST', `/v1/admin/accounts/${customer.accountId}/adjustments`, {
    body: { credits: -credits, reason: 'spent' },
  });
const clawbacksOf = async (purchase: Json) =>
  (
    await stage.shop.sql`select kind, credits::int, amount::int, restored_at is not null as restored
      from refunds.clawbacks where purchase_id = ${uuidOf(purchase.id)} order by created_at`
  ).map((row) => ({ ...row }));
const eventsOf = async (customer: Client, type: string) =>
  (await customer.ok('GET', `/v1/events?type=${type}`)).data.map(({ data }: Json) => data);

describe('money that went back at the provider, without us', () => {
  // REQ E7.2 E8.3
  test('in part: its credits are taken back, once, and the account is told', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    stage.shop.omise.refund(chargeId, { amount: 10_000 });
    await lookEverywhere();
    await lookEverywhere();
    expect(await clawbacksOf(purchase)).toEqual([{ kind: 'refund', credits: 100, amount: 10_000, restored: false }]);
    expect(await balanceOf(customer)).toMatchObject({ available: 400, held: 0, debt: 0 });
    expect(await purchaseNow(customer, purchase)).toMatchObject({
      status: 'partially_refunded',
      refunded_credits: 100,
    });
    expect(await eventsOf(customer, 'refunds.purchase_clawed_back')).toMatchObject([
      { id: purchase.id, kind: 'refund', credits: 100, amount: 10_000 },
    ]);
    expect(await stage.shop.differencesOf(purchase), 'nothing for a person').toEqual([]);
    stage.shop.omise.refund(chargeId, { amount: 5_000 });
    await lookEverywhere();
    expect(await balanceOf(customer)).toMatchObject({ available: 350 });
  });

  test('whole, when the credits are spent: what is not there becomes debt, and the next credits pay it', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    await spend(customer, 450);
    stage.shop.omise.refund(chargeId);
    await lookEverywhere();
    expect(await balanceOf(customer)).toMatchObject({ available: 0, debt: 450 });
    expect((await purchaseNow(customer, purchase)).status).toBe('refunded');
    await stage.pay(customer);
    expect(await balanceOf(customer)).toMatchObject({ available: 50, debt: 0 });
  });

  test('found by the reconciler alone, when no webhook comes and no event is listed', async () => {
    const { customer, chargeId } = await stage.buyer();
    stage.shop.omise.fault({ webhook: 'drop' });
    stage.shop.omise.refund(chargeId);
    for (const name of ['reconcile', 'subscriptions', 'refund-sightings']) await stage.hands.run(name);
    expect(await balanceOf(customer)).toMatchObject({ available: 0, debt: 0 });
  });

  test('seen by many at once: once', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    stage.shop.omise.refund(chargeId, { amount: 20_000 });
    await Promise.all(
      Array.from({ length: 6 }, () => stage.shop.operator.ok('POST', `/v1/admin/purchases/${purchase.id}/converge`)),
    );
    await Promise.all([stage.work(), stage.work(), stage.work()]);
    await lookEverywhere();
    expect(await clawbacksOf(purchase)).toHaveLength(1);
    expect(await balanceOf(customer)).toMatchObject({ available: 300 });
  });

  test('by a void', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    await voidAt(chargeId, 50_000);
    await lookEverywhere();
    expect(await clawbacksOf(purchase)).toEqual([{ kind: 'void', credits: 500, amount: 50_000, restored: false }]);
    expect(await balanceOf(customer)).toMatchObject({ available: 0, debt: 0 });
    expect((await purchaseNow(customer, purchase)).status).toBe('refunded');
  });

  test('by a dispute: clawed back when it is opened, and given again when it is won', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    await spend(customer, 200);
    stage.shop.omise.dispute(chargeId);
    await lookEverywhere();
    expect(await clawbacksOf(purchase)).toEqual([{ kind: 'dispute', credits: 500, amount: 50_000, restored: false }]);
    expect(await balanceOf(customer)).toMatchObject({ available: 0, debt: 200 });
    stage.shop.omise.closeDispute(chargeId, 'won');
    await lookEverywhere();
    await lookEverywhere();
    expect(await balanceOf(customer)).toMatchObject({ available: 300, debt: 0 });
    expect(await purchaseNow(customer, purchase)).toMatchObject({ status: 'completed', refunded_credits: 0 });
    expect(await eventsOf(customer, 'refunds.purchase_restored')).toHaveLength(1);
  });

  test('by a dispute that is lost: once', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    stage.shop.omise.dispute(chargeId);
    await lookEverywhere();
    stage.shop.omise.closeDispute(chargeId, 'lost');
    await lookEverywhere();
    expect(await clawbacksOf(purchase)).toHaveLength(1);
    expect(await balanceOf(customer)).toMatchObject({ available: 0, debt: 0 });
  });

  test('in a way that does not add up: a person looks, and no credit moves', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    stage.shop.omise.mutate(chargeId, { data: 'disguise', set: { refunded_amount: 30_000 } });
    await lookEverywhere();
    for (let n = 0; n < 5; n += 1) {
      await stage.shop.sql`update refunds.sightings set next_look_at = now() where charge_id = ${chargeId}`;
      await stage.hands.run('refund-sightings');
    }
    expect(await stage.shop.differencesOf(purchase)).toEqual(['refunded_after_credit']);
    expect(await balanceOf(customer)).toMatchObject({ available: 500 });
  });
});

/** As the merchant does it in the dashboard, before the payment is settled. */
async function voidAt(chargeId: string, amount: number, metadata: Json = {}) {
  const { OMISE_SECRET_KEY: key } = stage.shop.farebox.environment;
  const reply = await fetch(`${stage.shop.farebox.omise.url}/charges/${chargeId}/refunds`, {
    method: 'POST',
    headers: {
      authorization: `Basic ${Buffer.from(`${key}:`).toString('base64')}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ amount, metadata }),
  });
  expect(reply.status).toBe(200);
}

describe('a refund of ours and one of the dashboard', () => {
  test('ours is recognized as ours, by webhook, sweep and reconciler: no claw-back', async () => {
    const { customer, purchase } = await stage.buyer();
    await refundOf(customer, purchase, { amount: 100 });
    await lookEverywhere();
    expect(await clawbacksOf(purchase)).toEqual([]);
    expect(await balanceOf(customer)).toMatchObject({ available: 400, debt: 0 });
    expect(await stage.shop.alarmsAbout(purchase.id)).toEqual([]);
  });

  test('while ours is unanswered: ours claims its own, only the rest is clawed back', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    stage.shop.omise.fault({ api: 'reset_after_execution', method: 'POST', path: '/charges/*/refunds', times: 1 });
    const refund = await refundOf(customer, purchase, { amount: 100 });
    expect(refund.status).toBe('sending');
    stage.shop.omise.refund(chargeId, { amount: 5_000 });
    for (let n = 0; n < 3; n += 1) {
      await lookEverywhere();
      await stage.age(refund, 300);
      await stage.shop.sql`update refunds.sightings set next_look_at = now() where next_look_at is not null`;
    }
    await lookEverywhere();
    expect(await customer.ok('GET', `/v1/refunds/${refund.id}`)).toMatchObject({ status: 'completed' });
    expect(await clawbacksOf(purchase)).toEqual([{ kind: 'refund', credits: 50, amount: 5_000, restored: false }]);
    expect(await balanceOf(customer)).toMatchObject({ available: 350, held: 0, debt: 0 });
  });

  test('before ours was sent: ours gives way, and the money has gone back once', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    stage.shop.omise.fault({ api: 'rate_limited', method: 'POST', path: '/charges/*/refunds', times: 1 });
    const refund = await refundOf(customer, purchase);
    expect(refund.status).toBe('reserved');
    stage.shop.omise.refund(chargeId);
    await lookEverywhere();
    expect(await customer.ok('GET', `/v1/refunds/${refund.id}`)).toMatchObject({
      ...{ status: 'failed', failure: { code: 'refunded_elsewhere' } },
    });
    expect(stage.givenBack(chargeId)).toEqual([50_000]);
    expect(await balanceOf(customer)).toMatchObject({ available: 0, held: 0, debt: 0 });
  });

  test('ours came to nothing, and turns up at the provider after all: clawed back', async () => {
    const { customer, purchase, chargeId } = await stage.scanner();
    const refund = await refundOf(customer, purchase, { amount: 100 });
    await stage.shop.operator.ok('POST', `/v1/admin/refunds/${refund.id}/reject`, { body: { reason: 'no' } });
    stage.shop.omise.refund(chargeId, { amount: 10_000 });
    await lookEverywhere();
    expect(await clawbacksOf(purchase)).toHaveLength(1);
    expect(await balanceOf(customer)).toMatchObject({ available: 400, held: 0, debt: 0 });
  });
});
