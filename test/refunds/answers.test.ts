import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Client, Json } from '../harness/client.ts';
import { askBack, balanceOf, openRefundStage, purchaseOf, type RefundStage, refundOf, toldOf } from './stage.ts';

let stage: RefundStage;
beforeAll(async () => {
  stage = await openRefundStage({ env: { OMISE_DEADLINE_MS: '500' } });
});
afterEach(async () => {
  stage.shop.omise.clearFaults();
  await stage.isSound();
});
afterAll(() => stage.close());

const path = '/charges/*/refunds';
const now = (customer: Client, { id }: Json) => customer.ok('GET', `/v1/refunds/${id}`);

/** Looks until the saga is over; the looks are hours apart, and the hours pass. */
async function untilOver(customer: Client, refund: Json): Promise<Json> {
  for (let n = 0; n < 12; n += 1) {
    const seen = await now(customer, refund);
    if (seen.status === 'completed' || seen.status === 'failed') return seen;
    await stage.age(refund, 200);
    await stage.work();
  }
  return now(customer, refund);
}

describe('an answer of the provider that is lost', () => {
  // REQ E7.1 E8.2
  test.each(['reset_after_execution', 'hang', 'cut_in_body', 'no_content', 'null_body', 'hang_in_body'] as const)(
    '%s: the refund was made; it is found by our id, and not made again',
    async (api) => {
      const { customer, purchase, chargeId } = await stage.buyer();
      stage.shop.omise.fault({ api, method: 'POST', path, times: 1 });
      const refund = await refundOf(customer, purchase);
      expect(refund).toMatchObject({ status: 'sending', reference: null });
      expect(await balanceOf(customer)).toMatchObject({ available: 0, held: 500 });
      expect(stage.givenBack(chargeId)).toEqual([50_000]);
      const over = await untilOver(customer, refund);
      expect(over).toMatchObject({ status: 'completed', reference: expect.stringMatching(/^rfnd_/) });
      expect(stage.givenBack(chargeId)).toEqual([50_000]);
      expect(await balanceOf(customer)).toMatchObject({ available: 0, held: 0, debt: 0 });
      expect(await toldOf(customer, refund)).toEqual(['requested', 'reserved', 'sending', 'completed']);
    },
  );

  test.each(['reset_before_execution', 'server_error', 'bad_gateway'] as const)(
    '%s: it was not made; nothing is repeated before that is certain, and then it is made once',
    async (api) => {
      const { customer, purchase, chargeId } = await stage.buyer();
      stage.shop.omise.fault({ api, method: 'POST', path, times: 1 });
      const refund = await refundOf(customer, purchase);
      expect(refund.status).toBe('sending');
      await stage.age(refund, 60);
      await stage.work();
      await stage.age(refund, 40);
      await stage.work();
      expect(await now(customer, refund), 'too early').toMatchObject({ status: 'sending' });
      expect(stage.givenBack(chargeId)).toEqual([]);
      expect(await untilOver(customer, refund)).toMatchObject({ status: 'completed' });
      expect(stage.givenBack(chargeId)).toEqual([50_000]);
      const { attempts } = await stage.shop.operator.ok('GET', `/v1/admin/refunds/${refund.id}`);
      expect(attempts.map(({ outcome }: Json) => outcome)).toEqual(['not_found', 'done']);
    },
  );

  test('while the provider cannot be read, nothing is concluded', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    stage.shop.omise.fault({ api: 'reset_after_execution', method: 'POST', path, times: 1 });
    const refund = await refundOf(customer, purchase);
    stage.shop.omise.fault({ api: 'server_error', method: 'GET', path: '/charges/*' });
    for (let n = 0; n < 3; n += 1) {
      await stage.age(refund, 1000);
      await stage.work();
    }
    expect(await now(customer, refund)).toMatchObject({ status: 'sending' });
    stage.shop.omise.clearFaults();
    expect(await untilOver(customer, refund)).toMatchObject({ status: 'completed' });
    expect(stage.givenBack(chargeId)).toEqual([50_000]);
  });

  test('a webhook tells of the refund before we look: the saga is woken and completes', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    stage.shop.omise.fault({ api: 'reset_after_execution', method: 'POST', path, times: 1 });
    const refund = await refundOf(customer, purchase, { amount: 100 });
    expect(refund.status).toBe('sending');
    for (let n = 0; n < 2; n += 1) await stage.work();
    await stage.age(refund, 10);
    await stage.work();
    expect(await now(customer, refund)).toMatchObject({ status: 'completed' });
    expect(stage.givenBack(chargeId)).toEqual([10_000]);
    expect(await balanceOf(customer)).toMatchObject({ available: 400, held: 0, debt: 0 });
  });

  test('an attempt that was given up and is executed after all: completed with it, or what is too much clawed back', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    stage.shop.omise.fault({ api: 'reset_before_execution', method: 'POST', path, times: 1 });
    const refund = await refundOf(customer, purchase, { amount: 200 });
    // The first call comes through at last, by another way in.
    await fetch(`${stage.shop.farebox.omise.url}/charges/${chargeId}/refunds`, {
      method: 'POST',
      headers: {
        authorization: `Basic ${Buffer.from(`${stage.shop.farebox.environment['OMISE_SECRET_KEY']}:`).toString('base64')}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({ amount: 20_000, metadata: { refund_id: refund.id } }),
    });
    expect(await untilOver(customer, refund)).toMatchObject({ status: 'completed' });
    expect(stage.givenBack(chargeId)).toEqual([20_000]);
  });
});

describe('the provider', () => {
  test('is not there when asked: later, and once', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    stage.shop.omise.fault({ api: 'rate_limited', method: 'POST', path, times: 2 });
    const refund = await refundOf(customer, purchase);
    expect(refund.status).toBe('reserved');
    expect(await untilOver(customer, refund)).toMatchObject({ status: 'completed' });
    expect(stage.givenBack(chargeId)).toEqual([50_000]);
  });

  test('answers late, within the deadline', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    stage.shop.omise.fault({ api: 'latency', ms: 300, method: 'POST', path, times: 1 });
    expect(await refundOf(customer, purchase)).toMatchObject({ status: 'completed' });
    expect(stage.givenBack(chargeId)).toEqual([50_000]);
  });

  test('refuses: the credits come back, the purchase is as it was, and the customer is told why', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    // It shows the charge as refundable, and does not mean it: another refund was made in the meantime.
    stage.shop.omise.mutate(chargeId, { data: 'disguise', set: { refunded_amount: 0, refundable: true } });
    stage.shop.omise.dispute(chargeId);
    stage.shop.omise.mutate(chargeId, { data: 'disguise', set: { dispute: null } });
    const refund = await refundOf(customer, purchase);
    expect(refund).toMatchObject({ status: 'failed', failure: { code: 'failed_refund' } });
    expect(await balanceOf(customer)).toMatchObject({ available: 500, held: 0, debt: 0 });
    expect(await customer.ok('GET', `/v1/purchases/${purchase.id}`)).toMatchObject({
      ...{ status: 'completed', refunded_credits: 0 },
    });
    expect(await toldOf(customer, refund)).toEqual(['requested', 'reserved', 'sending', 'failed']);
  });

  test('disputes the payment: no refund of ours', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    stage.shop.omise.dispute(chargeId);
    expect(await refundOf(customer, purchase)).toMatchObject({ status: 'failed', failure: { code: 'disputed' } });
    expect(await balanceOf(customer)).toMatchObject({ available: 500, held: 0 });
  });

  test('makes fifteen refunds of a charge: the sixteenth is paid by bank', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    for (let n = 0; n < 15; n += 1)
      expect((await askBack(customer, purchaseOf(purchase), { amount: 10 })).body.status).toBe('completed');
    expect(await refundOf(customer, purchase, { amount: 10 })).toMatchObject({ status: 'reserved', rail: 'bank' });
    expect(stage.givenBack(chargeId)).toHaveLength(15);
  });

  test('makes no refunds any more after a year: an operator pays by bank', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    stage.shop.omise.advanceClock(366 * 86_400_000);
    const refund = await refundOf(customer, purchase);
    expect(refund).toMatchObject({ status: 'reserved', rail: 'bank' });
    const body = { type: 'bank_transfer', reference: `KBANK-${randomUUID()}` };
    await stage.shop.operator.ok('POST', `/v1/admin/refunds/${refund.id}/payouts`, { body });
    expect(await now(customer, refund)).toMatchObject({ status: 'completed', reference: body.reference });
    expect(stage.givenBack(chargeId)).toEqual([]);
  });
});
