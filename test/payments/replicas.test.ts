import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, clientOf, eventually, type Json, newCustomer } from '../harness/client.ts';
import { startFarebox, type TestFarebox } from '../harness/farebox.ts';
import { CREDITS, openShop, type Shop } from './shop.ts';

let shop: Shop;
/** A second process on the same database, with the same provider, as far as it can tell. */
let second: TestFarebox;
let customer: Client;
let there: Client;

beforeAll(async () => {
  shop = await openShop();
  second = await startFarebox({ database: shop.farebox.database, omise: shop.farebox.omise });
  customer = await newCustomer(shop.farebox);
  // An access token is for one address; an API key is for the account.
  const key = await customer.ok('POST', '/v1/api-keys', {
    body: { name: 'both', scopes: ['read', 'purchases:write'] },
  });
  there = clientOf(second.url, { token: key.key });
});
afterAll(async () => {
  await second.stop();
  await shop.stop();
});

const ONCE = { times: 1, credits: CREDITS };
/** As clients do it: who is told to come back later, because there is too much at once, comes with the same key. */
const order = (who: Client, key: string) =>
  eventually(
    () => who.call('POST', '/v1/purchases', { key, body: { package_id: shop.pack.id, method: { type: 'promptpay' } } }),
    ({ status: made }) => made !== 503,
  );
const status = async (purchase: Json) => (await customer.ok('GET', `/v1/purchases/${purchase.id}`)).status;
const completed = (purchase: Json) =>
  eventually(
    () => status(purchase),
    (now) => now === 'completed',
  );

describe('two replicas, both at work', () => {
  // REQ E3.3 E7.1
  test('forty payments whose notifications come to both, twice each: each is credited once', async () => {
    shop.omise.fault({ webhook: 'duplicate', deliveries: 2 });
    const purchases = await Promise.all(
      Array.from({ length: 40 }, (_, n) => order(n % 2 ? customer : there, randomUUID())),
    );
    const bought = purchases.map(({ status: made, body }) => {
      expect(made).toBe(201);
      return body as Json;
    });
    const reads = bought.map((purchase) => shop.countReads(shop.chargeOf(purchase)));
    for (const [n, purchase] of bought.entries()) {
      // Half of them are told to the one, half to the other.
      shop.omise.account({ webhook_uri: `${n % 2 ? shop.farebox.url : second.url}/v1/webhooks/omise` });
      shop.omise.pay(shop.chargeOf(purchase));
    }
    await Promise.all(bought.map(completed));
    await shop.omise.settled();
    for (const purchase of bought) {
      expect(await shop.booked(purchase)).toEqual(ONCE);
      expect(await shop.differencesOf(purchase)).toEqual([]);
    }
    const most = Math.max(...reads.map((count) => count()));
    expect(most, 'reads of one charge').toBeLessThanOrEqual(4);
    shop.omise.clearFaults();
  });

  // REQ E7.2
  test('forty payments of which nobody is told: both pollers and sweeps at once, each credited once', async () => {
    shop.omise.fault({ webhook: 'drop' });
    const bought: Json[] = (await Promise.all(Array.from({ length: 40 }, () => order(customer, randomUUID())))).map(
      ({ body }) => body,
    );
    const reads = bought.map((purchase) => shop.countReads(shop.chargeOf(purchase)));
    for (const purchase of bought) shop.omise.pay(shop.chargeOf(purchase));
    await Promise.all(bought.map((purchase) => shop.age(purchase, 16)));
    await Promise.all(bought.map(completed));
    for (const purchase of bought) expect(await shop.booked(purchase)).toEqual(ONCE);
    expect(Math.max(...reads.map((count) => count())), 'one of them takes it').toBeLessThanOrEqual(2);
    shop.omise.clearFaults();
  });

  // REQ E7.1
  test('one key at both at once, ten times each: one purchase, one charge', async () => {
    shop.omise.fault({ api: 'latency', ms: 100, method: 'POST', path: '/charges' });
    const key = randomUUID();
    const replies = await Promise.all(Array.from({ length: 20 }, (_, n) => order(n % 2 ? customer : there, key)));
    expect(new Set(replies.map((reply) => reply.status))).toEqual(new Set([201, 409]));
    const ids = new Set(replies.filter((reply) => reply.status === 201).map(({ body }) => body.id));
    expect(ids.size).toBe(1);
    expect(shop.chargesOf({ id: [...ids][0] })).toHaveLength(1);
    shop.omise.clearFaults();
  });

  test('started at the one, paid, and looked at and cancelled at the other: one truth', async () => {
    const { body: purchase } = await order(customer, randomUUID());
    shop.omise.fault({ webhook: 'drop' });
    shop.omise.pay(shop.chargeOf(purchase));
    const reply = await there.post(`/v1/purchases/${purchase.id}/cancel`);
    expect(reply).toMatchObject({ status: 409, body: { status: 409, code: 'conflict' } });
    expect(await status(purchase)).toBe('completed');
    expect(await shop.booked(purchase)).toEqual(ONCE);
    shop.omise.clearFaults();
  });
});
