import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../sandbox/omise/json.ts';
import { idIn, type Merchant, startMerchant } from '../../sandbox/omise/testing/merchant.ts';

const DAY_MS = 86_400_000;
let merchant: Merchant;

beforeAll(async () => {
  merchant = await startMerchant();
});
afterAll(() => merchant.close());

async function charge(number: string, change: JsonObject = {}): Promise<JsonObject> {
  const card = await merchant.token(number);
  return merchant.post('/charges', { amount: 50_000, currency: 'THB', card, ...change });
}

function keysOf(id: string): unknown[] {
  const events = merchant.omise.control.events();
  return events.filter(({ data }) => JSON.stringify(data).includes(id)).map(({ key }) => key);
}

describe('a token', () => {
  test('holds a card without its number', async () => {
    const token = await merchant.get(`/tokens/${await merchant.token('5555555555554444')}`);
    expect(token).toMatchObject({
      used: false,
      card: { brand: 'MasterCard', last_digits: '4444', first_digits: null },
    });
    expect(JSON.stringify(token)).not.toContain('5555555555554444');
  });

  test('is refused for a card that cannot be', async () => {
    const card = { name: 'S', number: '4242424242424242', expiration_month: 12, expiration_year: 2099 };
    const cases: [JsonObject, string][] = [
      [{ number: '4242424242424241' }, 'number is invalid'],
      [{ number: '1234567890123452' }, 'brand not supported (unknown)'],
      [{ name: '' }, "name can't be blank"],
      [{ expiration_month: 13 }, 'expiration month is invalid'],
      [{ expiration_year: 2020 }, 'expiration date cannot be in the past'],
    ];
    for (const [change, message] of cases) {
      const { status, body } = await merchant.call('POST', '/tokens', { card: { ...card, ...change } });
      expect([status, body['code'], body['message']]).toEqual([400, 'invalid_card', message]);
    }
    expect(await merchant.call('POST', '/tokens', {})).toMatchObject({ status: 400, body: { code: 'missing_card' } });
  });

  test('is good for one charge, also when that was declined', async () => {
    const card = await merchant.token('4111111111140011');
    const order = { amount: 50_000, currency: 'THB', card };
    expect(await merchant.post('/charges', order)).toMatchObject({ status: 'failed' });
    const again = await merchant.call('POST', '/charges', order);
    expect(again).toMatchObject({ status: 400, body: { code: 'used_token', message: 'token was already used' } });
    expect(await merchant.get(`/tokens/${card}`)).toMatchObject({ used: true, charge_status: 'failed' });
  });

  test('is not spent by an order that is refused', async () => {
    const card = await merchant.token();
    expect((await merchant.call('POST', '/charges', { amount: 1, currency: 'THB', card })).status).toBe(400);
    expect(await merchant.post('/charges', { amount: 50_000, currency: 'THB', card })).toMatchObject({ paid: true });
  });
});

