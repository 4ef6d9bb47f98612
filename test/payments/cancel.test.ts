import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Client, eventually, type Json, newCustomer } from '../harness/client.ts';
import { CREDITS, openShop, type Shop, uuidOf } from './shop.ts';

let shop: Shop;
let customer: Client;

beforeAll(async () => {
  shop = await openShop();
  customer = await newCustomer(shop.farebox);
});
afterAll(() => shop.stop());
beforeEach(() => shop.omise.clearFaults());

const ONCE = { times: 1, credits: CREDITS };
const NOTHING = { times: 0, credits: 0 };
const read = (purchase: Json) => customer.ok('GET', `/v1/purchases/${purchase.id}`);
const cancel = (purchase: Json, who = customer) => who.post(`/v1/purchases/${purchase.id}/cancel`);
const toldOf = async (purchase: Json): Promise<string[]> =>
  (await shop.sql`select type from platform.events where subject_id = ${uuidOf(purchase.id)} order by seq`).map(
    (row) => row['type'],
  );

describe('cancelling a purchase', () => {
  test('an unpaid one is ended at the provider and here, and cannot be paid any more', async () => {
    const purchase = await shop.buy(customer);
    expect(await cancel(purchase)).toMatchObject({ status: 200, body: { status: 'cancelled', qr_url: null } });
    expect(shop.chargesOf(purchase)).toMatchObject([{ status: 'expired' }]);
    expect(() => shop.omise.pay(shop.chargeOf(purchase))).toThrow('not pending');
    expect((await customer.get(`/v1/purchases/${purchase.id}/qr`)).status).toBe(404);
  });

  test('a second time changes nothing and tells nobody', async () => {
    const purchase = await shop.buy(customer);
    await cancel(purchase);
    const told = await toldOf(purchase);
    expect(await cancel(purchase)).toMatchObject({ status: 200, body: { status: 'cancelled' } });
    expect(await toldOf(purchase)).toEqual(told);
    expect(told.filter((type) => type === 'payments.purchase_cancelled')).toHaveLength(1);
  });

  test('ten times at once: cancelled once', async () => {
    const purchase = await shop.buy(customer);
    const replies = await Promise.all(Array.from({ length: 10 }, () => cancel(purchase)));
    expect(new Set(replies.map(({ status, body }) => `${status} ${body.status}`))).toEqual(new Set(['200 cancelled']));
    expect((await toldOf(purchase)).filter((type) => type === 'payments.purchase_cancelled')).toHaveLength(1);
  });

  test('a payment link that nobody has touched is cancelled without asking the provider', async () => {
    const purchase = await shop.buy(customer, { type: 'payment_link' });
    shop.omise.fault({ api: 'unauthorized' });
    expect(await cancel(purchase)).toMatchObject({ status: 200, body: { status: 'cancelled' } });
  });

  test('one that has failed has failed', async () => {
    const purchase = await shop.buy(customer);
    shop.omise.fail(shop.chargeOf(purchase), 'payment_cancelled');
    await eventually(
      () => read(purchase),
      ({ status }) => status === 'failed',
    );
    expect(await cancel(purchase)).toMatchObject({ status: 409, body: { code: 'conflict' } });
    expect(await read(purchase)).toMatchObject({ status: 'failed', failure: { code: 'payment_cancelled' } });
  });

  test('somebody else’s purchase is not there', async () => {
    const purchase = await shop.buy(customer);
    const stranger = await newCustomer(shop.farebox);
    expect((await cancel(purchase, stranger)).status).toBe(404);
    expect((await read(purchase)).status).toBe('pending');
  });
});

