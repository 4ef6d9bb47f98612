import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Client, eventually, type Json, newCustomer } from '../harness/client.ts';
import { startProvider } from '../harness/farebox.ts';
import { type CannedProvider, passOn, startCannedProvider } from './canned-provider.ts';
import { CREDITS, openShop, type Shop } from './shop.ts';

let shop: Shop;
let customer: Client;
/** Between us and the provider: it can decide a charge before the call that makes it is answered. */
let between: CannedProvider;

beforeAll(async () => {
  const omise = await startProvider();
  between = await startCannedProvider();
  between.says = passOn(omise.url, (charge) => charge);
  shop = await openShop({ omise, env: { OMISE_URL: between.url, RETURN_ORIGINS: 'https://shop.example.com' } });
  customer = await newCustomer(shop.farebox);
});
afterAll(async () => {
  await shop.stop();
  await between.close();
  await shop.farebox.omise.close();
});
beforeEach(() => {
  shop.omise.clearFaults();
  between.says = passOn(shop.farebox.omise.url, (charge) => charge);
});

const ONCE = { times: 1, credits: CREDITS };
const NOTHING = { times: 0, credits: 0 };
const read = (purchase: Json) => customer.ok('GET', `/v1/purchases/${purchase.id}`);
const reaches = (purchase: Json, status: string) =>
  eventually(
    () => read(purchase),
    (one) => one.status === status,
  );
const card = async (number?: string) => ({ type: 'card', token: await shop.token(number) });

/** What the payer's browser does at the provider's page, and on its way back; resolves to where it ends. */
async function authorize(purchase: Json, decision: 'complete' | 'fail'): Promise<string> {
  const form = { method: 'POST', redirect: 'manual', body: new URLSearchParams({ decision }) } as const;
  const decided = await fetch(purchase.authorize_uri, form);
  expect(decided.status).toBe(303);
  const back = await fetch(decided.headers.get('location') ?? '', { redirect: 'manual' });
  expect(back.status).toBe(303);
  return back.headers.get('location') ?? '';
}

describe('a card', () => {
  // REQ E2.3 E2.5
  test('with 3-D Secure: the payer is led away, comes back, and the credits are there', async () => {
    shop.omise.fault({ webhook: 'drop' });
    const purchase = await shop.buy(customer, await card(), { return_uri: 'https://shop.example.com/thanks' });
    expect(purchase).toMatchObject({ status: 'pending', method: 'card', qr_url: null });
    expect(purchase.authorize_uri).toMatch(/\/payments\/.*\/authorize$/);
    expect(await authorize(purchase, 'complete')).toBe('https://shop.example.com/thanks');
    expect(await read(purchase)).toMatchObject({ status: 'completed', authorize_uri: null });
    expect(await shop.booked(purchase)).toEqual(ONCE);
  });

  test('with 3-D Secure that fails: the payer sees our page, and the purchase has failed', async () => {
    shop.omise.fault({ webhook: 'drop' });
    const purchase = await shop.buy(customer, await card(), { return_uri: 'https://shop.example.com/thanks' });
    expect(await authorize(purchase, 'fail')).toBe(new URL(purchase.status_url).pathname);
    expect(await read(purchase)).toMatchObject({ status: 'failed', failure: { code: 'payment_rejected' } });
    expect(await shop.booked(purchase)).toEqual(NOTHING);
  });

  test('the way back alone proves nothing', async () => {
    shop.omise.fault({ webhook: 'drop' });
    const purchase = await shop.buy(customer, await card(), { return_uri: 'https://shop.example.com/thanks' });
    const back = await fetch(`${purchase.status_url}/return?status=successful&paid=true`, { redirect: 'manual' });
    expect(back.headers.get('location')).toBe(new URL(purchase.status_url).pathname);
    expect((await read(purchase)).status).toBe('pending');
  });

  // REQ E2.4
  test.each([
    [
      '4111111111140011',
      'insufficient_fund',
      'insufficient funds in the account or the card has reached the credit limit',
    ],
    [
      '5555551111110011',
      'insufficient_fund',
      'insufficient funds in the account or the card has reached the credit limit',
    ],
    ['4111111111130012', 'stolen_or_lost_card', 'card is stolen or lost'],
    ['4111111111120013', 'failed_processing', 'the payment processing failed'],
    [
      '4111111111110014',
      'payment_rejected',
      'payment was rejected by the issuer or the acquirer with no specific reason',
    ],
    ['4111111111190016', 'failed_fraud_check', 'failed fraud check'],
    ['4111111111180017', 'invalid_account_number', 'no valid account found for payment method'],
    [
      '4111111111150002', // 3-D Secure enrolment
      'payment_rejected',
      'payment was rejected by the issuer or the acquirer with no specific reason',
    ],
  ])('the test card %s fails with %s, and the purchase says so', async (number, code, message) => {
    const purchase = await shop.buy(customer, await card(number));
    await authorize(purchase, 'complete');
    expect(await reaches(purchase, 'failed')).toMatchObject({ failure: { code, message }, completed_at: null });
    const trail = await shop.operator.ok('GET', `/v1/admin/purchases/${purchase.id}`);
    expect(trail.charges).toMatchObject([{ state: 'failed', failure_code: code }]);
    expect(await shop.booked(purchase)).toEqual(NOTHING);
  });

  // REQ E2.4
  test('declined at once: the answer says so', async () => {
    between.says = passOn(shop.farebox.omise.url, ({ id }) => shop.omise.fail(id, 'insufficient_fund'));
    expect(await shop.buy(customer, await card())).toMatchObject({
      status: 'failed',
      failure: { code: 'insufficient_fund' },
      authorize_uri: null,
    });
  });

  // REQ E2.5
  test('taken at once: the answer says pending, and the credits come from reading the charge back', async () => {
    shop.omise.fault({ webhook: 'drop' });
    between.says = passOn(shop.farebox.omise.url, ({ id }) => shop.omise.pay(id));
    const purchase = await shop.buy(customer, await card());
    expect(purchase.status).toBe('pending');
    await reaches(purchase, 'completed');
    const trail = await shop.operator.ok('GET', `/v1/admin/purchases/${purchase.id}`);
    expect(trail.history.map(({ what }: Json) => what)).toEqual([
      'purchase_started',
      'charge_intended',
      'charge_opened',
      'purchase_completed',
    ]);
    expect(await shop.booked(purchase)).toEqual(ONCE);
  });

  test('the create answer says taken, reading it back says declined: no credit at any moment', async () => {
    between.says = passOn(shop.farebox.omise.url, (charge) => {
      shop.omise.fail(charge.id, 'failed_fraud_check');
      return { ...charge, status: 'successful', paid: true };
    });
    const purchase = await shop.buy(customer, await card());
    expect(await reaches(purchase, 'failed')).toMatchObject({ failure: { code: 'failed_fraud_check' } });
    expect(await shop.booked(purchase)).toEqual(NOTHING);
  });

  // REQ E2.4
  test('a token that was used, and one that nobody made: failed, with the provider’s reason', async () => {
    const method = await card();
    await shop.buy(customer, method);
    expect(await shop.buy(customer, method)).toMatchObject({
      status: 'failed',
      failure: { code: 'used_token', message: 'token was already used' },
    });
    expect(await shop.buy(customer, { type: 'card', token: 'tokn_test_5nobodymadeit' })).toMatchObject({
      status: 'failed',
      failure: { code: 'not_found' },
    });
  });

  // REQ E2.3 E6.1
  test('its token is kept nowhere', async () => {
    const method = await card();
    await shop.buy(customer, method);
    const [{ found }] = (await shop.sql`
      select count(*)::int as found from (
        select p::text as t from payments.purchases p union all select c::text from payments.charges c
        union all select h::text from payments.history h union all select e::text from platform.events e
        union all select k::text from platform.idempotency_keys k union all select a::text from platform.audit_log a
      ) rows where t like ${`%${method.token}%`}`) as unknown as [{ found: number }];
    expect(found).toBe(0);
  });
});