describe('a card charge', () => {
  test.each([
    ['4242424242424242', null],
    ['5555555555554444', null],
    ['3530111333300000', null],
    ['4111111111140011', 'insufficient_fund'],
    ['5555551111110011', 'insufficient_fund'],
    ['4111111111130012', 'stolen_or_lost_card'],
    ['4111111111120013', 'failed_processing'],
    ['4111111111110014', 'payment_rejected'],
    ['4111111111190016', 'failed_fraud_check'],
    ['4111111111180017', 'invalid_account_number'],
  ])('of test number %s ends with %s', async (number, failureCode) => {
    const { id, status, failure_code, paid } = await charge(number);
    expect({ status, failure_code, paid }).toEqual({
      status: failureCode === null ? 'successful' : 'failed',
      failure_code: failureCode,
      paid: failureCode === null,
    });
    expect(keysOf(String(id)), 'a direct charge has no charge.complete').toEqual(['charge.create']);
  });

  test('in yen is counted in yen', async () => {
    expect(await charge('4242424242424242', { currency: 'jpy' })).toMatchObject({ currency: 'JPY', amount: 50_000 });
  });

  test('has the fees of the records', async () => {
    expect(await charge('4242424242424242', { amount: 31_000 })).toMatchObject({ fee: 1132, fee_vat: 79, net: 29_789 });
  });

  test('with a return_uri waits for 3-D Secure', async () => {
    const pending = await charge('4242424242424242', { return_uri: 'https://shop.example/back' });
    expect(pending).toMatchObject({ status: 'pending', paid: false, missing_3ds_fields: ['email', 'phone_number'] });
    expect(pending['authorize_uri']).toMatch(/\/payments\/paym_test_[a-z0-9]+\/authorize$/);
  });

  test('can be made again with the card that a customer left', async () => {
    const customer = await merchant.post('/customers', { card: await merchant.token() });
    const card = customer['default_card'] ?? null;
    const order = { amount: 50_000, currency: 'THB', customer: idIn(customer), card };
    const first = await merchant.post('/charges', order);
    const second = await merchant.post('/charges', order);
    expect(first).toMatchObject({ paid: true, card: { id: card, location: expect.stringContaining(idIn(customer)) } });
    expect(second['id']).not.toBe(first['id']);
    const other = await merchant.call('POST', '/charges', { ...order, card: 'card_test_other' });
    expect(other.status).toBe(404);
    expect(await merchant.get('/customers')).toMatchObject({ data: [{ id: idIn(customer) }] });
  });
});

describe('money that is only reserved', () => {
  const held = async (change: JsonObject = {}) => idIn(await charge('4242424242424242', { capture: false, ...change }));

  test('is authorized and still pending, as recorded', async () => {
    expect(await charge('4242424242424242', { capture: false })).toMatchObject({
      status: 'pending',
      authorized: true,
      capturable: true,
      reversible: true,
      paid: false,
      captured_amount: 0,
    });
  });

  test('can be captured whole', async () => {
    const id = await held();
    expect(await merchant.post(`/charges/${id}/capture`)).toMatchObject({
      status: 'successful',
      captured_amount: 50_000,
    });
    expect(keysOf(id)).toEqual(['charge.create', 'charge.capture']);
  });

  test('can be captured in part: amount stays, captured_amount tells', async () => {
    const id = await held({ authorization_type: 'pre_auth', amount: 100_000 });
    expect(await merchant.post(`/charges/${id}/capture`, { capture_amount: 50_000 })).toMatchObject({
      status: 'successful',
      paid: true,
      amount: 100_000,
      authorized_amount: 100_000,
      captured_amount: 50_000,
      funding_amount: 50_000,
      fee: 1825,
      net: 48_047,
    });
  });

  test('cannot be captured twice, above its amount, or after a reversal', async () => {
    const refusal = { status: 400, body: { code: 'failed_capture' } };
    const id = await held();
    expect(await merchant.call('POST', `/charges/${id}/capture`, { capture_amount: 50_001 })).toMatchObject(refusal);
    await merchant.post(`/charges/${id}/capture`);
    expect(await merchant.call('POST', `/charges/${id}/capture`)).toMatchObject(refusal);
    const other = await held();
    expect(await merchant.post(`/charges/${other}/reverse`)).toMatchObject({
      status: 'reversed',
      reversed: true,
      paid: false,
      reversed_at: expect.any(String),
    });
    expect(keysOf(other)).toEqual(['charge.create', 'charge.reverse']);
    expect(await merchant.call('POST', `/charges/${other}/capture`)).toMatchObject(refusal);
    const again = await merchant.call('POST', `/charges/${other}/reverse`);
    expect(again).toMatchObject({ status: 400, body: { code: 'failed_void' } });
  });

  test('lapses after seven days', async () => {
    const id = await held();
    merchant.omise.control.advanceClock(7 * DAY_MS);
    const late = await merchant.call('POST', `/charges/${id}/capture`);
    expect(late).toMatchObject({ status: 400, body: { code: 'expired_charge' } });
    expect(await merchant.get(`/charges/${id}`)).toMatchObject({ status: 'expired', paid: false });
  });
});
