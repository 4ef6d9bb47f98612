import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, eventually, type Json, newCustomer } from '../harness/client.ts';
import { CREDITS, openShop, PRICE, type Shop } from './shop.ts';

let shop: Shop;
let customer: Client;

beforeAll(async () => {
  shop = await openShop({ env: { MAX_PENDING_PURCHASES: '5', RETURN_ORIGINS: 'https://shop.example.com' } });
  customer = await newCustomer(shop.farebox);
});
afterAll(() => shop.stop());

const order = (body: Json, key: string | null = randomUUID(), who = customer) =>
  who.call('POST', '/v1/purchases', {
    ...(key === null ? {} : { key }),
    body: { package_id: shop.pack.id, method: { type: 'promptpay' }, ...body },
  });
const newPackage = (more: Json) =>
  shop.operator.ok('POST', '/v1/admin/packages', { body: { name: 'Another', credits: 1, price: PRICE, ...more } });
const faultOf = ({ body }: { body: Json }) => body.errors?.[0];

describe('starting a purchase', () => {
  // REQ E2.1 E2.2 E9.1
  test('answers with everything that is needed to pay, and where to look', async () => {
    const reply = await order({});
    expect(reply.status).toBe(201);
    expect(reply.headers.get('location')).toBe(`/v1/purchases/${reply.body.id}`);
    expect(reply.body).toMatchObject({
      object: 'purchase',
      status: 'pending',
      package_id: shop.pack.id,
      credits: CREDITS,
      price: PRICE,
      currency: 'THB',
      method: 'promptpay',
      failure: null,
      authorize_uri: null,
      completed_at: null,
      livemode: false,
    });
    expect(reply.body.qr_url).toBe(`${reply.body.status_url}/qr`);
    const [charge] = shop.chargesOf(reply.body);
    expect(charge).toMatchObject({ amount: PRICE, currency: 'THB', status: 'pending' });
    expect(charge.metadata.attempt_id).toMatch(/^[0-9a-f-]{36}$/);
    expect(Date.parse(reply.body.expires_at)).toBe(Date.parse(charge.expires_at));
    expect(JSON.stringify(reply.body), 'the secret attempt stays with us').not.toContain(charge.metadata.attempt_id);
    expect((await customer.ok('GET', '/v1/purchases')).data).toEqual([reply.body]);
  });

  // REQ E7.1
  test('a key is required, and one key is one purchase', async () => {
    expect(await order({}, null)).toMatchObject({ status: 400, body: { code: 'idempotency_key_required' } });
    const buyer = await newCustomer(shop.farebox);
    const key = randomUUID();
    const first = await order({}, key, buyer);
    const second = await order({}, key, buyer);
    expect(second.body).toEqual(first.body);
    expect(second.headers.get('idempotent-replayed')).toBe('true');
    expect(shop.chargesOf(first.body)).toHaveLength(1);
    const same = await order({}, key);
    expect(same.body.id, 'another account has keys of its own').not.toBe(first.body.id);
  });

  test.each([
    ['no package', { package_id: undefined }, '/package_id'],
    ['a package of another kind', { package_id: 'pur_01m80v042pf9rta86ac64jyj45' }, '/package_id'],
    ['no method', { method: undefined }, '/method'],
    ['a method that is none', { method: { type: 'cash' } }, '/method/type'],
    ['a card without a token', { method: { type: 'card' } }, '/method/token'],
    [
      'a card with a charge for a token',
      { method: { type: 'card', token: 'chrg_test_5xuyzuxqhdhw7' } },
      '/method/token',
    ],
    ['a token with a way out', { method: { type: 'card', token: 'tokn_test_5xuyzuxqh/../x' } }, '/method/token'],
    ['a wallet without a phone', { method: { type: 'truemoney' } }, '/method/phone_number'],
    ['a phone from abroad', { method: { type: 'truemoney', phone_number: '+66812345678' } }, '/method/phone_number'],
    ['a price of my own', { price: 1 }, '/price'],
    ['credits of my own', { credits: 10_000 }, '/credits'],
    ['a token where none belongs', { method: { type: 'promptpay', token: 'x' } }, '/method/token'],
  ])('%s is refused, and the provider hears nothing', async (_name, body, pointer) => {
    const before = shop.omise.charges().length;
    const reply = await order(body);
    expect([400, 422]).toContain(reply.status);
    expect(faultOf(reply)?.pointer).toBe(pointer);
    expect(shop.omise.charges()).toHaveLength(before);
  });

  // REQ E2.3 E6.1
  test('a card number is refused wherever it stands', async () => {
    for (const body of [
      { method: { type: 'card', token: '4242424242424242' } },
      { method: { type: 'card', token: 'x', number: '4242 4242 4242 4242' } },
      { return_uri: '4242-4242-4242-4242' },
    ]) {
      expect(await order(body)).toMatchObject({ status: 422, body: { code: 'card_number_refused' } });
    }
  });

  test('a package that is not on offer cannot be bought; what was bought before is honoured at its price', async () => {
    const pack = await newPackage({ credits: 70, price: 7_000 });
    const buyer = await newCustomer(shop.farebox);
    const { body: purchase } = await order({ package_id: pack.id }, undefined, buyer);
    await shop.operator.ok('PATCH', `/v1/admin/packages/${pack.id}`, { body: { active: false, name: 'Withdrawn' } });
    expect(await order({ package_id: pack.id }, undefined, buyer)).toMatchObject({
      status: 422,
      body: { code: 'package_unavailable' },
    });
    // Even if somebody changed what it sells: the purchase has its own copy.
    await shop.sql`update payments.packages set credits = 1, price = 999999 where name = 'Withdrawn'`;
    shop.omise.pay(shop.chargeOf(purchase));
    await eventually(
      () => buyer.ok('GET', `/v1/purchases/${purchase.id}`),
      ({ status, credits, price }) => status === 'completed' && credits === 70 && price === 7_000,
    );
    expect(await shop.booked(purchase)).toEqual({ times: 1, credits: 70 });
  });

  test('a package that nobody has is not on offer either', async () => {
    expect(await order({ package_id: 'pkg_01m80v042pf9rta86ac64jyj45' })).toMatchObject({
      status: 422,
      body: { code: 'package_unavailable' },
    });
  });

  test('a price beyond what PromptPay takes has other methods, and says so', async () => {
    const [dear, cheap] = [await newPackage({ price: 15_000_001 }), await newPackage({ price: 1_999 })];
    const { data } = await customer.ok('GET', '/v1/packages?limit=100');
    const methodsOf = (pack: Json) => data.find(({ id }: Json) => id === pack.id).methods;
    expect(methodsOf(dear)).toEqual(expect.arrayContaining(['card', 'truemoney', 'payment_link']));
    expect(methodsOf(dear)).not.toContain('promptpay');
    expect(methodsOf(cheap), 'below what the account takes').toEqual(['payment_link']);
    const refused = await order({ package_id: dear.id });
    expect(refused).toMatchObject({ status: 422, body: { code: 'method_unavailable' } });
    expect(faultOf(refused).pointer).toBe('/method/type');
  });
});

