import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { fromWire } from '../../src/platform/ids.ts';
import { type Client, clientOf, type Json, newOperator } from '../harness/client.ts';
import { inProcess } from '../harness/in-process.ts';
import { askBack, balanceOf, openRefundStage, purchaseOf, type RefundStage, refundOf, toldOf } from './stage.ts';

let stage: RefundStage;
const limits = {
  REFUND_AUTO_CREDITS: '100',
  REFUND_MAX_CREDITS: '450',
  REFUND_MAX_CREDITS_PER_ACCOUNT_DAY: '600',
  REFUND_MAX_CREDITS_PER_DAY: '1000000',
};
beforeAll(async () => {
  stage = await openRefundStage({ env: limits });
});
afterEach(() => stage.isSound());
afterAll(() => stage.close());

const reason = 'as the customer says';
const admin = (refund: Json, what = '') => `/v1/admin/refunds/${refund.id}${what}`;
const decide = (refund: Json, what: string, options: { by?: Client; body?: Json } = {}) =>
  (options.by ?? stage.shop.operator).call('POST', admin(refund, `/${what}`), {
    ...{ key: randomUUID(), body: options.body ?? { reason } },
  });
const now = (customer: Client, { id }: Json) => customer.ok('GET', `/v1/refunds/${id}`);

describe('a refund above the limit', () => {
  test('waits; once approved it takes its way, and the trail says who', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    const refund = await refundOf(customer, purchase, { amount: 400 });
    expect(refund).toMatchObject({ status: 'awaiting_approval' });
    expect(await balanceOf(customer), 'nothing is set aside yet').toMatchObject({ available: 500, held: 0 });
    const { data } = await stage.shop.operator.ok('GET', '/v1/admin/refunds?status=awaiting_approval');
    expect(data.map(({ id }: Json) => id)).toContain(refund.id);
    const approved = await decide(refund, 'approve');
    expect(approved).toMatchObject({ status: 200, body: { status: 'reserved', decision: reason } });
    expect(await now(customer, refund)).toMatchObject({ status: 'completed', decision: reason });
    expect(stage.givenBack(chargeId)).toEqual([40_000]);
    const { history, decided_by } = await stage.shop.operator.ok('GET', admin(refund));
    expect(decided_by).toBe(stage.shop.operator.accountId);
    expect(history.map(({ what }: Json) => what)).toEqual([
      ...['requested', 'approved', 'reserved', 'sending', 'completed'],
    ]);
    const [logged] = await stage.shop.sql`
      select actor from platform.audit_log where action = 'refunds.approved' and subject_id = ${fromWire('refund', refund.id)}`;
    expect(logged).toEqual({ actor: fromWire('account', stage.shop.operator.accountId) });
    expect((await decide(refund, 'approve')).status).toBe(409);
    expect((await decide(refund, 'reject')).status).toBe(409);
  });

  test('is rejected with a reason that the customer sees; what it spoke for is free again', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    const refund = await refundOf(customer, purchase, { amount: 400 });
    const meanwhile = await askBack(customer, purchaseOf(purchase), { amount: 200 });
    expect([meanwhile.status, meanwhile.body.code], 'spoken for').toEqual([422, 'refund_too_large']);
    expect((await decide(refund, 'reject')).status).toBe(200);
    expect(await now(customer, refund)).toMatchObject({ status: 'rejected', decision: reason });
    expect(await toldOf(customer, refund)).toEqual(['awaiting_approval', 'rejected']);
    expect(await refundOf(customer, purchase, { amount: 100 })).toMatchObject({ status: 'completed' });
    expect(stage.givenBack(chargeId)).toEqual([10_000]);
  });

  test('whose credits were spent while it waited fails when it is approved', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    const refund = await refundOf(customer, purchase, { amount: 400 });
    const body = { credits: -300, reason: 'spent' };
    await stage.shop.operator.ok('POST', `/v1/admin/accounts/${customer.accountId}/adjustments`, { body });
    expect((await decide(refund, 'approve')).status).toBe(200);
    expect(await now(customer, refund)).toMatchObject({ status: 'failed', failure: { code: 'credits_spent' } });
    expect(stage.givenBack(chargeId)).toEqual([]);
    expect(await balanceOf(customer)).toMatchObject({ available: 200, held: 0, debt: 0 });
  });

  test('approved by many at once: once', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    const refund = await refundOf(customer, purchase, { amount: 400 });
    const replies = await Promise.all(
      Array.from({ length: 8 }, (_, n) => decide(refund, n % 2 ? 'approve' : 'reject')),
    );
    expect(replies.filter(({ status }) => status === 200)).toHaveLength(1);
    const over = await now(customer, refund);
    expect(stage.givenBack(chargeId)).toEqual(over.status === 'completed' ? [40_000] : []);
  });

  test('is never decided by whoever gets it', async () => {
    const operator = await newOperator(stage.shop.farebox);
    const asCustomer = { ...operator, ...clientOf(stage.shop.farebox.url, operator), accountId: operator.accountId };
    const { purchase } = await stage.pay(asCustomer);
    const refund = await refundOf(asCustomer, purchase, { amount: 400 });
    for (const what of ['approve', 'reject']) {
      const reply = await decide(refund, what, { by: operator });
      expect([reply.status, reply.body.code]).toEqual([403, 'forbidden']);
    }
    expect((await decide(refund, 'approve')).status).toBe(200);
  });

  test('is seen and decided on the internal listener only', async () => {
    const { customer, purchase } = await stage.buyer();
    const refund = await refundOf(customer, purchase, { amount: 400 });
    const outside = clientOf(stage.shop.farebox.url, stage.shop.operator);
    expect((await outside.get('/v1/admin/refunds')).body.code).toBe('route_not_found');
    const inside = clientOf(stage.shop.farebox.internalUrl, customer);
    expect((await inside.post(admin(refund, '/approve'), { reason })).status).toBe(403);
  });
});

