import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ApiFault } from '../../sandbox/omise/faults/rules.ts';
import { type Client, type Json, newCustomer, type Reply } from '../harness/client.ts';
import { startProxy, type TcpProxy } from '../harness/tcp-proxy.ts';
import { passOn, startCannedProvider } from './canned-provider.ts';
import { CREDITS, type Hands, handsOf, openShop, type Shop, uuidOf } from './shop.ts';

const DEADLINE_MS = 500;
const ONCE = { times: 1, credits: CREDITS };

let shop: Shop;
let hands: Hands;
let customer: Client;

beforeAll(async () => {
  shop = await openShop({ env: { WORKERS: 'off', OMISE_DEADLINE_MS: String(DEADLINE_MS) } });
  hands = await handsOf(shop.farebox);
  customer = await newCustomer(shop.farebox);
});
afterAll(async () => {
  await hands.close();
  await shop.stop();
});
beforeEach(() => {
  shop.omise.clearFaults();
  shop.omise.fault({ webhook: 'drop' });
});

const buyWith = (key: string, method: Json = { type: 'promptpay' }): Promise<Reply> =>
  customer.call('POST', '/v1/purchases', { key, body: { package_id: shop.pack.id, method } });

/** A fault of the create call, once. */
const spoil = (fault: ApiFault) => shop.omise.fault({ ...fault, method: 'POST', path: '/charges', times: 1 });

const poll = () => hands.run('attempt-poll');
const attemptsOf = (purchase: Json) =>
  shop.sql`select state, charge_id from payments.charges where purchase_id = ${uuidOf(purchase.id)} order by created_at`;

async function payAndComplete(purchase: Json) {
  shop.omise.pay(shop.chargeOf(purchase));
  await shop.age(purchase, 4000);
  await poll();
  expect((await customer.ok('GET', `/v1/purchases/${purchase.id}`)).status).toBe('completed');
  expect(await shop.booked(purchase)).toEqual(ONCE);
}

/** The charge is made, and what we hear of it is one of these. */
const executed: [string, ApiFault][] = [
  ['a reset', { api: 'reset_after_execution' }],
  ['nothing, for ever', { api: 'hang' }],
  ['half a body, then nothing', { api: 'hang_in_body' }],
  ['half a body, then the end', { api: 'cut_in_body' }],
  ['a 500', { api: 'server_error', executed: true }],
  ['a 503', { api: 'server_error', status: 503, executed: true }],
  ['a page of HTML', { api: 'bad_gateway', executed: true }],
  ['no content', { api: 'no_content' }],
  ['null', { api: 'null_body' }],
];

