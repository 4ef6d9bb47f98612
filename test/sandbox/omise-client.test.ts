import { globalAgent } from 'node:http';
import omisePackage from 'omise';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { idIn, type Merchant, PUBLIC_KEY, SECRET_KEY, startMerchant } from '../../sandbox/omise/testing/merchant.ts';

// The real npm client, unchanged: `scheme` and hosts by its options, the port through Node's global agent.

/** Its types describe a default export that does not exist when it runs, and leave out what we call below. */
type Api = (...values: unknown[]) => Promise<Record<string, unknown> & { id: string }>;
type Client = Record<string, Record<string, Api>>;
const openClient = omisePackage as unknown as (options: Record<string, unknown>) => Client;

let merchant: Merchant;
const originalPort = Object.getOwnPropertyDescriptor(globalAgent, 'defaultPort');

beforeAll(async () => {
  merchant = await startMerchant();
  Object.assign(globalAgent, { defaultPort: merchant.omise.port });
});
afterAll(async () => {
  if (originalPort !== undefined) Object.defineProperty(globalAgent, 'defaultPort', originalPort);
  globalAgent.destroy();
  await merchant.close();
});
afterEach(() => merchant.omise.control.clearFaults());

function client(options: Record<string, unknown> = {}): Client {
  const host = '127.0.0.1';
  const keys = { publicKey: PUBLIC_KEY, secretKey: SECRET_KEY };
  return openClient({ scheme: 'http', host, vaultHost: host, omiseVersion: '2019-05-29', ...keys, ...options });
}

function at(resource: string, verb: string): Api {
  const call = client()[resource]?.[verb];
  if (call === undefined) throw new Error(`the client has no ${resource}.${verb}`);
  return call;
}

async function cardToken(number = '4242424242424242'): Promise<string> {
  const card = { name: 'Somchai', number, expiration_month: 12, expiration_year: 2099, security_code: '123' };
  return (await at('tokens', 'create')({ card })).id;
}

async function cardCharge(change: Record<string, unknown> = {}) {
  return at('charges', 'create')({ amount: 100_000, currency: 'THB', card: await cardToken(), ...change });
}