describe('unpaid purchases', () => {
  test('an account may have so many: twenty starts at once open no more than five, paying one makes room', async () => {
    const buyer = await newCustomer(shop.farebox);
    const replies = await Promise.all(Array.from({ length: 20 }, () => order({}, undefined, buyer)));
    const open = replies.filter(({ status }) => status === 201);
    expect(open).toHaveLength(5);
    for (const reply of replies.filter(({ status }) => status !== 201)) {
      expect(reply).toMatchObject({ status: 409, body: { code: 'too_many_pending' } });
    }
    const paid = open[0]?.body;
    shop.omise.pay(shop.chargeOf(paid));
    await eventually(
      () => buyer.ok('GET', `/v1/purchases/${paid.id}`),
      ({ status }) => status === 'completed',
    );
    expect((await order({}, undefined, buyer)).status).toBe(201);
    expect((await order({})).status, 'others are not held up').toBe(201);
  });

  test('a request that was refused for that works with the same key afterwards', async () => {
    const buyer = await newCustomer(shop.farebox);
    const open = await Promise.all(Array.from({ length: 5 }, () => order({}, undefined, buyer)));
    const key = randomUUID();
    expect((await order({}, key, buyer)).status).toBe(409);
    await buyer.ok('POST', `/v1/purchases/${open[0]?.body.id}/cancel`);
    expect((await order({}, key, buyer)).status).toBe(201);
  });
});

describe('where a purchase leads back to', () => {
  test('an origin that the operator has listed, and our own', async () => {
    const buyer = await newCustomer(shop.farebox);
    for (const uri of ['https://shop.example.com/thanks?order=1#top', `${shop.farebox.url}/anywhere`]) {
      const { status, body } = await order({ return_uri: uri, method: { type: 'payment_link' } }, undefined, buyer);
      expect(status).toBe(201);
      expect(JSON.stringify(body)).not.toContain('thanks');
    }
  });

  test.each([
    'https://evil.example.com/',
    'http://shop.example.com/',
    'https://shop.example.com:8443/',
    'https://shop.example.com.evil.com/',
    'https://shop.example.com@evil.com/',
    'https://user@shop.example.com/',
    'https://user:pass@shop.example.com/',
    'https://evil.com\\@shop.example.com/',
    'https://evil.com/.shop.example.com',
    '//evil.com/',
    '\\\\evil.com',
    '/\\evil.com',
    'https:/\\shop.example.com/',
    'https:shop.example.com\\..\\x',
    'javascript:alert(1)//https://shop.example.com/',
    'data:text/html,<script>1</script>',
    'https://shop.example.com/\r\nSet-Cookie: a=b',
    'https://shop.example.com/\tx',
    ' https://shop.example.com/',
    'https://shop.exam\u200bple.com/x y',
    'https://ｓhop.evil.com/',
    'shop.example.com',
    '',
    'x'.repeat(3000),
  ])('and nowhere else: %s', async (uri) => {
    const reply = await order({ return_uri: uri });
    expect(reply.status).toBe(422);
    expect(faultOf(reply).pointer).toBe('/return_uri');
  });
});
