import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Client, eventually, type Json, newCustomer } from '../harness/client.ts';
import { CREDITS, openShop, PRICE, type Shop } from './shop.ts';
import { eventAbout, post, sealed } from './webhook.ts';

let shop: Shop;
let customer: Client;

beforeAll(async () => {
  shop = await openShop();
  customer = await newCustomer(shop.farebox);
});
afterAll(() => shop.stop());
beforeEach(() => shop.omise.clearFaults());

const status = async (purchase: Json) => (await customer.ok('GET', `/v1/purchases/${purchase.id}`)).status;
const completed = (purchase: Json) =>
  eventually(
    () => status(purchase),
    (now) => now === 'completed',
  );

/** Everything that has come in about the purchase has been worked off. */
const quiet = async (purchase: Json) => {
  await shop.omise.settled();
  const [charge] = shop.chargesOf(purchase);
  await eventually(
    () => shop.sql`select 1 from payments.webhook_inbox where charge_id = ${charge.id} and state = 'received'`,
    (rows) => rows.length === 0,
  );
};

describe('notifications of a payment', () => {
  // REQ E2.2 E2.5 E3.1 E3.2 E3.5
  test('a purchase is pending until the payment was read back, then its credits are there', async () => {
    const before = await customer.ok('GET', '/v1/credits/balance');
    const purchase = await shop.buy(customer);
    expect(purchase).toMatchObject({ status: 'pending', credits: CREDITS, price: PRICE, currency: 'THB' });
    const reads = shop.countReads(shop.chargeOf(purchase));
    shop.omise.pay(shop.chargeOf(purchase));
    await completed(purchase);
    expect(reads()).toBeGreaterThan(0);
    const after = await customer.ok('GET', '/v1/credits/balance');
    expect(after.available - before.available).toBe(CREDITS);
    expect(await shop.booked(purchase)).toEqual({ times: 1, credits: CREDITS });
  });

  // REQ E3.3
  test('delivered a hundred times it grants once, and costs the provider a handful of reads', async () => {
    shop.omise.fault({ webhook: 'duplicate', deliveries: 100, key: 'charge.complete' });
    const purchase = await shop.buy(customer);
    await quiet(purchase);
    const reads = shop.countReads(shop.chargeOf(purchase));
    shop.omise.pay(shop.chargeOf(purchase));
    await completed(purchase);
    await quiet(purchase);
    expect(await shop.booked(purchase)).toEqual({ times: 1, credits: CREDITS });
    expect(reads()).toBeLessThanOrEqual(2);
  });

  // REQ E3.3
  test('a hundred different events about one payment grant once', async () => {
    shop.omise.fault({ webhook: 'drop' });
    const purchase = await shop.buy(customer);
    const charge = shop.omise.pay(shop.chargeOf(purchase));
    const replies = await Promise.all(
      Array.from({ length: 100 }, (_, n) =>
        post(shop.farebox, eventAbout(charge, n % 2 === 0 ? 'charge.complete' : 'charge.update')),
      ),
    );
    expect(new Set(replies.map((reply) => reply.status))).toEqual(new Set([200]));
    await completed(purchase);
    await quiet(purchase);
    expect(await shop.booked(purchase)).toEqual({ times: 1, credits: CREDITS });
    expect(await shop.differencesOf(purchase)).toEqual([]);
  });

  test('whatever the order in which they arrive, the credits are granted once', async () => {
    shop.omise.fault({ webhook: 'drop' });
    const orders = [
      [0, 1, 2],
      [0, 2, 1],
      [1, 0, 2],
      [1, 2, 0],
      [2, 0, 1],
      [2, 1, 0],
    ];
    await Promise.all(
      orders.map(async (order) => {
        const purchase = await shop.buy(customer);
        const pending = shop.omise.charge(shop.chargeOf(purchase));
        const paid = shop.omise.pay(shop.chargeOf(purchase));
        const events = [
          eventAbout(pending, 'charge.create'),
          eventAbout(paid, 'charge.complete'),
          eventAbout({ ...pending, status: 'failed' }, 'charge.complete'),
        ];
        for (const index of order) expect((await post(shop.farebox, events[index])).status).toBe(200);
        await completed(purchase);
        await quiet(purchase);
        expect(await shop.booked(purchase), order.join()).toEqual({ times: 1, credits: CREDITS });
      }),
    );
  });

  test('one that waits for a later one, and one that comes late, change nothing', async () => {
    shop.omise.fault({ webhook: 'reorder', key: 'charge.create' });
    shop.omise.fault({ webhook: 'delay', ms: 300, key: 'charge.complete' });
    const purchase = await shop.buy(customer);
    shop.omise.pay(shop.chargeOf(purchase));
    await completed(purchase);
    await quiet(purchase);
    expect(await shop.booked(purchase)).toEqual({ times: 1, credits: CREDITS });
  });

  test('one that overtakes the answer to our own call finds the purchase by its secret attempt', async () => {
    const { purchase, seen } = await whileCreating(async (charge, known) => {
      await post(shop.farebox, eventAbout(charge, 'charge.create'));
      return eventually(
        () => shop.sql`select state from payments.charges where charge_id = ${charge.id}`,
        (rows) => rows.length === 1 && known === 'pending',
      );
    });
    expect(seen).toEqual([{ state: 'pending' }]);
    expect(purchase.status).toBe('pending');
    expect(shop.chargesOf(purchase)).toHaveLength(1);
    shop.omise.pay(shop.chargeOf(purchase));
    await completed(purchase);
    expect(await shop.booked(purchase)).toEqual({ times: 1, credits: CREDITS });
  });

  test('paid while our own call is still waiting for its answer: credited once, and the reply says so', async () => {
    const { purchase } = await whileCreating(async (charge) => {
      await post(shop.farebox, eventAbout(shop.omise.pay(charge.id)));
      return eventually(
        () => shop.sql`select state from payments.charges where charge_id = ${charge.id} and state = 'successful'`,
        (rows) => rows.length === 1,
      );
    });
    expect(purchase.status).toBe('completed');
    await quiet(purchase);
    expect(await shop.booked(purchase)).toEqual({ times: 1, credits: CREDITS });
    const [attempt] =
      await shop.sql`select state, next_check_at from payments.charges where charge_id = ${shop.chargeOf(purchase)}`;
    expect(attempt, 'the late answer does not open it again').toEqual({ state: 'successful', next_check_at: null });
  });

  // REQ E3.3
  test('an old event, sent again with a fresh signature, is known by its id', async () => {
    const purchase = await shop.buy(customer);
    shop.omise.pay(shop.chargeOf(purchase));
    await completed(purchase);
    await quiet(purchase);
    const reads = shop.countReads(shop.chargeOf(purchase));
    expect(shop.omise.replayWebhooks({ charge: shop.chargeOf(purchase) })).toBe(2);
    await quiet(purchase);
    expect(reads()).toBe(0);
    expect(await shop.booked(purchase)).toEqual({ times: 1, credits: CREDITS });
  });

  test('the signature is over the bytes as they came, however the JSON is written', async () => {
    shop.omise.fault({ webhook: 'drop' });
    const purchase = await shop.buy(customer);
    const charge = shop.omise.pay(shop.chargeOf(purchase));
    const text = `\n\t${JSON.stringify(eventAbout(charge), null, 7).replace('charge.complete', 'charge\\u002ecomplete')}  \n`;
    expect((await post(shop.farebox, text, sealed(text))).status).toBe(200);
    await completed(purchase);
  });
});

/** Does something while the provider has made the charge and not yet answered the call that made it. */
async function whileCreating(work: (charge: Json, status: string) => Promise<Json>): Promise<Json> {
  let seen: Json;
  const receiver = createServer(async (request, response) => {
    const { key, data } = (await json(request)) as Json;
    if (key === 'charge.create') seen = await work(data, data.status).finally(() => response.end());
    else response.end();
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  const usual = shop.omise.account().webhook_uri;
  shop.omise.account({ webhook_uri: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/` });
  const rule = shop.omise.fault({ webhook: 'before_answer', key: 'charge.create', times: 1 });
  try {
    return { purchase: await shop.buy(customer), seen };
  } finally {
    shop.omise.clearFaults(rule);
    shop.omise.account({ webhook_uri: usual });
    receiver.close();
  }
}
