import jsqrModule from 'jsqr';
import { PNG } from 'pngjs';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Client, clientOf, type Json, newCustomer } from '../harness/client.ts';
import { startProvider } from '../harness/farebox.ts';
import { type CannedProvider, type Says, startCannedProvider } from './canned-provider.ts';
import { openShop, type Shop } from './shop.ts';

// Its types describe the default export of a module that it is not.
const readQr = jsqrModule as unknown as typeof jsqrModule.default;
const DEADLINE_MS = 500;
let shop: Shop;
let customer: Client;
/** A host that is not the provider's. */
let elsewhere: CannedProvider;
/** The provider's host; it answers for images what the test says. */
let front: CannedProvider;
let image: Says | undefined;

beforeAll(async () => {
  const omise = await startProvider();
  elsewhere = await startCannedProvider();
  front = await startCannedProvider();
  front.says = async (response, asked) => {
    if (asked.path.includes('/documents/') && image) {
      return typeof image === 'function'
        ? image(response, asked)
        : response.writeHead(image.status ?? 200, { 'content-type': image.type ?? 'image/png' }).end(image.body);
    }
    const { authorization = '', 'content-type': type = 'application/json' } = asked.headers;
    const reply = await fetch(omise.url + asked.path, {
      method: asked.method,
      headers: { authorization, 'content-type': type },
      ...(asked.method === 'GET' ? {} : { body: asked.body }),
    });
    const bytes = Buffer.from(await reply.arrayBuffer());
    const isJson = reply.headers.get('content-type')?.includes('json');
    // As the provider writes addresses: on its own host.
    const body = isJson ? bytes.toString().replaceAll(omise.url, front.url) : bytes;
    return response.writeHead(reply.status, { 'content-type': reply.headers.get('content-type') ?? '' }).end(body);
  };
  shop = await openShop({
    omise,
    env: { WORKERS: 'off', OMISE_URL: front.url, OMISE_DEADLINE_MS: String(DEADLINE_MS) },
  });
  customer = await newCustomer(shop.farebox);
});
afterAll(async () => {
  await shop.stop();
  await front.close();
  await elsewhere.close();
  await shop.farebox.omise.close();
});
beforeEach(() => {
  image = undefined;
  shop.omise.clearFaults();
  elsewhere.asked.length = 0;
});

const qr = (purchase: Json, who = customer) => who.get(`/v1/purchases/${purchase.id}/qr`);

async function scan(url: string, token?: string): Promise<string | undefined> {
  const reply = await fetch(url, { headers: token ? { authorization: `Bearer ${token}` } : {} });
  expect(reply.headers.get('content-type')).toBe('image/png');
  const { data, width, height } = PNG.sync.read(Buffer.from(await reply.arrayBuffer()));
  return readQr(Uint8ClampedArray.from(data), width, height)?.data;
}

