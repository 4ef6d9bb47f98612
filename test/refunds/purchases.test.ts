import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Client, type Json, newCustomer } from '../harness/client.ts';
import { grant } from '../workflows/stage.ts';
import { askBack, balanceOf, openRefundStage, purchaseOf, type RefundStage, refundOf, toldOf } from './stage.ts';

let stage: RefundStage;
beforeAll(async () => {
  stage = await openRefundStage();
});
afterEach(async () => {
  stage.shop.omise.clearFaults();
  await stage.isSound();
});
afterAll(() => stage.close());

const statusOf = async (customer: Client, { id }: Json) => (await customer.ok('GET', `/v1/purchases/${id}`)).status;
const spend = (customer: Client, credits: number) =>
  stage.shop.operator.ok('POST', `/v1/admin/accounts/${customer.accountId}/adjustments`, {
    body: { credits: -credits, reason: 'spent' },
  });

describe('a purchase by card is given back', () => {
  // REQ P10 E8.2
  test('whole: the money once, the credits with it, and the customer is told', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    const refund = await refundOf(customer, purchase);
    expect(refund).toMatchObject({
      ...{ status: 'completed', rail: 'omise', credits: 500, amount: '50000', unit: 'THB' },
      reference: expect.stringMatching(/^rfnd_/),
    });
    expect(stage.givenBack(chargeId)).toEqual([50_000]);
    expect(await balanceOf(customer)).toMatchObject({ available: 0, held: 0, debt: 0 });
    expect(await customer.ok('GET', `/v1/purchases/${purchase.id}`)).toMatchObject({
      ...{ status: 'refunded', refunded_credits: 500, refunded_amount: 50_000 },
    });
    expect(await toldOf(customer, refund)).toEqual(['requested', 'reserved', 'sending', 'completed']);
    expect(await customer.ok('GET', `/v1/refunds/${refund.id}`)).toEqual(refund);
    expect((await customer.ok('GET', '/v1/refunds?status=completed')).data).toEqual([refund]);
    const { history, attempts } = await stage.shop.operator.ok('GET', `/v1/admin/refunds/${refund.id}`);
    expect(history.map(({ what, actor }: Json) => [what, actor])).toEqual([
      ['requested', `account:${customer.accountId}`],
      ['reserved', 'saga'],
      ['sending', 'saga'],
      ['completed', 'provider'],
    ]);
    expect(attempts).toMatchObject([{ number: 1, target: chargeId, outcome: 'done' }]);
  });

  test('in parts: the money in proportion, rounded down, until nothing is left', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    const first = await refundOf(customer, purchase, { amount: 123 });
    expect(first).toMatchObject({ status: 'completed', credits: 123, amount: '12300' });
    expect(await statusOf(customer, purchase)).toBe('partially_refunded');
    await refundOf(customer, purchase, { amount: 377 });
    expect(stage.givenBack(chargeId)).toEqual([12_300, 37_700]);
    expect(await statusOf(customer, purchase)).toBe('refunded');
    const more = await askBack(customer, purchaseOf(purchase), { amount: 1 });
    expect([more.status, more.body.code]).toEqual([409, 'not_refundable']);
  });

  test('once for a key, however often it is asked; and once for all that ask at once', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    const key = randomUUID();
    const ask = () => askBack(customer, purchaseOf(purchase), {}, { key });
    const replies = await Promise.all(Array.from({ length: 20 }, ask));
    const made = replies.filter(({ status }) => status === 201);
    expect(made.length).toBeGreaterThan(0);
    expect(new Set(made.map(({ body }) => body.id)).size).toBe(1);
    expect(replies.filter(({ status }) => status !== 201).every(({ body }) => body.code === 'request_in_flight')).toBe(
      true,
    );
    const again = await ask();
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    expect(again.body).toMatchObject({ id: made[0]?.body.id, status: 'completed' });
    expect(stage.givenBack(chargeId)).toEqual([50_000]);
    const other = await askBack(customer, purchaseOf(purchase), { amount: 1 }, { key });
    expect([other.status, other.body.code]).toEqual([422, 'idempotency_key_reused']);
  });

  test('a hundred mixed refunds at once: never more than was paid, and never more than is unspent', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    await spend(customer, 130);
    const replies = await Promise.all(
      Array.from({ length: 100 }, (_, n) =>
        askBack(customer, purchaseOf(purchase), n % 3 === 0 ? {} : { amount: 1 + (n % 40) }),
      ),
    );
    const made = replies.filter(({ status }) => status === 201).map(({ body }) => body);
    expect(replies.every(({ status }) => [201, 409, 422].includes(status))).toBe(true);
    for (let n = 0; n < 5; n += 1) await stage.work();
    const now: Json[] = await Promise.all(made.map(({ id }) => customer.ok('GET', `/v1/refunds/${id}`)));
    const done = now.filter(({ status }) => status === 'completed');
    const credits = done.reduce((sum, one) => sum + one.credits, 0);
    const money = stage.givenBack(chargeId).reduce((sum, one) => sum + one, 0);
    expect(now.every(({ status }) => status === 'completed' || status === 'failed')).toBe(true);
    expect(credits).toBeLessThanOrEqual(370);
    expect(credits).toBeGreaterThan(0);
    expect(money).toBe(credits * 100);
    expect(await balanceOf(customer)).toMatchObject({ available: 370 - credits, held: 0, debt: 0 });
  });
});