describe('limits', () => {
  test('of one refund, and of an account and day: refused, and not counted', async () => {
    const { customer, purchase } = await stage.buyer();
    const large = await askBack(customer, purchaseOf(purchase), { amount: 451 });
    expect([large.status, large.body.code]).toEqual([409, 'refund_limit_reached']);
    await refundOf(customer, purchase, { amount: 450 });
    const { purchase: second } = await stage.pay(customer);
    const over = await askBack(customer, purchaseOf(second), { amount: 151 });
    expect([over.status, over.body.code]).toEqual([409, 'refund_limit_reached']);
    await refundOf(customer, second, { amount: 150 });
  });

  test('hold however many ask at once', async () => {
    const { customer, purchase } = await stage.buyer();
    const { purchase: second } = await stage.pay(customer);
    const replies = await Promise.all(
      Array.from({ length: 12 }, (_, n) => askBack(customer, purchaseOf(n % 2 ? purchase : second), { amount: 100 })),
    );
    expect(replies.filter(({ status }) => status === 201)).toHaveLength(6);
    expect(replies.every(({ status, body }) => status === 201 || body.code === 'refund_limit_reached')).toBe(true);
  });
});

describe('with refunds off', () => {
  test('nothing is asked for, approved, set aside or sent; and it goes on when they are on again', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    const waiting = await refundOf(customer, purchase, { amount: 300 });
    stage.shop.omise.fault({ api: 'rate_limited', method: 'POST', path: '/charges/*/refunds', times: 1 });
    const begun = await refundOf(customer, purchase, { amount: 50 });
    expect(begun.status).toBe('reserved');
    const { front, internal, work } = await inProcess({
      environment: { ...stage.shop.farebox.environment, REFUNDS: 'off' },
    });
    const inject = (app: typeof front, url: string, payload: Json, token: string) =>
      app.inject({
        ...{ method: 'POST', url, payload },
        headers: { authorization: `Bearer ${token}`, 'idempotency-key': randomUUID() },
      });
    const body = { subject: purchaseOf(purchase), reason, amount: 10 };
    const asked = await inject(front, '/v1/refunds', body, customer.token);
    expect([asked.statusCode, asked.json().code, Number(asked.headers['retry-after']) > 0]).toEqual([
      ...[503, 'refunds_off', true],
    ]);
    const approved = await inject(internal, admin(waiting, '/approve'), { reason }, stage.shop.operator.token);
    expect(approved.json().code).toBe('refunds_off');
    await stage.age(begun, 1000);
    await work('refunds');
    expect(await now(customer, begun)).toMatchObject({ status: 'reserved' });
    expect(stage.givenBack(chargeId)).toEqual([]);
    await stage.age(begun, 1000);
    await stage.work();
    expect(await now(customer, begun)).toMatchObject({ status: 'completed' });
    expect(stage.givenBack(chargeId)).toEqual([5_000]);
  });
});