describe('the real npm client', () => {
  test('pays by card', async () => {
    const charge = await cardCharge({ metadata: { attempt_id: 'att_1' } });
    expect(charge).toMatchObject({ object: 'charge', status: 'successful', paid: true, amount: 100_000 });
    expect(await at('charges', 'retrieve')(charge.id)).toMatchObject({
      id: charge.id,
      metadata: { attempt_id: 'att_1' },
    });
  });

  test('waits for a PromptPay payment', async () => {
    const charge = await at('charges', 'create')({ amount: 50_000, currency: 'THB', source: { type: 'promptpay' } });
    expect(charge).toMatchObject({ status: 'pending', paid: false, authorize_uri: null });
    merchant.omise.control.pay(charge.id);
    expect(await at('charges', 'retrieve')(charge.id)).toMatchObject({ status: 'successful', paid: true });
  });

  test('makes a source first and charges it', async () => {
    const source = await at('sources', 'create')({ type: 'promptpay', amount: 50_000, currency: 'THB' });
    expect(await at('sources', 'retrieve')(source.id)).toMatchObject({ charge_status: 'unknown' });
    const charge = await at('charges', 'create')({ amount: 50_000, currency: 'THB', source: source.id });
    expect(charge).toMatchObject({ source: { id: source.id, charge_status: 'pending' } });
  });

  test('captures, reverses, expires and updates', async () => {
    const held = await cardCharge({ capture: false });
    expect(await at('charges', 'capture')(held.id, { capture_amount: 40_000 })).toMatchObject({
      captured_amount: 40_000,
    });
    const other = await cardCharge({ capture: false });
    expect(await at('charges', 'reverse')(other.id)).toMatchObject({ status: 'reversed' });
    const pending = await at('charges', 'create')({ amount: 50_000, currency: 'THB', source: { type: 'promptpay' } });
    expect(await at('charges', 'update')(pending.id, { description: 'new' })).toMatchObject({ description: 'new' });
    expect(await at('charges', 'expire')(pending.id)).toMatchObject({ status: 'expired' });
  });

  test('refunds, and reads refunds back', async () => {
    const charge = await cardCharge();
    const refund = await at('charges', 'createRefund')(charge.id, { amount: 10_000, metadata: { refund_id: 'r1' } });
    expect(refund).toMatchObject({ object: 'refund', charge: charge.id, voided: false });
    expect(await at('charges', 'listRefunds')(charge.id)).toMatchObject({ total: 1, data: [{ id: refund.id }] });
    const again = await at('charges', 'retrieveRefund')(charge.id, refund.id);
    expect(again).toMatchObject({ id: refund.id, metadata: { refund_id: 'r1' } });
  });

  test('keeps a card with a customer', async () => {
    const customer = await at('customers', 'create')({ email: 'a@example.com', card: await cardToken() });
    const charge = await at('charges', 'create')({ amount: 20_000, currency: 'THB', customer: customer.id });
    expect(charge).toMatchObject({ status: 'successful', customer: customer.id });
  });

  test('lists, and searches with flat filters', async () => {
    const charge = await cardCharge({ description: 'needle-in-hay' });
    expect(await at('charges', 'list')({ limit: 1, order: 'reverse_chronological' })).toMatchObject({
      object: 'list',
      data: [{ id: charge.id }],
    });
    const found = await at('search', 'list')({ scope: 'charge', query: 'needle-in-hay', 'filters[captured]': true });
    expect(found).toMatchObject({ object: 'search', total: 1, data: [{ id: charge.id }] });
  });

  test('reads account, balance, capability, events, links, transactions and disputes', async () => {
    const charge = await cardCharge();
    merchant.omise.control.dispute(charge.id);
    expect(await at('account', 'retrieve')()).toMatchObject({ object: 'account', api_version: '2019-05-29' });
    expect(await at('balance', 'retrieve')()).toMatchObject({ object: 'balance', currency: 'THB' });
    expect(await at('capability', 'retrieve')()).toMatchObject({ object: 'capability', country: 'TH' });
    expect(await at('disputes', 'listOpen')()).toMatchObject({ data: [{ charge: charge.id, status: 'open' }] });
    const [event] = merchant.omise.control.events();
    expect(await at('events', 'retrieve')(idIn(event ?? {}))).toMatchObject({ object: 'event' });
    const link = await at('links', 'create')({ amount: 30_000, currency: 'THB', title: 'T', description: 'D' });
    expect(await at('links', 'retrieve')(link.id)).toMatchObject({ used: false, multiple: false });
    const { transaction } = charge;
    expect(await at('transactions', 'retrieve')(transaction)).toMatchObject({ origin: charge.id, direction: 'credit' });
  });

  test('rejects with the plain error object of the API', async () => {
    const token = await cardToken();
    await at('charges', 'create')({ amount: 20_000, currency: 'THB', card: token });
    const again = at('charges', 'create')({ amount: 20_000, currency: 'THB', card: token });
    await expect(again).rejects.toMatchObject({ object: 'error', code: 'used_token' });
    const locked = client({ secretKey: 'skey_test_wrong' })['account']?.['retrieve']?.();
    await expect(locked).rejects.toMatchObject({ code: 'authentication_failure' });
  });

  test('its known traps are to be met here too', async () => {
    const { control } = merchant.omise;
    control.fault({ api: 'server_error', status: 503, path: '/account', times: 1 });
    expect(await at('account', 'retrieve')(), 'a 503 resolves').toMatchObject({ message: expect.any(String) });
    control.fault({ api: 'bad_gateway', path: '/account', times: 1 });
    await expect(at('account', 'retrieve')()).rejects.toMatch(/^<html>/);
    control.fault({ api: 'reset_after_execution', path: '/account', times: 1 });
    await expect(at('account', 'retrieve')()).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect(await at('charges', 'retrieve')(''), 'an empty id lists').toMatchObject({ object: 'list' });
  });

  test('its headers are noted', async () => {
    await at('account', 'retrieve')();
    expect(merchant.omise.control.lastHeaders('GET /account')).toMatchObject({ 'omise-version': '2019-05-29' });
    expect(merchant.omise.control.calls()['GET /account']).toBeGreaterThan(0);
  });
});