describe('the charge was made and the answer is lost', () => {
  // REQ E7.1 E7.2
  test.each(executed)('%s: the charge is found, shown, paid and credited; there is only one', async (_name, fault) => {
    spoil(fault);
    const key = randomUUID();
    const begun = performance.now();
    const first = await buyWith(key);
    expect(performance.now() - begun).toBeLessThan(DEADLINE_MS + 1500);
    expect(first).toMatchObject({ status: 201, body: { status: 'pending', qr_url: null } });
    const purchase = first.body;
    expect(await buyWith(key), 'nobody knows yet').toMatchObject({ status: 409, body: { code: 'request_in_flight' } });

    await shop.age(purchase, 6);
    await poll();
    const second = await buyWith(key);
    expect(second).toMatchObject({ status: 201, body: { id: purchase.id, status: 'pending' } });
    expect(second.headers.get('idempotent-replayed')).toBe('true');
    expect(second.body.qr_url).toMatch(/\/qr$/);
    expect(shop.chargesOf(purchase)).toHaveLength(1);
    expect(await attemptsOf(purchase)).toEqual([{ state: 'pending', charge_id: shop.chargeOf(purchase) }]);
    await payAndComplete(purchase);
  });

  test('a true answer with the wrong content type is an answer', async () => {
    spoil({ api: 'wrong_content_type' });
    const { body: purchase } = await buyWith(randomUUID());
    expect(purchase.qr_url).toMatch(/\/qr$/);
    await payAndComplete(purchase);
  });

  test('an answer about another charge is none: ours is found by its attempt', async () => {
    const between = await startCannedProvider();
    const other = await shop.buy(customer);
    between.says = passOn(shop.farebox.omise.url, () => shop.omise.charge(shop.chargeOf(other)));
    const elsewhere = await openShop({ env: { WORKERS: 'off', OMISE_URL: between.url }, omise: shop.farebox.omise });
    const buyer = await newCustomer(elsewhere.farebox);
    const purchase = await elsewhere.buy(buyer);
    expect(purchase).toMatchObject({ status: 'pending', qr_url: null });
    const theirs = await handsOf(elsewhere.farebox);
    await elsewhere.age(purchase, 10);
    await theirs.run('attempt-poll');
    expect((await buyer.ok('GET', `/v1/purchases/${purchase.id}`)).qr_url).not.toBeNull();
    expect(elsewhere.chargesOf(purchase)).toHaveLength(1);
    await theirs.close();
    await elsewhere.stop();
    await between.close();
  });

  test('a card: the token is spent, and not asked for twice', async () => {
    spoil({ api: 'cut_in_body' });
    const [key, method] = [randomUUID(), { type: 'card', token: await shop.token() }];
    const { body: purchase } = await buyWith(key, method);
    await shop.age(purchase, 6);
    await poll();
    expect((await buyWith(key, method)).body.authorize_uri).toMatch(/\/authorize$/);
    await payAndComplete(purchase);
  });

  test('a charge that is there but cannot be read is not given up, and no second one is made', async () => {
    spoil({ api: 'reset_after_execution' });
    const key = randomUUID();
    const { body: purchase } = await buyWith(key);
    shop.omise.mutate(shop.chargeOf(purchase), { data: 'unknown_status' });
    for (const seconds of [6, 60, 120, 3000]) {
      await shop.age(purchase, seconds);
      await poll();
    }
    expect(await attemptsOf(purchase)).toEqual([{ state: 'creating', charge_id: null }]);
    await buyWith(key);
    expect(shop.chargesOf(purchase)).toHaveLength(1);
    shop.omise.mutate(shop.chargeOf(purchase), { data: 'truth' });
    await shop.age(purchase, 60);
    await poll();
    await payAndComplete(purchase);
  });

  test('paid before anybody found it: credited once it is found', async () => {
    spoil({ api: 'cut_in_body' });
    const { body: purchase } = await buyWith(randomUUID());
    shop.omise.pay(shop.chargeOf(purchase));
    await shop.age(purchase, 6);
    await poll();
    expect(await shop.booked(purchase)).toEqual(ONCE);
  });

  test('a hundred other charges were made meanwhile: it is found among them', async () => {
    spoil({ api: 'reset_after_execution' });
    const { body: purchase } = await buyWith(randomUUID());
    const others = await Promise.all(Array.from({ length: 105 }, () => shop.buy(customer)));
    await shop.age(purchase, 6);
    const before = shop.omise.calls()['GET /charges'] ?? 0;
    await poll();
    expect((await attemptsOf(purchase))[0]).toMatchObject({ state: 'pending' });
    expect((shop.omise.calls()['GET /charges'] ?? 0) - before).toBeLessThanOrEqual(2);
    expect(others).toHaveLength(105);
  });
});

describe('nothing was made, and nobody can know it', () => {
  test.each([
    ['a reset', { api: 'reset_before_execution' }],
    ['a 500', { api: 'server_error' }],
    ['a page of HTML', { api: 'bad_gateway' }],
    ['nothing, for ever', { api: 'hang', executed: false }],
    ['no content', { api: 'no_content', executed: false }],
  ] satisfies [string, ApiFault][])(
    '%s: two looks and two minutes later it is given up, and the same key makes the one charge',
    async (_name, fault) => {
      spoil(fault);
      const key = randomUUID();
      const { status, body: purchase } = await buyWith(key);
      expect(status).toBe(201);
      await shop.age(purchase, 6);
      await poll();
      expect(await attemptsOf(purchase), 'one look is not enough').toMatchObject([{ state: 'creating' }]);
      await shop.age(purchase, 31);
      await poll();
      expect(await attemptsOf(purchase), 'nor is half a minute').toMatchObject([{ state: 'creating' }]);
      await shop.age(purchase, 90);
      await poll();
      expect(await attemptsOf(purchase)).toMatchObject([{ state: 'abandoned' }]);
      const again = await buyWith(key);
      expect(again.body).toMatchObject({ id: purchase.id, status: 'pending' });
      expect(again.body.qr_url).not.toBeNull();
      expect(shop.chargesOf(purchase)).toHaveLength(1);
      await payAndComplete(purchase);
    },
  );

  test('a list that cannot be read proves nothing: the attempt is not given up', async () => {
    spoil({ api: 'reset_after_execution' });
    const { body: purchase } = await buyWith(randomUUID());
    const rule = shop.omise.fault({ api: 'unauthorized', method: 'GET', path: '/charges' });
    for (const seconds of [6, 200, 2000]) {
      await shop.age(purchase, seconds);
      await poll();
    }
    expect(await attemptsOf(purchase)).toMatchObject([{ state: 'creating' }]);
    shop.omise.clearFaults(rule);
    await shop.age(purchase, 60);
    await poll();
    await payAndComplete(purchase);
  });

  test('given up too early: the charge that turns up after all is credited, and a second payment told', async () => {
    spoil({ api: 'hang', executed: false });
    const key = randomUUID();
    const { body: purchase } = await buyWith(key);
    const [attempt] =
      await shop.sql`select attempt_id from payments.charges where purchase_id = ${uuidOf(purchase.id)}`;
    await shop.sql`update payments.charges set state = 'abandoned', next_check_at = null where purchase_id = ${uuidOf(purchase.id)}`;
    await buyWith(key);
    const late = String(shop.omise.mutate(shop.chargeOf(purchase), { data: 'twin' })['id']);
    const metadata = { attempt_id: attempt?.['attempt_id'], purchase_id: purchase.id };
    shop.omise.mutate(late, { data: 'metadata_spoofed', metadata });
    await hands.run('event-sweep');
    expect((await customer.ok('GET', `/v1/purchases/${purchase.id}`)).status).toBe('completed');
    const second = shop.chargesOf(purchase).find(({ id }) => id !== late)?.id;
    shop.omise.pay(second);
    await hands.run('event-sweep');
    expect(await shop.booked(purchase)).toEqual(ONCE);
    expect(await shop.differencesOf(purchase)).toEqual(['paid_twice']);
  });
});