describe('PromptPay', () => {
  // REQ P10
  test('goes back by bank: the operator records the transfer, and the customer sees its reference', async () => {
    const { customer, purchase, chargeId } = await stage.scanner();
    const refund = await refundOf(customer, purchase, { amount: 100 });
    expect(refund).toMatchObject({ status: 'reserved', rail: 'bank', amount: '10000', unit: 'THB' });
    expect(await balanceOf(customer)).toMatchObject({ available: 400, held: 100 });
    const reference = `SCB ${randomUUID()}`;
    const body = { type: 'bank_transfer', reference };
    expect(await decide(refund, 'payouts', { body })).toMatchObject({ status: 202, body: { status: 'completed' } });
    expect(await now(customer, refund)).toMatchObject({ status: 'completed', reference });
    expect(await balanceOf(customer)).toMatchObject({ available: 400, held: 0 });
    expect(stage.givenBack(chargeId), 'nothing by the provider').toEqual([]);
    expect((await customer.ok('GET', `/v1/purchases/${purchase.id}`)).status).toBe('partially_refunded');
    expect((await decide(refund, 'payouts', { body })).status, 'twice').toBe(409);
    const other = await refundOf(customer, purchase, { amount: 50 });
    expect((await decide(other, 'payouts', { body })).status, 'one transfer for two refunds').toBe(409);
    const hash = { type: 'transaction', tx_hash: `0x${'a'.repeat(64)}` };
    expect((await decide(other, 'payouts', { body: hash })).status, 'of another kind').toBe(409);
  });

  test('that cannot be paid out is given up, and the credits come back', async () => {
    const { customer, purchase } = await stage.scanner();
    const refund = await refundOf(customer, purchase, { amount: 100 });
    expect((await decide(refund, 'reject')).status).toBe(200);
    expect(await now(customer, refund)).toMatchObject({ status: 'failed', failure: { code: 'rejected_by_operator' } });
    expect(await balanceOf(customer)).toMatchObject({ available: 500, held: 0 });
  });

  test('a purchase that an operator has completed goes back by bank, too, and always waits for one', async () => {
    const { customer } = await stage.buyer();
    const purchase = await stage.shop.buy(customer);
    const chargeId = stage.shop.chargeOf(purchase);
    stage.shop.omise.mutate(chargeId, { data: 'amount_off_by_one' });
    stage.shop.omise.pay(chargeId);
    await stage.shop.operator.ok('POST', `/v1/admin/purchases/${purchase.id}/converge`);
    const resolved = { outcome: 'complete', reason: 'one satang' };
    await stage.shop.operator.ok('POST', `/v1/admin/purchases/${purchase.id}/resolve`, { body: resolved });
    const refund = await refundOf(customer, purchase, { amount: 10 });
    expect(refund).toMatchObject({ status: 'awaiting_approval', rail: 'bank' });
    expect((await decide(refund, 'approve')).body).toMatchObject({ status: 'reserved' });
    const body = { type: 'bank_transfer', reference: randomUUID() };
    expect((await decide(refund, 'payouts', { body })).body).toMatchObject({ status: 'completed' });
  });
});
