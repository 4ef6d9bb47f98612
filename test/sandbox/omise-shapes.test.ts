import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isObject, type Json, type JsonObject } from '../../sandbox/omise/json.ts';
import { idIn, type Merchant, startMerchant } from '../../sandbox/omise/testing/merchant.ts';

// Keys of objects recorded from the real API in 2025 (API version 2019-05-29), as kept in the MIT-licensed fixtures of
// omise/omise-php 7d3d984, omise/omise-woocommerce 3393791 and, for the QR code, omise/omise-go 233b361. A charge has
// the union of the keys of every recorded one.
const RECORDED = {
  charge: `acquirer_reference_number amount approval_code authorization_type authorize_uri authorized authorized_amount
    authorized_at branch can_perform_void capturable capture captured_amount card created_at currency customer
    description device disputable dispute expired expired_at expires_at failure_code failure_message fee fee_vat
    funding_amount funding_currency id interest interest_vat ip link linked_account livemode location merchant_advice
    merchant_advice_code metadata multi_capture net object paid paid_at partially_refundable platform_fee refundable
    refunded_amount refunds return_uri reversed reversed_at reversible schedule source status terminal transaction
    transaction_fees voided zero_interest_installments`,
  fees: 'fee_flat fee_rate vat_rate',
  platform_fee: 'amount fixed percentage',
  card: `bank brand city country created_at deleted expiration_month expiration_year financing fingerprint first_digits
    id last_digits livemode location name object phone_number postal_code security_code_check state street1 street2
    tokenization_method`,
  source: `absorption_type amount bank barcode billing charge_status created_at currency discounts email flow id
    installment_term ip items livemode location mobile_number name object phone_number platform_type promotion_code
    provider_references qr_settings receipt_amount references scannable_code shipping store_id store_name terminal_id
    type zero_interest_installments`,
  scannable_code: 'image object type',
  document: 'created_at deleted download_uri filename id livemode location object',
  token: 'card charge_status created_at id livemode location object used',
  refund: `acquirer_reference_number amount approval_code capture charge created_at currency funding_amount
    funding_currency id livemode location metadata object status terminal transaction voided`,
  dispute: `admin_message amount charge closed_at created_at currency documents funding_amount funding_currency id
    livemode location message metadata object reason_code reason_message status transactions`,
  transaction: 'amount created_at currency direction id key livemode location object origin transferable_at',
  event: 'created_at data id key livemode location object webhook_deliveries',
  delivery: 'created_at error id key object payload status uri',
  link: `amount charges created_at currency deleted deleted_at description id livemode location multiple object
    payment_uri title used used_at`,
  account: `api_version auto_activate_recipients chain_enabled chain_return_uri chaining_allowed country created_at
    currency email id last_updated_api_version livemode location metadata_export_keys object supported_currencies team
    transfer_config webhook_uri zero_interest_installments`,
  transfer_config: `fee is_payout_enabled max_active_realtime_transfer_schedules max_transfer_amount merchant_id
    min_transfer_amount provider same_bank_max_transfer_amount transfer_service_availability`,
  capability: 'banks country limits location object payment_methods tokenization_methods zero_interest_installments',
  limits: 'charge_amount installment_amount transfer_amount',
  payment_method: 'banks card_brands currencies installment_terms loan_installment_terms name object provider',
  list: 'data from limit location object offset order to total',
  search: `aggregate_level data export filters location object order page per_page query scope total total_pages`,
  error: 'code location message object',
};

let merchant: Merchant;
let byCard: JsonObject;
let byQr: JsonObject;

beforeAll(async () => {
  merchant = await startMerchant({ webhookUri: 'http://127.0.0.1:1/' });
  const order = { amount: 100_000, currency: 'THB' };
  const id = idIn(await merchant.post('/charges', { ...order, card: await merchant.token() }));
  await merchant.post(`/charges/${id}/refunds`, { amount: 10_000 });
  merchant.omise.control.dispute(id);
  byCard = await merchant.get(`/charges/${id}`);
  byQr = await merchant.promptpay();
  await merchant.omise.control.settled();
});
afterAll(() => merchant.close());

function expectKeys(value: Json | undefined, kind: keyof typeof RECORDED): void {
  expect(isObject(value), kind).toBe(true);
  const keys = Object.keys(isObject(value) ? value : {});
  const missing = RECORDED[kind].split(/\s+/).filter((key) => !keys.includes(key));
  expect(missing, `missing in ${kind}`).toEqual([]);
}

