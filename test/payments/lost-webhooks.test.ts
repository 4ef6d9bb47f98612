import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, clientOf, eventually, type Json, newCustomer } from '../harness/client.ts';
import { passOn, startCannedProvider } from './canned-provider.ts';
import { CREDITS, type Hands, handsOf, openShop, type Shop, uuidOf } from './shop.ts';

let shop: Shop;
let hands: Hands;
let customer: Client;

beforeAll(async () => {
  shop = await openShop({ env: { WORKERS: 'off' } });
  hands = await handsOf(shop.farebox);
  customer = await newCustomer(shop.farebox);
  shop.omise.fault({ webhook: 'drop' });
});
afterAll(async () => {
  await hands.close();
  await shop.stop();
});

const status = async (purchase: Json) => (await customer.ok('GET', `/v1/purchases/${purchase.id}`)).status;
const ONCE = { times: 1, credits: CREDITS };

/** Three purchases that are paid, and one each that failed, expired and waits. */
async function aDayOfTrade() {
  const buy = () => shop.buy(customer);
  const trade = {
    paid: [await buy(), await buy(), await buy()],
    failed: await buy(),
    expired: await buy(),
    open: await buy(),
  };
  for (const purchase of trade.paid) shop.omise.pay(shop.chargeOf(purchase));
  shop.omise.fail(shop.chargeOf(trade.failed), 'insufficient_balance');
  shop.omise.expire(shop.chargeOf(trade.expired));
  return trade;
}

async function expectAllRight(trade: Awaited<ReturnType<typeof aDayOfTrade>>) {
  for (const purchase of trade.paid) {
    expect(await status(purchase)).toBe('completed');
    expect(await shop.booked(purchase)).toEqual(ONCE);
  }
  expect(await customer.ok('GET', `/v1/purchases/${trade.failed.id}`)).toMatchObject({
    status: 'failed',
    failure: { code: 'insufficient_balance', message: 'insufficient funds in the account' },
  });
  expect(await status(trade.expired)).toBe('expired');
  expect(await status(trade.open)).toBe('pending');
}

describe('when every notification is lost', () => {
  // REQ E7.2 E2.5
  test('the poller alone completes what was paid', async () => {
    const trade = await aDayOfTrade();
    await hands.run('attempt-poll');
    expect(await status(trade.paid[0]), 'nobody looks before its time').toBe('pending');
    for (const purchase of Object.values(trade).flat()) await shop.age(purchase, 16);
    await hands.run('attempt-poll');
    await expectAllRight(trade);
  });

  // REQ E7.2
  test('the sweep of events alone completes what was paid', async () => {
    const trade = await aDayOfTrade();
    await hands.run('event-sweep');
    await expectAllRight(trade);
  });

  // REQ E7.2
  test('the comparison of the books alone completes what was paid', async () => {
    const trade = await aDayOfTrade();
    await hands.run('reconcile');
    await expectAllRight(trade);
    expect(await shop.differencesOf(trade.paid[0])).toEqual([]);
  });

  // REQ E3.3
  test('all of them at once, twice, complete it once', async () => {
    const other = await handsOf(shop.farebox);
    const trade = await aDayOfTrade();
    for (const purchase of Object.values(trade).flat()) await shop.age(purchase, 16);
    const names = ['attempt-poll', 'event-sweep', 'reconcile', 'purchase-expiry', 'webhook-inbox'];
    for (let round = 0; round < 2; round += 1) {
      await Promise.all(names.flatMap((name) => [hands.run(name), other.run(name)]));
    }
    await expectAllRight(trade);
    await other.close();
  });

  test('the customer’s way back from the provider completes it, and so does an operator who looks', async () => {
    const token = await shop.token();
    const [visited, looked] = [
      await shop.buy(customer, { type: 'card', token }),
      await shop.buy(customer, { type: 'truemoney', phone_number: '0812345678' }),
    ];
    for (const purchase of [visited, looked]) shop.omise.pay(shop.chargeOf(purchase));
    const back = new URL(shop.chargesOf(visited)[0].return_uri);
    expect((await clientOf(back.origin).get(back.pathname)).status).toBe(303);
    expect(await status(visited)).toBe('completed');
    const seen = await shop.operator.ok('POST', `/v1/admin/purchases/${looked.id}/converge`);
    expect(seen.status).toBe('completed');
    for (const purchase of [visited, looked]) expect(await shop.booked(purchase)).toEqual(ONCE);
  });
});

