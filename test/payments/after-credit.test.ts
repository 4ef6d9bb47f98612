import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, type Json, newCustomer } from '../harness/client.ts';
import { CREDITS, type Hands, handsOf, openShop, type Shop, uuidOf } from './shop.ts';

let shop: Shop;
let hands: Hands;
let customer: Client;

beforeAll(async () => {
  shop = await openShop({ env: { WORKERS: 'off' } });
  hands = await handsOf(shop.farebox);
  customer = await newCustomer(shop.farebox);
});
afterAll(async () => {
  await hands.close();
  await shop.stop();
});

const ONCE = { times: 1, credits: CREDITS };
const status = async (purchase: Json) => (await customer.ok('GET', `/v1/purchases/${purchase.id}`)).status;

async function lookEverywhere() {
  await shop.omise.settled();
  for (const name of ['webhook-inbox', 'event-sweep', 'reconcile', 'webhook-inbox']) await hands.run(name);
}

async function completed(): Promise<Json> {
  const purchase = await shop.buy(customer, { type: 'card', token: await shop.token() });
  shop.omise.pay(shop.chargeOf(purchase));
  await lookEverywhere();
  expect(await status(purchase)).toBe('completed');
  return purchase;
}

/** What people at the provider's dashboard, and card holders' banks, do to a payment whose credits are granted. */
const afterwards: [string, string, (id: string) => unknown][] = [
  ['refunded in part', 'refunded_after_credit', (id) => shop.omise.refund(id, { amount: 10_000 })],
  ['refunded whole', 'refunded_after_credit', (id) => shop.omise.refund(id)],
  ['voided', 'voided_after_credit', (id) => shop.omise.mutate(id, { data: 'disguise', set: { voided: true } })],
  ['disputed', 'disputed_after_credit', (id) => shop.omise.dispute(id)],
  [
    'shown as reversed',
    'reversed_after_credit',
    (id) => shown(id, { status: 'reversed', paid: false, reversed: true }),
  ],
  ['shown as failed', 'reversed_after_credit', (id) => shown(id, { status: 'failed', paid: false })],
  ['shown for another amount', 'wrong_amount_after_credit', (id) => shown(id, { amount: 50_001 })],
  ['shown as captured in part', 'partial_capture_after_credit', (id) => shown(id, { captured_amount: 1 })],
];
const shown = (id: string, set: Json) => shop.omise.mutate(id, { data: 'disguise', set });

describe('a payment that is undone after its credits were granted', () => {
  // REQ E7.2 E8.3
  test.each(afterwards)(
    '%s: a difference, told once; the purchase is not left and not credited again',
    async (_name, kind, undo) => {
      const purchase = await completed();
      const id = shop.chargeOf(purchase);
      undo(id);
      await lookEverywhere();
      await lookEverywhere();
      await shop.operator.ok('POST', `/v1/admin/purchases/${purchase.id}/converge`);
      expect(await status(purchase)).toBe('completed');
      expect(await shop.booked(purchase)).toEqual(ONCE);
      expect(await shop.differencesOf(purchase)).toEqual([kind]);
      const { history } = await shop.operator.ok('GET', `/v1/admin/purchases/${purchase.id}`);
      expect(history.filter(({ what }: Json) => what === kind)).toEqual([expect.objectContaining({ charge_id: id })]);
      expect(await shop.alarmsAbout(id)).toEqual(['security.payment_review']);
    },
  );

  test('a second refund, after the first one was dealt with, is told again', async () => {
    const purchase = await completed();
    const id = shop.chargeOf(purchase);
    const look = async () => {
      await lookEverywhere();
      const [row] = await shop.sql`
        select detail, resolved_at is null as open from payments.differences where purchase_id = ${uuidOf(purchase.id)}`;
      return { refunded: row?.['detail'].refunded_amount, open: row?.['open'] };
    };
    const deal = () =>
      shop.operator.ok('POST', '/v1/admin/differences/resolve', {
        body: { kind: 'refunded_after_credit', reference: id, reason: 'credits were taken back by hand' },
      });
    shop.omise.refund(id, { amount: 10_000 });
    expect(await look()).toEqual({ refunded: 10_000, open: true });
    await deal();
    expect(await look(), 'dealt with').toEqual({ refunded: 10_000, open: false });
    shop.omise.refund(id, { amount: 5_000 });
    expect(await look()).toEqual({ refunded: 15_000, open: true });
    await deal();
    expect(await look()).toEqual({ refunded: 15_000, open: false });
    expect(await shop.booked(purchase)).toEqual(ONCE);
  });

  test('a dispute after a refund that was dealt with is told, too', async () => {
    const purchase = await completed();
    const id = shop.chargeOf(purchase);
    shop.omise.refund(id, { amount: 10_000 });
    await lookEverywhere();
    await shop.operator.ok('POST', '/v1/admin/differences/resolve', {
      body: { kind: 'refunded_after_credit', reference: id, reason: 'credits were taken back by hand' },
    });
    shop.omise.dispute(id);
    await lookEverywhere();
    const { data } = await shop.operator.ok('GET', '/v1/admin/differences');
    expect(data.filter(({ reference }: Json) => reference === id)).toMatchObject([
      { detail: { refunded_amount: 10_000, disputed: true } },
    ]);
  });

  test('a dispute that was won leaves the purchase as it is', async () => {
    const purchase = await completed();
    shop.omise.dispute(shop.chargeOf(purchase));
    shop.omise.closeDispute(shop.chargeOf(purchase), 'won');
    await lookEverywhere();
    expect(await shop.differencesOf(purchase)).toEqual([]);
    expect(await shop.booked(purchase)).toEqual(ONCE);
  });
});

