import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fromWire, toWire } from '../../src/platform/ids.ts';
import { type Client, eventually, type Json, newCustomer, newOperator } from '../harness/client.ts';
import { CREDITS, openShop, PRICE, type Shop, uuidOf } from './shop.ts';

let shop: Shop;
let customer: Client;

beforeAll(async () => {
  shop = await openShop();
  customer = await newCustomer(shop.farebox);
});
afterAll(() => shop.stop());

const ONCE = { times: 1, credits: CREDITS };
const NOTHING = { times: 0, credits: 0 };
const trail = (purchase: Json) => shop.operator.ok('GET', `/v1/admin/purchases/${purchase.id}`);
const resolve = (purchase: Json, body: Json, key = randomUUID()) =>
  shop.operator.call('POST', `/v1/admin/purchases/${purchase.id}/resolve`, { key, body });
const audited = (subject: string) => shop.sql`
  select actor, action, detail from platform.audit_log where subject_id = ${subject} order by seq`;

/** A purchase whose payment is not as agreed. */
async function inReview(): Promise<Json> {
  const purchase = await shop.buy(customer);
  shop.omise.mutate(shop.chargeOf(purchase), { data: 'partial_capture' });
  await eventually(
    () => customer.ok('GET', `/v1/purchases/${purchase.id}`),
    ({ status }) => status === 'review',
  );
  return purchase;
}

async function completed(): Promise<Json> {
  const purchase = await shop.buy(customer);
  shop.omise.pay(shop.chargeOf(purchase));
  return eventually(
    () => customer.ok('GET', `/v1/purchases/${purchase.id}`),
    ({ status }) => status === 'completed',
  );
}

describe('the audit trail of a purchase', () => {
  // REQ E8.3
  test('tells every step of a payment, who did it and with which charge', async () => {
    const purchase = await completed();
    const id = shop.chargeOf(purchase);
    const { charges, history, account_id } = await trail(purchase);
    expect(account_id).toBe(customer.accountId);
    expect(history).toMatchObject([
      {
        actor: `account:${customer.accountId}`,
        what: 'purchase_started',
        detail: { price: PRICE, currency: 'THB', credits: CREDITS },
      },
      { actor: 'request', what: 'charge_intended', charge_id: null, detail: { method: 'promptpay' } },
      { what: 'charge_opened', charge_id: id },
      { actor: 'webhook', what: 'purchase_completed', charge_id: id, detail: { from: 'pending', credits: CREDITS } },
    ]);
    expect(charges).toMatchObject([{ charge_id: id, state: 'successful', method: 'promptpay', next_check_at: null }]);
    const [transfer] = await shop.sql`
      select id, hash from credits.transfers where ref_id = ${uuidOf(purchase.id)} and kind = 'purchase'`;
    expect(history.at(-1).detail.transfer_id, 'from the payment to the ledger').toBe(
      toWire('transfer', transfer?.['id']),
    );
    expect(history.map(({ at }: Json) => at)).toEqual(history.map(({ at }: Json) => at).sort());
  });

  // REQ E8.3
  test('tells of failures, refusals, attempts that were given up, and cancellations', async () => {
    shop.omise.fault({ api: 'rate_limited', method: 'POST', path: '/charges', times: 1 });
    const key = randomUUID();
    const body = { package_id: shop.pack.id, method: { type: 'promptpay' } };
    await customer.call('POST', '/v1/purchases', { key, body });
    const cancelled = (await customer.call('POST', '/v1/purchases', { key, body })).body;
    await customer.ok('POST', `/v1/purchases/${cancelled.id}/cancel`);
    const whats = (await trail(cancelled)).history.map(({ what, detail }: Json) => [
      what,
      detail.reason ?? detail.code,
    ]);
    expect(whats).toEqual([
      ['purchase_started', undefined],
      ['charge_intended', undefined],
      ['charge_abandoned', 'rate_limited'],
      ['charge_intended', undefined],
      ['charge_opened', undefined],
      ['charge_expired', 'payment_expired'],
      ['purchase_cancelled', undefined],
    ]);
    const refused = await shop.buy(customer, { type: 'card', token: 'tokn_test_5nobodymadeit' });
    expect((await trail(refused)).history.at(-1)).toMatchObject({
      what: 'charge_rejected',
      detail: { code: 'not_found' },
    });
  });

  // REQ E8.3 E6.4
  test('cannot be changed, not even by whoever owns the tables', async () => {
    await expect(shop.sql`update payments.history set what = 'nothing happened'`).rejects.toThrow();
    await expect(shop.sql`delete from payments.history`).rejects.toThrow();
    await expect(shop.sql`truncate payments.history`).rejects.toThrow();
    await expect(shop.sql`update payments.claims set amount = 1`).rejects.toThrow();
    await expect(shop.sql`delete from payments.claims`).rejects.toThrow();
  });
});