describe('other ways to pay', () => {
  test.each([
    ['truemoney', { type: 'truemoney', phone_number: '0812345678' }],
    ['SCB', { type: 'mobile_banking_scb' }],
    ['K PLUS', { type: 'mobile_banking_kbank' }],
    ['KMA', { type: 'mobile_banking_bay' }],
    ['Bualuang', { type: 'mobile_banking_bbl' }],
    ['Krungthai', { type: 'mobile_banking_ktb' }],
  ])('%s leads away; confirmed there it is completed, refused there it has failed', async (_name, method) => {
    const [confirmed, refused] = [await shop.buy(customer, method), await shop.buy(customer, method)];
    expect(confirmed).toMatchObject({ status: 'pending', method: method.type, qr_url: null });
    expect(shop.chargesOf(confirmed)[0].source.type).toBe(method.type);
    await authorize(confirmed, 'complete');
    await authorize(refused, 'fail');
    await reaches(confirmed, 'completed');
    expect(await reaches(refused, 'failed')).toMatchObject({ failure: { code: 'payment_cancelled' } });
    expect(await shop.booked(confirmed)).toEqual(ONCE);
    expect(await shop.booked(refused)).toEqual(NOTHING);
  });

  test('the phone number of a wallet reaches the provider and is kept nowhere here', async () => {
    const purchase = await shop.buy(customer, { type: 'truemoney', phone_number: '0899999991' });
    expect(shop.chargesOf(purchase)[0].source.phone_number).toBe('0899999991');
    const rows = await shop.sql`
      select 1 from payments.purchases p, payments.charges c, payments.history h
      where (p::text || c::text || h::text) like '%0899999991%'`;
    expect(rows).toHaveLength(0);
  });

  test('a payment link asks the provider for nothing until somebody pays', async () => {
    const purchase = await shop.buy(customer, { type: 'payment_link' });
    expect(purchase).toMatchObject({ status: 'pending', method: 'payment_link', qr_url: null, authorize_uri: null });
    expect(shop.chargesOf(purchase)).toEqual([]);
    expect(new URL(purchase.status_url).pathname).toMatch(/^\/checkout\/[\w-]{43}$/);
  });
});

describe('what the provider’s account can do', () => {
  test('is what is offered, and nothing else can be ordered', async () => {
    const omise = await startProvider({
      account: { payment_methods: ['promptpay', 'card'], charge_amount: { min: 10_000, max: 60_000 } },
    });
    const small = await openShop({ omise });
    const buyer = await newCustomer(small.farebox);
    expect((await buyer.ok('GET', `/v1/packages/${small.pack.id}`)).methods).toEqual([
      'promptpay',
      'card',
      'payment_link',
    ]);
    const body = { package_id: small.pack.id, method: { type: 'mobile_banking_scb' } };
    expect(await buyer.call('POST', '/v1/purchases', { key: randomUUID(), body })).toMatchObject({
      status: 422,
      body: { code: 'method_unavailable' },
    });
    expect(small.omise.charges()).toEqual([]);
    await small.stop();
    await omise.close();
  });

  test.each([
    ['another currency', { currency: 'JPY' }, /settles in JPY/],
    ['the other mode', { livemode: true }, /different modes/],
  ])('an account of %s than the configuration means: Farebox does not start', async (_name, account, message) => {
    const omise = await startProvider({ account });
    await expect(openShop({ omise })).rejects.toThrow(message);
    await omise.close();
  });
});
