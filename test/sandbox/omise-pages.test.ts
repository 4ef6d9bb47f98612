import jsqrModule from 'jsqr';
import { PNG } from 'pngjs';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { OmiseOptions } from '../../sandbox/omise/server.ts';
import { basic, idIn, type Merchant, SECRET_KEY, startMerchant } from '../../sandbox/omise/testing/merchant.ts';

/** Its types describe an ES module; what Node loads is the function itself. */
const readQr = jsqrModule as unknown as typeof jsqrModule.default;

async function open(options: Partial<OmiseOptions> = {}): Promise<Merchant> {
  const merchant = await startMerchant(options);
  onTestFinished(() => merchant.close());
  return merchant;
}

async function pageAt(merchant: Merchant, path: string): Promise<{ status: number; text: string; headers: Headers }> {
  const response = await fetch(merchant.omise.url + path);
  return { status: response.status, text: await response.text(), headers: response.headers };
}

/** Presses the button of a form, as a browser without JavaScript does. */
function press(address: string, decision: string, redirect: 'manual' | 'follow' = 'follow'): Promise<Response> {
  return fetch(address, { method: 'POST', body: new URLSearchParams({ decision }), redirect });
}

async function threeDSecure(merchant: Merchant, number = '4242424242424242', change = {}) {
  const card = await merchant.token(number);
  const order = { amount: 50_000, currency: 'THB', card, return_uri: 'https://shop.example/back?order=1', ...change };
  const charge = await merchant.post('/charges', order);
  return { id: idIn(charge), address: String(charge['authorize_uri']) };
}