describe('when a pending charge is looked at', () => {
  const due = async (purchase: Json) => {
    const [row] = await shop.sql`
      select extract(epoch from next_check_at - created_at)::float8 as age, extract(epoch from next_check_at - now())::float8 as pause
      from payments.charges where purchase_id = ${uuidOf(purchase.id)}`;
    return { age: Math.round(row?.['age']), pause: Math.round(row?.['pause']) };
  };
  const look = (purchase: Json) => shop.operator.ok('POST', `/v1/admin/purchases/${purchase.id}/converge`);

  test('at 15 seconds, 1, 5 and 15 minutes, then hourly', async () => {
    const purchase = await shop.buy(customer);
    expect(await due(purchase)).toMatchObject({ age: 15 });
    for (const [after, next] of [
      [16, 60],
      [45, 300],
      [240, 900],
    ] as const) {
      await shop.age(purchase, after);
      await hands.run('attempt-poll');
      expect(await due(purchase)).toMatchObject({ age: next });
    }
    for (const hours of [1, 1, 30]) {
      await shop.age(purchase, hours * 3601);
      await hands.run('attempt-poll');
      expect((await due(purchase)).pause).toBeGreaterThan(3590);
      expect((await due(purchase)).pause).toBeLessThanOrEqual(3600);
    }
  });

  test('looking often, by hand or for notifications, does not put off the next look', async () => {
    const purchase = await shop.buy(customer);
    for (let n = 0; n < 6; n += 1) await look(purchase);
    expect(await due(purchase)).toMatchObject({ age: 15 });
  });

  test('a charge that is over is not looked at again', async () => {
    const purchase = await shop.buy(customer);
    shop.omise.pay(shop.chargeOf(purchase));
    await look(purchase);
    const [row] = await shop.sql`
      select next_check_at, state from payments.charges where purchase_id = ${uuidOf(purchase.id)}`;
    expect(row).toEqual({ next_check_at: null, state: 'successful' });
  });

  test('a provider that is away is asked again in a minute, and nothing is concluded from it', async () => {
    const purchase = await shop.buy(customer);
    await shop.age(purchase, 16);
    const rule = shop.omise.fault({ api: 'server_error', path: `/charges/${shop.chargeOf(purchase)}` });
    await hands.run('attempt-poll');
    expect(await status(purchase)).toBe('pending');
    expect((await due(purchase)).pause).toBeGreaterThan(50);
    shop.omise.clearFaults(rule);
    shop.omise.pay(shop.chargeOf(purchase));
    await shop.age(purchase, 60);
    await hands.run('attempt-poll');
    expect(await status(purchase)).toBe('completed');
  });

  test('a charge that the provider denies is a difference, once, and is asked about by the hour', async () => {
    const purchase = await shop.buy(customer);
    await shop.sql`
      update payments.charges set charge_id = 'chrg_test_5deniedbyall' where charge_id = ${shop.chargeOf(purchase)}`;
    await shop.age(purchase, 16);
    await hands.run('attempt-poll');
    expect(await shop.differencesOf(purchase)).toEqual(['missing_at_provider']);
    expect((await due(purchase)).pause).toBeGreaterThan(3500);
    await shop.age(purchase, 3601);
    await hands.run('attempt-poll');
    const trail = await shop.operator.ok('GET', `/v1/admin/purchases/${purchase.id}`);
    expect(trail.history.filter(({ what }: Json) => what === 'missing_at_provider')).toHaveLength(1);
    expect(trail.status).toBe('pending');
  });
});

describe('a Farebox at work whose notifications are all lost', () => {
  // REQ E2.5 E7.2
  test('reads a card payment back at once when the provider took it at once', async () => {
    const provider = await startCannedProvider();
    const working = await openShop({ env: { OMISE_URL: provider.url } });
    // Nothing but the poller can find it.
    working.omise.fault({ webhook: 'drop' });
    for (const path of ['/events', '/charges']) working.omise.fault({ api: 'unauthorized', method: 'GET', path });
    // Without 3-D Secure there is no page to come back from: the answer to the create call says `successful`.
    provider.says = passOn(working.farebox.omise.url, ({ id }) => working.omise.pay(id));
    const buyer = await newCustomer(working.farebox);
    const purchase = await working.buy(buyer, { type: 'card', token: await working.token() });
    expect(purchase.status, 'not credited from that answer').toBe('pending');
    await eventually(
      () => buyer.ok('GET', `/v1/purchases/${purchase.id}`),
      (one) => one.status === 'completed',
      8_000,
    );
    expect(await working.booked(purchase)).toEqual(ONCE);
    await working.stop();
    await provider.close();
  });
});
