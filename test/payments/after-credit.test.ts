import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, type Json, newCustomer } from '../harness/client.ts';
import { CREDITS, type Hands, handsOf, openShop, type Shop } from './shop.ts';

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
  for (const name of ['webhook-inbox', 'event-sweep', 'reconcile', 'subscriptions', 'refund-sightings'])
    await hands.run(name);
}

async function completed(): Promise<Json> {
  const purchase = await shop.buy(customer, { type: 'card', token: await shop.token() });
  shop.omise.pay(shop.chargeOf(purchase));
  await lookEverywhere();
  expect(await status(purchase)).toBe('completed');
  return purchase;
}

/** What no provider should do to a payment whose credits are granted. (Refunds and disputes: `test/refunds/elsewhere.test.ts`.) */
const afterwards: [string, string, (id: string) => unknown][] = [
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