describe('nothing was made, and that is certain', () => {
  // REQ E7.1 E9.2
  test.each([
    ['too many requests', { api: 'rate_limited' }],
    ['too many requests, without a body', { api: 'rate_limited', body: false }],
    ['a refused key', { api: 'unauthorized' }],
  ] satisfies [string, ApiFault][])(
    '%s: 503 with Retry-After, and the same key makes the one charge',
    async (_name, fault) => {
      spoil(fault);
      await expectRetry();
    },
  );

  test('a refused connection: 503, and the same key makes the one charge', async () => {
    const road = await startProxy({ target: { port: Number(new URL(shop.farebox.omise.url).port) } });
    const elsewhere = await openShop({
      env: { WORKERS: 'off', OMISE_URL: `http://127.0.0.1:${road.port}` },
      omise: shop.farebox.omise,
    });
    const buyer = await newCustomer(elsewhere.farebox);
    await expectRefusedRoad(elsewhere, buyer, road);
    await elsewhere.stop();
    await road.close();
  });

  async function expectRetry() {
    const key = randomUUID();
    const refused = await buyWith(key);
    expect(refused).toMatchObject({ status: 503, body: { code: 'provider_unavailable' } });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    const again = await buyWith(key);
    expect(again).toMatchObject({ status: 201, body: { status: 'pending' } });
    expect(again.body.qr_url).not.toBeNull();
    expect(shop.chargesOf(again.body)).toHaveLength(1);
    expect(await attemptsOf(again.body)).toMatchObject([{ state: 'abandoned' }, { state: 'pending' }]);
    await payAndComplete(again.body);
  }

  async function expectRefusedRoad(elsewhere: Shop, buyer: Client, road: TcpProxy) {
    road.refuse();
    road.resetAll();
    const [key, body] = [randomUUID(), { package_id: elsewhere.pack.id, method: { type: 'promptpay' } }];
    for (let n = 0; n < 3; n += 1) {
      const refused = await buyer.call('POST', '/v1/purchases', { key, body });
      expect(refused).toMatchObject({ status: 503, body: { code: 'provider_unavailable' } });
    }
    await road.pass();
    const again = await buyer.call('POST', '/v1/purchases', { key, body });
    expect(again.status).toBe(201);
    expect(elsewhere.chargesOf(again.body)).toHaveLength(1);
    expect((await buyer.ok('GET', '/v1/purchases')).data).toHaveLength(1);
  }
});

describe('one key, many requests', () => {
  // REQ E7.1
  test('twenty at once while the provider is slow: one purchase, one charge', async () => {
    shop.omise.fault({ api: 'latency', ms: 150, method: 'POST', path: '/charges' });
    const key = randomUUID();
    const replies = await Promise.all(Array.from({ length: 20 }, () => buyWith(key)));
    const made = replies.filter(({ status }) => status === 201);
    expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([201, 409]));
    expect(new Set(made.map(({ body }) => body.id)).size).toBe(1);
    for (const reply of replies.filter(({ status }) => status === 409)) {
      expect(reply.body.code).toBe('request_in_flight');
      expect(Number(reply.headers.get('retry-after'))).toBeGreaterThan(0);
    }
    expect(shop.chargesOf(made[0]?.body)).toHaveLength(1);
  });

  test('the same key for another package or method is refused, and makes nothing', async () => {
    const key = randomUUID();
    const { body } = await buyWith(key);
    const other = await buyWith(key, { type: 'payment_link' });
    expect(other).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } });
    expect(shop.chargesOf(body)).toHaveLength(1);
  });

  test('at the end there is at most one charge for each attempt', () => {
    expect(Math.max(...Object.values(shop.omise.chargesPerAttempt()))).toBe(1);
  });
});