describe('cancelling against paying', () => {
  test('paid a moment before, not yet told: the provider decides, and the credits are there', async () => {
    shop.omise.fault({ webhook: 'drop' });
    const purchase = await shop.buy(customer);
    shop.omise.pay(shop.chargeOf(purchase));
    expect(await cancel(purchase)).toMatchObject({ status: 409, body: { status: 409, code: 'conflict' } });
    expect((await read(purchase)).status).toBe('completed');
    expect(await shop.booked(purchase)).toEqual(ONCE);
  });

  test('at the same moment, again and again: either cancelled and unpaid, or paid and credited', async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 30 }, async (_, n) => {
        const purchase = await shop.buy(customer);
        const id = shop.chargeOf(purchase);
        const paying = async () => {
          await new Promise((resolve) => setTimeout(resolve, n * 20));
          try {
            shop.omise.pay(id);
          } catch {} // it is over: the cancellation was first
        };
        // One of each order for certain, whatever the machine's speed makes of the others.
        if (n === 0) await paying().then(() => cancel(purchase));
        else if (n === 1) await cancel(purchase).then(paying);
        else await Promise.all([paying(), cancel(purchase)]);
        const isPaid = shop.omise.charge(id)['status'] === 'successful';
        const { status } = await eventually(
          () => read(purchase),
          (one) => one.status === (isPaid ? 'completed' : 'cancelled'),
        );
        expect(await shop.booked(purchase)).toEqual(isPaid ? ONCE : NOTHING);
        return status;
      }),
    );
    expect(new Set(outcomes).size, 'both orders were seen').toBe(2);
  });

  test('paid after all, as banks do: credited', async () => {
    const purchase = await shop.buy(customer);
    await cancel(purchase);
    shop.omise.mutate(shop.chargeOf(purchase), { data: 'paid_after_expiry' });
    await eventually(
      () => read(purchase),
      ({ status }) => status === 'completed',
    );
    expect(await shop.booked(purchase)).toEqual(ONCE);
    expect(await cancel(purchase)).toMatchObject({ status: 409 });
  });
});

describe('cancelling when the provider is difficult', () => {
  test('it cannot be reached: nothing is cancelled, and the same request works later', async () => {
    const purchase = await shop.buy(customer);
    shop.omise.fault({ api: 'unauthorized' });
    const refused = await cancel(purchase);
    expect(refused).toMatchObject({ status: 503, body: { code: 'provider_unavailable' } });
    expect(refused.headers.get('retry-after')).not.toBeNull();
    expect((await read(purchase)).status).toBe('pending');
    shop.omise.clearFaults();
    expect(await cancel(purchase)).toMatchObject({ status: 200, body: { status: 'cancelled' } });
  });

  test('it ends the charge and its answer is lost: cancelled', async () => {
    shop.omise.fault({ api: 'cut_in_body', path: '/charges/:id/expire', times: 1 });
    const purchase = await shop.buy(customer);
    expect(await cancel(purchase)).toMatchObject({ status: 200, body: { status: 'cancelled' } });
  });

  test('its answer and our look at it are lost, and its notification was first: the repeat cancels', async () => {
    const purchase = await shop.buy(customer);
    const id = shop.chargeOf(purchase);
    shop.omise.fault({ api: 'reset_after_execution', path: '/charges/:id/expire', times: 1 });
    const rule = shop.omise.fault({ api: 'unauthorized', method: 'GET', path: `/charges/${id}` });
    expect((await cancel(purchase)).status).toBe(503);
    shop.omise.clearFaults(rule);
    await shop.operator.ok('POST', `/v1/admin/purchases/${purchase.id}/converge`);
    expect((await read(purchase)).status).toBe('expired');
    expect(await cancel(purchase)).toMatchObject({ status: 200, body: { status: 'cancelled' } });
  });

  test('it does not let go of a payment that is under way: a conflict, not a promise that it will work later', async () => {
    const purchase = await shop.buy(customer, { type: 'card', token: await shop.token() });
    // Authorised and not captured: not to be ended by us.
    const id = shop.chargeOf(purchase);
    shop.omise.expire(id);
    shop.omise.mutate(id, { data: 'disguise', set: { status: 'pending', expired: false } });
    expect(await cancel(purchase)).toMatchObject({ status: 409, body: { code: 'conflict' } });
    expect((await read(purchase)).status).toBe('pending');
  });

  test('nobody knows yet whether a charge was made: wait', async () => {
    shop.omise.fault({ api: 'reset_after_execution', method: 'POST', path: '/charges', times: 1 });
    shop.omise.fault({ webhook: 'drop' });
    const purchase = await shop.buy(customer);
    const reply = await cancel(purchase);
    expect(reply).toMatchObject({ status: 409, body: { code: 'request_in_flight' } });
    expect(Number(reply.headers.get('retry-after'))).toBeGreaterThan(0);
  });
});