describe('the pay page', () => {
  test('shows merchant, amount, what for, and the code of the charge', async () => {
    const merchant = await open({ merchant: 'Tea & Sons' });
    const { id } = await merchant.promptpay({ description: '120 credits' });
    const { status, text, headers } = await pageAt(merchant, `/pay/${id}`);
    expect([status, headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
    for (const part of [
      'Tea &amp; Sons',
      '฿500.00',
      '120 credits',
      '<svg',
      '24 hours',
      'PromptPay',
      'Pay</button>',
      'Decline</button>',
    ]) {
      expect(text).toContain(part);
    }
    expect(text).not.toContain('<script');
    expect(headers.get('content-security-policy')).toMatch(/default-src 'none'; style-src 'sha256-/);
  });

  test('"Pay" pays and says so', async () => {
    const merchant = await open();
    const { id } = await merchant.promptpay();
    const after = await press(`${merchant.omise.url}/pay/${id}`, 'pay');
    expect(after.url).toBe(`${merchant.omise.url}/pay/${id}`);
    expect(await after.text()).toMatch(/role="status">Paid</);
    expect(await merchant.get(`/charges/${id}`)).toMatchObject({ status: 'successful', paid: true });
    expect(merchant.omise.control.events().map(({ key }) => key)).toEqual(['charge.create', 'charge.complete']);
  });

  test('"Decline" fails the charge, and a second press changes nothing', async () => {
    const merchant = await open();
    const { id } = await merchant.promptpay();
    const address = `${merchant.omise.url}/pay/${id}`;
    expect(await (await press(address, 'decline')).text()).toMatch(/role="status">Declined</);
    expect(await (await press(address, 'pay')).text()).toMatch(/role="status">Declined</);
    expect(await merchant.get(`/charges/${id}`)).toMatchObject({ status: 'failed', failure_code: 'payment_cancelled' });
  });

  test('has a headline for every state', async () => {
    const merchant = await open();
    const { control } = merchant.omise;
    const headlineOf = async (id: string) =>
      /role="status">([^<]+)</.exec((await pageAt(merchant, `/pay/${id}`)).text)?.[1];
    const [expired, refunded] = [await merchant.promptpay(), await merchant.promptpay()];
    control.expire(expired.id);
    control.pay(refunded.id);
    control.refund(refunded.id, { amount: 100 });
    const order = { amount: 50_000, currency: 'THB', capture: false };
    const held = idIn(await merchant.post('/charges', { ...order, card: await merchant.token() }));
    expect(await headlineOf(expired.id)).toBe('Expired');
    expect(await headlineOf(refunded.id)).toBe('Refunded');
    expect(await headlineOf(held)).toBe('Reserved');
    await merchant.post(`/charges/${held}/reverse`);
    expect(await headlineOf(held)).toBe('Released');
    expect((await pageAt(merchant, '/pay/chrg_test_none')).status).toBe(404);
  });

  test('escapes what the merchant says', async () => {
    const evil = '<script>alert("1")</script>';
    const merchant = await open({ merchant: evil });
    const { id } = await merchant.promptpay({ description: evil });
    for (const path of [`/pay/${id}`, '/pay/%3Cscript%3E', `/pay?qr=${encodeURIComponent(evil)}`]) {
      expect((await pageAt(merchant, path)).text).not.toContain('<script');
    }
  });

  test('is where a scanned code leads', async () => {
    const merchant = await open();
    await merchant.promptpay();
    const charge = await merchant.promptpay();
    const address = /http[^"]+\/downloads\/[0-9A-F]{16}/.exec(JSON.stringify(charge))?.[0] ?? '';
    const image = await fetch(address, { headers: { authorization: basic(SECRET_KEY) } });
    const { data, width, height } = PNG.sync.read(Buffer.from(await image.arrayBuffer()));
    const payload = readQr(new Uint8ClampedArray(data), width, height)?.data ?? '';
    const scanned = await fetch(`${merchant.omise.url}/pay?qr=${encodeURIComponent(payload)}`);
    expect(scanned.url).toBe(`${merchant.omise.url}/pay/${charge.id}`);
    expect(await scanned.text(), 'the page shows the same code').toContain(payload);
    expect((await pageAt(merchant, '/pay')).text).toContain('<textarea');
    expect((await pageAt(merchant, '/pay?qr=garbage')).status).toBe(404);
  });
});

describe('the page of 3-D Secure', () => {
  test('"Complete" pays and leads back to the shop, which must look for itself', async () => {
    const merchant = await open();
    const { id, address } = await threeDSecure(merchant);
    const page = await (await fetch(address)).text();
    expect(page).toContain('฿500.00');
    expect(page).toContain('ending in 4242');
    const after = await press(address, 'complete', 'manual');
    expect([after.status, after.headers.get('location')]).toEqual([303, 'https://shop.example/back?order=1']);
    expect(await merchant.get(`/charges/${id}`)).toMatchObject({ status: 'successful', paid: true });
    expect(merchant.omise.control.events().map(({ key }) => key)).toEqual(['charge.create', 'charge.complete']);
    expect(await (await fetch(address)).text()).toContain('already decided');
  });

  test('"Fail" fails the charge and leads back as well', async () => {
    const merchant = await open();
    const { id, address } = await threeDSecure(merchant);
    expect((await press(address, 'fail', 'manual')).status).toBe(303);
    expect(await merchant.get(`/charges/${id}`)).toMatchObject({ status: 'failed', failure_code: 'payment_rejected' });
    await press(address, 'complete', 'manual');
    expect(await merchant.get(`/charges/${id}`)).toMatchObject({ status: 'failed' });
  });

  test('a card without money fails after it too, and some cards fail in it', async () => {
    const merchant = await open();
    const poor = await threeDSecure(merchant, '4111111111140011');
    await press(poor.address, 'complete', 'manual');
    expect(await merchant.get(`/charges/${poor.id}`)).toMatchObject({ failure_code: 'insufficient_fund' });
    const unproven = await threeDSecure(merchant, '4111111111140003');
    await press(unproven.address, 'complete', 'manual');
    expect(await merchant.get(`/charges/${unproven.id}`)).toMatchObject({ failure_code: 'payment_rejected' });
  });

  test('with capture: false only reserves the money', async () => {
    const merchant = await open();
    const { id, address } = await threeDSecure(merchant, undefined, { capture: false });
    await press(address, 'complete', 'manual');
    expect(await merchant.get(`/charges/${id}`)).toMatchObject({ status: 'pending', authorized: true, paid: false });
    expect(await merchant.post(`/charges/${id}/capture`)).toMatchObject({ status: 'successful' });
  });

  test('serves wallets and mobile banking too', async () => {
    const merchant = await open();
    const order = { amount: 50_000, currency: 'THB', return_uri: 'https://shop.example/back' };
    const pay = async (decision: string) => {
      const charge = await merchant.post('/charges', { ...order, source: { type: 'mobile_banking_kbank' } });
      await press(String(charge['authorize_uri']), decision, 'manual');
      return merchant.get(`/charges/${idIn(charge)}`);
    };
    expect(await pay('complete')).toMatchObject({ status: 'successful', source: { charge_status: 'successful' } });
    expect(await pay('fail')).toMatchObject({ status: 'failed', failure_code: 'payment_cancelled' });
  });

  test('is not found under another address', async () => {
    const merchant = await open();
    expect((await pageAt(merchant, '/payments/paym_test_none/authorize')).status).toBe(404);
    expect((await press(`${merchant.omise.url}/payments/paym_test_none/authorize`, 'complete')).status).toBe(404);
  });
});