function inside(value: Json | undefined, ...path: (string | number)[]): Json | undefined {
  return path.reduce<Json | undefined>((at, step) => {
    if (Array.isArray(at)) return at[Number(step)];
    return isObject(at) ? at[step] : undefined;
  }, value);
}

describe('the keys of the records', () => {
  test('are in charges of every state', async () => {
    const { control } = merchant.omise;
    const [failed, expired, paid] = [
      await merchant.promptpay(),
      await merchant.promptpay(),
      await merchant.promptpay(),
    ];
    const order = { amount: 100_000, currency: 'THB', capture: false };
    const held = await merchant.post('/charges', { ...order, card: await merchant.token() });
    const challenged = await merchant.post('/charges', {
      ...order,
      card: await merchant.token(),
      return_uri: 'https://shop.example',
    });
    const states = [byCard, byQr, control.fail(failed.id), control.expire(expired.id), control.pay(paid.id), held];
    for (const charge of [...states, challenged]) expectKeys(charge, 'charge');
    expect(challenged).toHaveProperty('missing_3ds_fields');
    expect(held).not.toHaveProperty('missing_3ds_fields');
  });

  test('are in what a charge holds', () => {
    expectKeys(inside(byCard, 'card'), 'card');
    expectKeys(inside(byCard, 'dispute'), 'dispute');
    expectKeys(inside(byCard, 'dispute', 'transactions', 0), 'transaction');
    expectKeys(inside(byCard, 'refunds'), 'list');
    expectKeys(inside(byCard, 'refunds', 'data', 0), 'refund');
    expectKeys(inside(byCard, 'transaction_fees'), 'fees');
    expectKeys(inside(byCard, 'platform_fee'), 'platform_fee');
    expectKeys(inside(byQr, 'source'), 'source');
    expectKeys(inside(byQr, 'source', 'scannable_code'), 'scannable_code');
    expectKeys(inside(byQr, 'source', 'scannable_code', 'image'), 'document');
  });

  test('are in events and their deliveries', async () => {
    const list = await merchant.get('/events');
    expectKeys(list, 'list');
    expectKeys(inside(list, 'data', 0), 'event');
    expectKeys(inside(list, 'data', 0, 'data'), 'charge');
    expectKeys(inside(list, 'data', 0, 'webhook_deliveries', 0), 'delivery');
  });

  test('are in tokens, sources and links', async () => {
    const token = await merchant.get(`/tokens/${await merchant.token()}`);
    expectKeys(token, 'token');
    expectKeys(token['card'], 'card');
    expectKeys(await merchant.post('/sources', { type: 'promptpay', amount: 50_000, currency: 'THB' }), 'source');
    const link = await merchant.post('/links', { amount: 50_000, currency: 'THB', title: 'T', description: 'D' });
    expectKeys(link, 'link');
    expectKeys(link['charges'], 'list');
  });

  test('are in the account and what it can do', async () => {
    const account = await merchant.get('/account');
    expectKeys(account, 'account');
    expectKeys(account['transfer_config'], 'transfer_config');
    expect(account).toMatchObject({ country: 'TH', currency: 'THB', api_version: '2019-05-29', livemode: false });
    const capability = await merchant.get('/capability');
    expectKeys(capability, 'capability');
    expectKeys(capability['limits'], 'limits');
    expectKeys(inside(capability, 'payment_methods', 0), 'payment_method');
    expect(capability).toMatchObject({ limits: { charge_amount: { min: 2_000, max: 500_000_000_000 } } });
    const names = (capability['payment_methods'] as JsonObject[]).map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(['card', 'promptpay', 'truemoney', 'mobile_banking_scb']));
  });

  test('are in lists, searches and errors', async () => {
    for (const path of ['/charges', '/links', '/disputes', '/transactions', '/customers']) {
      expectKeys(await merchant.get(path), 'list');
    }
    expectKeys(await merchant.get('/search?scope=charge'), 'search');
    expectKeys((await merchant.call('GET', '/charges/chrg_test_none')).body, 'error');
  });

  test('come in the order of the records, which begins with what it is', () => {
    expect(Object.keys(byQr).slice(0, 4)).toEqual(['object', 'id', 'location', 'amount']);
  });
});
