import { describe, expect, onTestFinished, test } from 'vitest';
import { basic, idIn, type Merchant, PUBLIC_KEY, startMerchant } from '../../sandbox/omise/testing/merchant.ts';

async function open(): Promise<Merchant> {
  const merchant = await startMerchant();
  onTestFinished(() => merchant.close());
  return merchant;
}

describe('a request', () => {
  test('without a key, with a wrong one or with the other kind of key gets the recorded 401', async () => {
    const { call } = await open();
    const recorded = {
      object: 'error',
      location: 'https://www.omise.co/api-errors#authentication-failure',
      code: 'authentication_failure',
      message: 'authentication failed',
    };
    for (const authorization of ['', 'Bearer x', basic('skey_test_wrong'), basic(PUBLIC_KEY)]) {
      const { status, body } = await call('GET', '/charges', undefined, { authorization });
      expect([status, body]).toEqual([401, recorded]);
    }
    const secretAtVault = await call('POST', '/tokens', {}, { authorization: basic('skey_test_5xample') });
    expect(secretAtVault.status).toBe(401);
  });

  test('for an unknown object or path gets the recorded 404', async () => {
    const { call } = await open();
    expect(await call('GET', '/charges/chrg_test_none')).toMatchObject({
      status: 404,
      body: {
        object: 'error',
        location: 'https://docs.omise.co/api/errors#not-found',
        code: 'not_found',
        message: 'charge chrg_test_none was not found',
      },
    });
    for (const path of [
      '/nothing',
      '/charges/a/b/c',
      '/sources/x',
      '/tokens/x',
      '/events/x',
      '/links/x',
      '/disputes/x',
    ]) {
      expect((await call('GET', path)).status, path).toBe(404);
    }
  });

  test('may be JSON or form fields', async () => {
    const { post } = await open();
    const charge = await post('/charges', 'amount=50000&currency=thb&source[type]=promptpay&metadata[attempt_id]=a1');
    expect(charge).toMatchObject({ amount: 50_000, currency: 'THB', metadata: { attempt_id: 'a1' } });
  });

  test('that is not JSON, or not an object, is a bad request', async () => {
    const { call } = await open();
    const type = { 'content-type': 'application/json' };
    for (const text of ['{', '[]', 'null']) {
      expect(await call('POST', '/charges', text, type)).toMatchObject({ status: 400, body: { code: 'bad_request' } });
    }
  });

  test('is answered in the version it asks for, which is echoed', async () => {
    const merchant = await open();
    const { id } = await merchant.promptpay({ metadata: { currency: 'THB', paid: 1 } });
    const now = await merchant.call('GET', `/charges/${id}`);
    expect(now.headers.get('omise-version')).toBe('2019-05-29');
    const old = await merchant.call('GET', `/charges/${id}`, undefined, { 'omise-version': '2017-11-02' });
    expect(old.headers.get('omise-version')).toBe('2017-11-02');
    expect(old.body).toMatchObject({ currency: 'thb', captured: false, refunded: 0, created: expect.any(String) });
    expect(old.body).not.toHaveProperty('paid');
    expect(old.body['metadata'], 'the merchant’s own words').toEqual({ currency: 'THB', paid: 1 });
    const unknown = await merchant.call('GET', '/account', undefined, { 'omise-version': 'newest' });
    expect(unknown.status).toBe(400);
  });

  test('of a browser to the vault passes the preflight', async () => {
    const { call } = await open();
    const reply = await call('OPTIONS', '/tokens', undefined, { origin: 'https://shop.example' });
    expect([reply.status, reply.headers.get('access-control-allow-origin')]).toEqual([204, '*']);
  });

  test('with an Idempotency-Key is not special, unless the switch says so', async () => {
    const merchant = await open();
    const make = async () => {
      const body = { amount: 50_000, currency: 'THB', source: { type: 'promptpay' } };
      return idIn((await merchant.call('POST', '/charges', body, { 'idempotency-key': 'k1' })).body);
    };
    expect(await make()).not.toBe(await make());
    merchant.omise.control.honourIdempotencyKey(true);
    expect(await make()).toBe(await make());
  });
});