describe('reading charges back by hand', () => {
  test('completes what was missed, and is in the trail under the operator’s name', async () => {
    shop.omise.fault({ webhook: 'drop' });
    const purchase = await shop.buy(customer);
    shop.omise.pay(shop.chargeOf(purchase));
    const reply = await shop.operator.post(`/v1/admin/purchases/${purchase.id}/converge`);
    expect(reply).toMatchObject({ status: 200, body: { status: 'completed' } });
    expect((await trail(purchase)).history.at(-1).actor).toBe(`account:${shop.operator.accountId}`);
    await shop.operator.ok('POST', `/v1/admin/purchases/${purchase.id}/converge`);
    expect(await shop.booked(purchase)).toEqual(ONCE);
    shop.omise.clearFaults();
  });

  test('says so when the provider cannot be read', async () => {
    const purchase = await shop.buy(customer);
    shop.omise.fault({ api: 'unauthorized', path: `/charges/${shop.chargeOf(purchase)}` });
    const reply = await shop.operator.post(`/v1/admin/purchases/${purchase.id}/converge`);
    expect(reply).toMatchObject({ status: 503, body: { code: 'provider_unavailable' } });
    shop.omise.clearFaults();
  });
});

describe('a purchase in review', () => {
  test('is completed whole by an operator, once, and the reason is kept', async () => {
    const purchase = await inReview();
    expect(await shop.booked(purchase)).toEqual(NOTHING);
    const key = randomUUID();
    const decision = { outcome: 'complete', reason: 'the rest came by bank transfer' };
    const first = await resolve(purchase, decision, key);
    expect(first).toMatchObject({ status: 200, body: { status: 'completed', id: purchase.id } });
    const repeat = await resolve(purchase, decision, key);
    expect(repeat.body).toEqual(first.body);
    expect(repeat.headers.get('idempotent-replayed')).toBe('true');
    expect(await resolve(purchase, decision), 'another key, another decision').toMatchObject({ status: 409 });
    expect(await shop.booked(purchase)).toEqual(ONCE);
    expect(await shop.differencesOf(purchase)).toEqual([]);
    expect((await trail(purchase)).history.at(-1)).toMatchObject({
      actor: `account:${shop.operator.accountId}`,
      what: 'review_completed',
      detail: { reason: decision.reason },
    });
    expect(await audited(uuidOf(purchase.id))).toMatchObject([
      { action: 'security.payment_review' },
      { actor: accountUuid(shop.operator), action: 'payments.review_resolved' },
    ]);
  });

  test('is rejected by an operator, and no look at the provider changes that', async () => {
    const purchase = await inReview();
    const reply = await resolve(purchase, { outcome: 'reject', reason: 'paid back by hand' });
    expect(reply.body).toMatchObject({
      status: 'failed',
      failure: { code: 'rejected_in_review', message: 'paid back by hand' },
    });
    shop.omise.refund(shop.chargeOf(purchase));
    await shop.operator.ok('POST', `/v1/admin/purchases/${purchase.id}/converge`);
    await shop.operator.ok('POST', '/v1/admin/reconcile', { body: {} });
    expect((await customer.ok('GET', `/v1/purchases/${purchase.id}`)).status).toBe('failed');
    expect(await shop.differencesOf(purchase)).toEqual([]);
    expect(await shop.booked(purchase)).toEqual(NOTHING);
  });

  test('two operators decide differently at once: one of them is too late', async () => {
    const second = await newOperator(shop.farebox);
    for (let round = 0; round < 4; round += 1) {
      const purchase = await inReview();
      const decide = (who: Client, outcome: string) =>
        who.post(`/v1/admin/purchases/${purchase.id}/resolve`, { outcome, reason: 'seen' });
      const replies = await Promise.all([
        decide(shop.operator, 'complete'),
        decide(second, 'reject'),
        decide(second, 'complete'),
        decide(shop.operator, 'reject'),
      ]);
      const [done, ...more] = replies.filter(({ status }) => status === 200);
      expect(more).toEqual([]);
      expect(replies.filter(({ status }) => status === 409)).toHaveLength(3);
      expect(await shop.booked(purchase)).toEqual(done?.body.status === 'completed' ? ONCE : NOTHING);
    }
  });

  test('completed by an operator and then found right at the provider: nobody has paid twice', async () => {
    const purchase = await shop.buy(customer);
    const id = shop.chargeOf(purchase);
    shop.omise.pay(id);
    await eventually(
      () => customer.ok('GET', `/v1/purchases/${purchase.id}`),
      ({ status }) => status === 'completed',
    );
    const other = await shop.buy(customer);
    const disputed = shop.chargeOf(other);
    shop.omise.fault({ webhook: 'drop' });
    shop.omise.pay(disputed);
    shop.omise.dispute(disputed);
    await shop.operator.ok('POST', `/v1/admin/purchases/${other.id}/converge`);
    await resolve(other, { outcome: 'complete', reason: 'a customer we know' });
    shop.omise.closeDispute(disputed, 'won');
    await shop.operator.ok('POST', `/v1/admin/purchases/${other.id}/converge`);
    expect(await shop.differencesOf(other)).toEqual([]);
    expect(await shop.booked(other)).toEqual(ONCE);
    // From now on it is a credited charge like any other.
    shop.omise.refund(disputed, { amount: 1 });
    await shop.operator.ok('POST', `/v1/admin/purchases/${other.id}/converge`);
    const clawedBack = () => shop.sql`select reference from refunds.clawbacks where purchase_id = ${uuidOf(other.id)}`;
    await eventually(clawedBack, (rows) => rows.length === 1);
    expect(await shop.differencesOf(other)).toEqual([]);
    shop.omise.clearFaults();
  });

  test.each([
    ['a purchase that is not in review', async () => completed(), { outcome: 'complete', reason: 'x' }, 409],
    [
      'a purchase that is not there',
      async () => ({ id: 'pur_01m80v042pf9rta86ac64jyj45' }),
      { outcome: 'complete', reason: 'x' },
      404,
    ],
    ['another outcome', async () => ({ id: 'pur_01m80v042pf9rta86ac64jyj45' }), { outcome: 'half', reason: 'x' }, 422],
    ['no reason', async () => ({ id: 'pur_01m80v042pf9rta86ac64jyj45' }), { outcome: 'reject', reason: '' }, 422],
    [
      'an amount',
      async () => ({ id: 'pur_01m80v042pf9rta86ac64jyj45' }),
      { outcome: 'complete', reason: 'x', credits: 1 },
      422,
    ],
  ])('%s is not resolved', async (_name, purchase, body, status) => {
    expect((await resolve(await purchase(), body)).status).toBe(status);
  });

  test('needs a key', async () => {
    const purchase = await inReview();
    const reply = await shop.operator.call('POST', `/v1/admin/purchases/${purchase.id}/resolve`, {
      body: { outcome: 'complete', reason: 'x' },
    });
    expect(reply).toMatchObject({ status: 400, body: { code: 'idempotency_key_required' } });
  });
});

