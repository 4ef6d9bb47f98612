import { describe, expect, onTestFinished, test } from 'vitest';
import type { JsonObject } from '../../sandbox/omise/json.ts';
import type { OmiseOptions } from '../../sandbox/omise/server.ts';
import { idIn, type Merchant, startMerchant } from '../../sandbox/omise/testing/merchant.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

async function open(options: Partial<OmiseOptions> = {}): Promise<Merchant> {
  const merchant = await startMerchant(options);
  onTestFinished(() => merchant.close());
  return merchant;
}

function keysOf(merchant: Merchant): unknown[] {
  return merchant.omise.control.events().map(({ key }) => key);
}

describe('creating a charge', () => {
  test('is refused when the order makes no sense', async () => {
    const { call } = await open();
    const good: JsonObject = { amount: 50_000, currency: 'THB', source: { type: 'promptpay' } };
    const cases: [JsonObject, string][] = [
      [{ amount: 1_999 }, 'invalid_amount'],
      [{ amount: 15_000_001 }, 'invalid_amount'], // PromptPay's own limit
      [{ amount: 500_000_000_001 }, 'invalid_amount'],
      [{ amount: 500.5 }, 'bad_request'],
      [{ amount: null }, 'bad_request'],
      [{ currency: 'XXX' }, 'invalid_charge'],
      [{ currency: 'USD' }, 'invalid_charge'], // not with PromptPay
      [{ source: null }, 'missing_card'],
      [{ source: { type: 'cowrie' } }, 'bad_request'],
      [{ source: { type: 'promptpay', amount: 40_000 } }, 'bad_request'],
      [{ source: { type: 'truemoney' }, return_uri: 'https://shop.example' }, 'bad_request'], // wants a phone number
      [{ source: { type: 'mobile_banking_scb' } }, 'bad_request'], // wants a return_uri
      [{ capture: false }, 'bad_request'],
      [{ return_uri: 'javascript:alert(1)' }, 'bad_request'],
      [{ metadata: 'text' }, 'bad_request'],
      [{ webhook_endpoints: ['http://example.com'] }, 'bad_request'],
      [{ webhook_endpoints: ['https://a.example', 'https://b.example', 'https://c.example'] }, 'bad_request'],
      [{ expires_at: '2001-01-01T00:00:00Z' }, 'bad_request'],
      [{ expires_at: 'soon' }, 'bad_request'],
      [{ authorization_type: 'maybe' }, 'bad_request'],
    ];
    for (const [change, code] of cases) {
      const { status, body } = await call('POST', '/charges', { ...good, ...change });
      expect([status, body['code']], JSON.stringify(change)).toEqual([400, code]);
    }
  });

  test('takes a source once, and only for its own amount', async () => {
    const { post, call } = await open();
    const source = idIn(await post('/sources', { type: 'promptpay', amount: 50_000, currency: 'THB' }));
    const charge = (amount: number) => call('POST', '/charges', { amount, currency: 'THB', source });
    expect((await charge(60_000)).status).toBe(400);
    expect((await charge(50_000)).status).toBe(200);
    expect((await charge(50_000)).status).toBe(400);
  });

  test('by wallet or mobile banking gives the page where the person confirms', async () => {
    const { post } = await open();
    const order = { amount: 50_000, currency: 'THB', return_uri: 'https://shop.example/back' };
    const wallet = await post('/charges', { ...order, source: { type: 'truemoney', phone_number: '0812345678' } });
    expect(wallet).toMatchObject({ status: 'pending', source: { flow: 'redirect', phone_number: '0812345678' } });
    const bank = await post('/charges', { ...order, source: { type: 'mobile_banking_scb' } });
    expect(bank).toMatchObject({ status: 'pending', source: { flow: 'app_redirect', scannable_code: null } });
    expect(bank['authorize_uri']).toMatch(/\/payments\/pay2_test_[a-z0-9]+\/authorize$/);
  });

  test('in live mode gives ids without test, and nothing can be marked as paid', async () => {
    const merchant = await open({ account: { livemode: true } });
    const charge = await merchant.promptpay();
    expect(charge.id).toMatch(/^chrg_[a-z0-9]{19}$/);
    expect(charge).toMatchObject({ livemode: true });
    expect((await merchant.call('POST', `/charges/${charge.id}/mark_as_paid`)).status).toBe(400);
  });
});