describe('the QR code of a purchase', () => {
  // REQ E2.1
  test('is an image that a banking app reads: it names the charge and the amount', async () => {
    const purchase = await shop.buy(customer);
    const payload = await scan(`${shop.farebox.url}/v1/purchases/${purchase.id}/qr`, customer.token);
    expect(payload).toContain('5406500.00'); // tag 54: THB 500.00
    const paid = await fetch(`${shop.farebox.omise.url}/pay?qr=${encodeURIComponent(payload ?? '')}`, {
      redirect: 'manual',
    });
    expect(paid.headers.get('location')).toBe(`/pay/${shop.chargeOf(purchase)}`);
    expect(await scan(purchase.qr_url), 'the same on the page that anybody with the link sees').toBe(payload);
  });

  test('comes from us, and is not kept by anybody else', async () => {
    const purchase = await shop.buy(customer);
    expect(purchase.qr_url.startsWith(shop.farebox.url)).toBe(true);
    expect(JSON.stringify(purchase)).not.toContain(front.url);
    const { status, headers } = await qr(purchase);
    expect(status).toBe(200);
    expect(headers.get('cache-control')).toMatch(/^private/);
    expect(headers.get('content-security-policy')).toMatch(/default-src 'none'.*sandbox/);
    expect(headers.get('x-content-type-options')).toBe('nosniff');
  });

  test('is nobody else’s, and nothing that is paid, over or not a QR code has one', async () => {
    const purchase = await shop.buy(customer);
    expect((await qr(purchase, await newCustomer(shop.farebox))).status).toBe(404);
    expect((await qr(purchase, clientOf(shop.farebox.url))).status).toBe(401);
    expect((await qr(await shop.buy(customer, { type: 'truemoney', phone_number: '0812345678' }))).status).toBe(404);
    expect((await qr(await shop.buy(customer, { type: 'payment_link' }))).status).toBe(404);
    shop.omise.pay(shop.chargeOf(purchase));
    await shop.operator.ok('POST', `/v1/admin/purchases/${purchase.id}/converge`);
    expect((await qr(purchase)).status).toBe(404);
  });

  test.each([
    ['another host', () => elsewhere.url],
    ['another port of the same host', () => `http://127.0.0.1:${new URL(elsewhere.url).port}`],
    ['a name that begins like the provider’s', () => `${front.url}.evil.example.com`],
    ['the provider as a user name', () => `http://${new URL(front.url).host}@127.0.0.1:${new URL(elsewhere.url).port}`],
    ['a file', () => 'file:///etc/passwd#'],
    ['no address at all', () => 'qr'],
  ])('at %s is not fetched, and the key goes nowhere', async (_name, host) => {
    const purchase = await shop.buy(customer);
    const source = shop.chargesOf(purchase)[0].source;
    source.scannable_code.image.download_uri = `${host()}/documents/1`;
    shop.omise.mutate(shop.chargeOf(purchase), { data: 'disguise', set: { source } });
    await shop.operator.ok('POST', `/v1/admin/purchases/${purchase.id}/converge`);
    expect(await qr(purchase)).toMatchObject({ status: 503, body: { code: 'provider_unavailable' } });
    expect(elsewhere.asked).toEqual([]);
  });

  test.each([
    ['a page instead of an image', { type: 'text/html', body: '<script>alert(1)</script>' }],
    ['an error', { status: 500, body: 'oops' }],
    ['nothing found', { status: 404, body: '' }],
    ['a way to another host', (response) => response.writeHead(302, { location: `${elsewhere.url}/x` }).end()],
    ['an image without end', { body: 'x'.repeat(600_000) }],
    [
      'half an image',
      (response) =>
        response
          .writeHead(200, { 'content-type': 'image/png', 'content-length': '9999' })
          .write('x', () => response.destroy()),
    ],
    ['silence', () => {}],
    ['silence in the middle', (response) => response.writeHead(200, { 'content-type': 'image/png' }).write('x')],
    ['a reset', (response) => response.socket?.resetAndDestroy()],
  ] satisfies [string, Says][])('%s from the provider: 503, in time', async (_name, says) => {
    const purchase = await shop.buy(customer);
    image = says;
    const begun = performance.now();
    const reply = await qr(purchase);
    expect(performance.now() - begun).toBeLessThan(DEADLINE_MS + 1000);
    expect(reply).toMatchObject({ status: 503, body: { code: 'provider_unavailable' } });
    expect(Number(reply.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(elsewhere.asked).toEqual([]);
    image = undefined;
    expect((await qr(purchase)).status).toBe(200);
  });

  test('an SVG is passed on as one, and may do nothing by itself', async () => {
    const purchase = await shop.buy(customer);
    image = { type: 'image/svg+xml; charset=utf-8', body: '<svg xmlns="http://www.w3.org/2000/svg"/>' };
    const { status, headers } = await qr(purchase);
    expect(status).toBe(200);
    expect(headers.get('content-type')).toBe('image/svg+xml');
    expect(headers.get('content-security-policy')).toContain('sandbox');
  });
});