describe('differences', () => {
  test('are listed oldest first, and closed by an operator with a reason', async () => {
    const [first, second] = [await inReview(), await inReview()];
    const list = async () => (await shop.operator.ok('GET', '/v1/admin/differences')).data as Json[];
    const mine = (await list()).filter(({ purchase_id }) => [first.id, second.id].includes(purchase_id));
    expect(mine.map(({ purchase_id }) => purchase_id)).toEqual([first.id, second.id]);
    const { kind, reference } = mine[0];
    const close = () =>
      shop.operator.post('/v1/admin/differences/resolve', { kind, reference, reason: 'paid back by hand' });
    expect(await close()).toMatchObject({ status: 200, body: { object: 'resolution', resolved: 1 } });
    expect(await close()).toMatchObject({ status: 404 });
    expect((await list()).filter(({ purchase_id }) => purchase_id === first.id)).toEqual([]);
    expect(await audited(reference)).toMatchObject([
      { actor: accountUuid(shop.operator), action: 'payments.difference_resolved' },
    ]);
  });
});

describe('packages and purchases, as an operator sees them', () => {
  test('a package is made, renamed and withdrawn, and what it sells never changes', async () => {
    const key = randomUUID();
    const body = { name: 'Big', description: 'many', credits: 9_000, price: 800_000 };
    const made = await shop.operator.call('POST', '/v1/admin/packages', { key, body });
    expect(made).toMatchObject({ status: 201, body: { object: 'package', ...body, currency: 'THB', active: true } });
    expect((await shop.operator.call('POST', '/v1/admin/packages', { key, body })).body).toEqual(made.body);
    const path = `/v1/admin/packages/${made.body.id}`;
    expect(made.headers.get('location')).toBe(path);
    for (const change of [{ price: 1 }, { credits: 1 }, { currency: 'USD' }, {}]) {
      expect((await shop.operator.call('PATCH', path, { body: change })).status).toBe(422);
    }
    await shop.operator.ok('PATCH', path, { body: { name: 'Bigger', active: false } });
    expect(await shop.operator.ok('GET', path)).toEqual({ ...made.body, name: 'Bigger', active: false });
    expect((await customer.get(`/v1/packages/${made.body.id}`)).status).toBe(404);
    expect((await audited(await packageUuid('Bigger'))).map((row) => row['action'])).toEqual([
      'payments.package_created',
      'payments.package_changed',
    ]);
  });

  test.each([0, -1, 1.5, '5', null, true, [5], {}, 9_007_199_254_740_992, 1e21])(
    'credits or a price of %j is refused',
    async (amount) => {
      for (const field of ['credits', 'price']) {
        const body = { name: 'Odd', credits: 5, price: 5_000, [field]: amount };
        expect((await shop.operator.post('/v1/admin/packages', body)).status).toBe(422);
      }
    },
  );

  test('purchases are listed newest first, by account and by state, page by page', async () => {
    const buyer = await newCustomer(shop.farebox);
    const [first, second, third] = [await shop.buy(buyer), await shop.buy(buyer), await shop.buy(buyer)];
    await buyer.ok('POST', `/v1/purchases/${second.id}/cancel`);
    const account = (await buyer.ok('GET', '/v1/me')).id;
    const ids = async (query: string) =>
      (await shop.operator.ok('GET', `/v1/admin/purchases?account_id=${account}${query}`)).data.map(
        ({ id }: Json) => id,
      );
    expect(await ids('')).toEqual([third.id, second.id, first.id]);
    expect(await ids('&status=cancelled')).toEqual([second.id]);
    const page = await shop.operator.ok('GET', `/v1/admin/purchases?account_id=${account}&limit=2`);
    expect(page).toMatchObject({ object: 'list', has_more: true });
    const rest = await shop.operator.ok(
      'GET',
      `/v1/admin/purchases?account_id=${account}&limit=2&starting_after=${encodeURIComponent(page.next_cursor)}`,
    );
    expect(rest.data.map(({ id }: Json) => id)).toEqual([first.id]);
    expect((await shop.operator.get('/v1/admin/purchases?status=odd')).status).toBe(422);
  });

  test('none of it is there for customers', async () => {
    for (const path of ['/v1/admin/packages', '/v1/admin/purchases', '/v1/admin/differences']) {
      expect((await customer.get(path)).status).toBe(404);
      const reply = await fetch(shop.farebox.internalUrl + path, {
        headers: { authorization: `Bearer ${customer.token}` },
      });
      expect(reply.status).toBe(403);
    }
  });
});

const packageUuid = async (name: string): Promise<string> =>
  (await shop.sql`select id from payments.packages where name = ${name}`)[0]?.['id'];
const accountUuid = (client: Client) => fromWire('account', client.accountId);