describe('a pending charge', () => {
  test('can be marked as paid or failed once, with charge.complete', async () => {
    const merchant = await open();
    const first = await merchant.promptpay();
    const second = await merchant.promptpay();
    expect(await merchant.post(`/charges/${first.id}/mark_as_paid`)).toMatchObject({
      status: 'successful',
      paid: true,
    });
    expect(await merchant.post(`/charges/${second.id}/mark_as_failed`)).toMatchObject({
      status: 'failed',
      failure_code: 'failed_processing',
      failure_message: expect.any(String),
    });
    for (const { id } of [first, second]) {
      expect((await merchant.call('POST', `/charges/${id}/mark_as_paid`)).status).toBe(400);
      expect((await merchant.call('POST', `/charges/${id}/mark_as_failed`)).status).toBe(400);
    }
    expect(keysOf(merchant)).toEqual(['charge.create', 'charge.create', 'charge.complete', 'charge.complete']);
  });

  test('can be expired, and only a pending one can', async () => {
    const merchant = await open();
    const { id } = await merchant.promptpay();
    expect(await merchant.post(`/charges/${id}/expire`)).toMatchObject({
      status: 'expired',
      expired: true,
      paid: false,
    });
    const again = await merchant.call('POST', `/charges/${id}/expire`);
    expect(again).toMatchObject({ status: 400, body: { code: 'failed_expire' } });
    expect(keysOf(merchant)).toEqual(['charge.create', 'charge.expire']);
  });

  test('expires by the clock, seen at the next reading, with one event', async () => {
    const merchant = await open();
    const charge = await merchant.promptpay();
    const life = Date.parse(String(charge['expires_at'])) - Date.parse(String(charge['created_at']));
    expect(life, 'a day when nothing is said').toBe(DAY_MS);
    merchant.omise.control.advanceClock(DAY_MS - 60_000);
    expect(await merchant.get(`/charges/${charge.id}`)).toMatchObject({ status: 'pending' });
    merchant.omise.control.advanceClock(60_000);
    const expired = await merchant.get(`/charges/${charge.id}`);
    expect(expired).toMatchObject({ status: 'expired', expired: true, source: { charge_status: 'expired' } });
    expect(expired['expired_at']).toBe(expired['expires_at']);
    expect(keysOf(merchant)).toEqual(['charge.create', 'charge.expire']);
    expect((await merchant.call('POST', `/charges/${charge.id}/mark_as_paid`)).status).toBe(400);
  });

  test('lives as long as asked, at most a day', async () => {
    const merchant = await open();
    const inMs = (ms: number) => new Date(Date.now() + ms).toISOString();
    const { id } = await merchant.promptpay({ expires_at: inMs(10 * 60_000) });
    merchant.omise.control.advanceClock(11 * 60_000);
    expect(await merchant.get(`/charges/${id}`)).toMatchObject({ status: 'expired' });
    const order = { amount: 50_000, currency: 'THB', source: { type: 'promptpay' } };
    expect((await merchant.call('POST', '/charges', { ...order, expires_at: inMs(25 * HOUR_MS) })).status).toBe(400);
  });

  test('keeps the recorded oddities once its time is over', async () => {
    const merchant = await open();
    const paid = await merchant.promptpay();
    const failed = await merchant.promptpay();
    merchant.omise.control.pay(paid.id);
    merchant.omise.control.fail(failed.id, 'insufficient_balance');
    merchant.omise.control.advanceClock(2 * DAY_MS);
    expect(await merchant.get(`/charges/${paid.id}`)).toMatchObject({ expired: false, expired_at: paid['expires_at'] });
    expect(await merchant.get(`/charges/${failed.id}`)).toMatchObject({ status: 'failed', expired: true });
    expect(await merchant.get(`/charges/${failed.id}`), 'recorded so').toMatchObject({ captured_amount: 50_000 });
  });

  test('takes a new description and metadata', async () => {
    const merchant = await open();
    const { id } = await merchant.promptpay({ metadata: { a: 1 } });
    const { body } = await merchant.call('PATCH', `/charges/${id}`, { description: 'late', metadata: { b: 2 } });
    expect(body).toMatchObject({ description: 'late', metadata: { b: 2 } });
    expect(body['metadata']).not.toHaveProperty('a');
    expect(keysOf(merchant)).toEqual(['charge.create', 'charge.update']);
  });
});

test('expand=true puts objects where ids stand', async () => {
  const merchant = await open();
  const card = await merchant.token();
  const customer = idIn(await merchant.post('/customers', { email: 'a@example.com', card }));
  const id = idIn(await merchant.post('/charges', { amount: 50_000, currency: 'THB', customer }));
  expect(await merchant.get(`/charges/${id}`)).toMatchObject({ customer, transaction: expect.any(String) });
  expect(await merchant.get(`/charges/${id}?expand=true`)).toMatchObject({
    customer: { object: 'customer', id: customer },
    transaction: { object: 'transaction', origin: id },
  });
});