describe('what is refused', () => {
  test('more than is left: with what there is', async () => {
    const { customer, purchase } = await stage.buyer();
    const reply = await askBack(customer, purchaseOf(purchase), { amount: 501 });
    expect([reply.status, reply.body.code, reply.body.refundable]).toEqual([422, 'refund_too_large', 500]);
  });

  test('credits that were spent', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    await spend(customer, 400);
    const reply = await askBack(customer, purchaseOf(purchase), { amount: 101 });
    expect([reply.status, reply.body.code, reply.body.refundable]).toEqual([422, 'refund_too_large', 100]);
    const rest = await refundOf(customer, purchase);
    expect(rest).toMatchObject({ status: 'completed', credits: 100, amount: '10000' });
    const none = await askBack(customer, purchaseOf(purchase));
    expect([none.status, none.body.code]).toEqual([409, 'not_refundable']);
    expect(stage.givenBack(chargeId)).toEqual([10_000]);
  });

  test("somebody else's purchase, and none at all, look the same", async () => {
    const { purchase } = await stage.buyer();
    const stranger = await newCustomer(stage.shop.farebox);
    expect((await askBack(stranger, purchaseOf(purchase))).status).toBe(404);
    const { customer, purchase: own } = await stage.buyer();
    const refund = await refundOf(customer, own);
    expect((await stranger.get(`/v1/refunds/${refund.id}`)).status).toBe(404);
    expect((await stranger.ok('GET', '/v1/refunds')).data).toEqual([]);
  });

  test('a purchase that was never paid, a target that makes no sense, an amount of the wrong kind', async () => {
    const customer = await newCustomer(stage.shop.farebox);
    await grant(stage.shop.operator, customer, 1000);
    const open = await stage.shop.buy(customer);
    const unpaid = await askBack(customer, purchaseOf(open));
    expect([unpaid.status, unpaid.body.code]).toEqual([409, 'not_refundable']);
    const { purchase } = await stage.pay(customer);
    const toCredits = await askBack(customer, purchaseOf(purchase), { target: 'credits' });
    expect([toCredits.status, toCredits.body.code]).toEqual([422, 'refund_target_unavailable']);
    for (const amount of ['100', 0, -1, 1.5, 10 ** 13])
      expect((await askBack(customer, purchaseOf(purchase), { amount })).status).toBe(422);
    const noKey = await customer.call('POST', '/v1/refunds', { body: { subject: purchaseOf(purchase), reason: 'x' } });
    expect([noKey.status, noKey.body.code]).toEqual([400, 'idempotency_key_required']);
    expect((await askBack(customer, purchaseOf(purchase), { proof: { challenge_id: 'x' } })).status).toBe(422);
  });
});

describe('the last credits', () => {
  // REQ E4.4
  test('are spent or given back, never both', async () => {
    for (let round = 0; round < 5; round += 1) {
      const { customer, purchase, chargeId } = await stage.buyer();
      const spending = stage.shop.operator.call('POST', `/v1/admin/accounts/${customer.accountId}/adjustments`, {
        ...{ key: randomUUID(), body: { credits: -500, reason: 'spent' } },
      });
      const [spent, asked] = await Promise.all([spending, askBack(customer, purchaseOf(purchase))]);
      for (let n = 0; n < 2; n += 1) await stage.work();
      const refund =
        asked.status === 201 ? await customer.ok('GET', `/v1/refunds/${asked.body.id}`) : { status: 'refused' };
      const isBack = refund.status === 'completed';
      expect(isBack, JSON.stringify([spent.body, refund])).toBe(spent.status !== 201);
      expect(stage.givenBack(chargeId)).toEqual(isBack ? [50_000] : []);
      expect(await balanceOf(customer)).toMatchObject({ available: 0, held: 0, debt: 0 });
    }
  });
});