describe('a payment that arrives late', () => {
  // REQ E7.2
  test('after the provider had called it expired: credited', async () => {
    const purchase = await shop.buy(customer);
    const id = shop.chargeOf(purchase);
    shop.omise.expire(id);
    await lookEverywhere();
    expect(await status(purchase)).toBe('expired');
    shop.omise.mutate(id, { data: 'paid_after_expiry' });
    await lookEverywhere();
    expect(await status(purchase)).toBe('completed');
    expect(await shop.booked(purchase)).toEqual(ONCE);
    expect(await shop.differencesOf(purchase)).toEqual([]);
  });

  test('after our own day was over: our clock had not closed it, and it is credited', async () => {
    const purchase = await shop.buy(customer);
    await shop.age(purchase, 90_000);
    await hands.run('purchase-expiry');
    expect(await status(purchase), 'only the provider can say that it is unpaid').toBe('pending');
    shop.omise.pay(shop.chargeOf(purchase));
    await lookEverywhere();
    expect(await status(purchase)).toBe('completed');
  });

  test('a purchase without anything at the provider is given up after its day, though others wait', async () => {
    // More than one round takes, all older, all with a charge that lives on.
    const waiting = await Promise.all(Array.from({ length: 21 }, () => shop.buy(customer)));
    for (const purchase of waiting) await shop.age(purchase, 200_000);
    const untouched = await shop.buy(customer, { type: 'payment_link' });
    await hands.run('purchase-expiry');
    expect(await status(untouched)).toBe('pending');
    await shop.age(untouched, 86_401);
    await hands.run('purchase-expiry');
    expect(await customer.ok('GET', `/v1/purchases/${untouched.id}`)).toMatchObject({
      status: 'expired',
      failure: { code: 'not_paid' },
    });
    for (const purchase of waiting) expect(await status(purchase)).toBe('pending');
  });

  test('a failed purchase whose payment succeeded after all is credited, and its failure is forgotten', async () => {
    const purchase = await shop.buy(customer);
    const id = shop.chargeOf(purchase);
    shop.omise.mutate(id, { data: 'disguise', set: { status: 'failed', failure_code: 'failed_processing' } });
    await lookEverywhere();
    expect(await status(purchase)).toBe('failed');
    shop.omise.mutate(id, { data: 'truth' });
    shop.omise.pay(id);
    await lookEverywhere();
    expect(await customer.ok('GET', `/v1/purchases/${purchase.id}`)).toMatchObject({
      status: 'completed',
      failure: null,
    });
    expect(await shop.booked(purchase)).toEqual(ONCE);
  });
});
