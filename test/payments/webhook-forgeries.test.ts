import { createHmac, createSign, generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, eventually, type Json, newCustomer } from '../harness/client.ts';
import { omiseKeys } from '../harness/farebox.ts';
import { openShop, type Shop } from './shop.ts';
import { eventAbout, idFor, nowS, post, sealed, sign } from './webhook.ts';

const NEXT_SECRET = Buffer.from('the-secret-after-the-rotation').toString('base64');

let shop: Shop;
let customer: Client;

beforeAll(async () => {
  // While a secret is being rotated there are two of them.
  shop = await openShop({ env: { OMISE_WEBHOOK_SECRETS: `${omiseKeys.webhookSecret},${NEXT_SECRET}` } });
  customer = await newCustomer(shop.farebox);
  shop.omise.fault({ webhook: 'drop' });
});
afterAll(() => shop.stop());

const kept = async (event: Json) =>
  (await shop.sql`select state, outcome, charge_id from payments.webhook_inbox where event_id = ${event.id}`)[0];

const workedOff = (event: Json) =>
  eventually(
    () => kept(event),
    (row) => row !== undefined && row['state'] !== 'received',
  );

const at = (offsetS: number) => String(Math.floor(Date.now() / 1000) + offsetS);
const hmac = (text: string, key: string | Buffer = Buffer.from(omiseKeys.webhookSecret, 'base64')) =>
  createHmac('sha256', key).update(text);

/** Headers that must not be believed, for a body. */
const forgeries: Record<string, (body: string) => Record<string, string>> = {
  'no signature at all': () => ({}),
  'a signature without a timestamp': (body) => ({ 'omise-signature': sign(body) }),
  'a timestamp without a signature': () => ({ 'omise-signature-timestamp': nowS() }),
  'an empty signature': () => ({ 'omise-signature': '', 'omise-signature-timestamp': nowS() }),
  'a signature that is not hexadecimal': () => ({
    'omise-signature': 'z'.repeat(64),
    'omise-signature-timestamp': nowS(),
  }),
  'half a signature': (body) => ({ ...sealed(body), 'omise-signature': sign(body).slice(0, 32) }),
  'a signature by another secret': (body) => sealed(body, nowS(), Buffer.from('not ours').toString('base64')),
  'a signature by an empty secret': (body) => ({
    'omise-signature': hmac(`${nowS()}.${body}`, '').digest('hex'),
    'omise-signature-timestamp': nowS(),
  }),
  'the secret used without decoding it': (body) => ({
    'omise-signature': hmac(`${nowS()}.${body}`, omiseKeys.webhookSecret).digest('hex'),
    'omise-signature-timestamp': nowS(),
  }),
  'a signature of another body': (body) => sealed(`${body} `),
  'a signature over the body alone': (body) => ({
    'omise-signature': hmac(body).digest('hex'),
    'omise-signature-timestamp': nowS(),
  }),
  'a signature in base64': (body) => ({
    'omise-signature': hmac(`${nowS()}.${body}`).digest('base64'),
    'omise-signature-timestamp': nowS(),
  }),
  'the header of the folklore': (body) => ({
    'x-omise-signature': sign(body),
    'omise-signature-timestamp': nowS(),
  }),
  'another timestamp than the one that was signed': (body) => ({
    ...sealed(body),
    'omise-signature-timestamp': at(-1),
  }),
  'a timestamp that is too old': (body) => sealed(body, at(-302)),
  'a timestamp of yesterday': (body) => sealed(body, at(-86_400)),
  'a timestamp that is too far ahead': (body) => sealed(body, at(302)),
  'a timestamp in milliseconds': (body) => sealed(body, String(Date.now())),
  'a timestamp that is a date': (body) => sealed(body, new Date().toISOString()),
  'a timestamp that is a word': (body) => sealed(body, 'NaN'),
  'a timestamp with a sign': (body) => sealed(body, `+${nowS()}`),
  'a timestamp that is a fraction': (body) => sealed(body, `${nowS()}.0`),
  'a timestamp of a thousand digits': (body) => sealed(body, '1'.repeat(1000)),
  'an empty timestamp': (body) => sealed(body, ''),
  'the right signature behind too many wrong ones': (body) => ({
    ...sealed(body),
    'omise-signature': [...Array(50).fill('0'.repeat(64)), sign(body)].join(','),
  }),
  'a signature of another kind': (body) => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    return { ...sealed(body), 'omise-signature': createSign('sha256').update(body).sign(privateKey, 'hex') };
  },
};

describe('a notification that is not signed as it must be', () => {
  // REQ E3.4 E6.5
  test.each(Object.entries(forgeries))('%s is refused and kept nowhere', async (_name, headersFor) => {
    const event = eventAbout({ object: 'charge', id: idFor('chrg'), status: 'successful' });
    const body = JSON.stringify(event);
    const reply = await post(shop.farebox, body, headersFor(body));
    expect(reply).toMatchObject({ status: 401, body: { code: 'invalid_webhook_signature' } });
    expect(await kept(event)).toBeUndefined();
    const [entry] = await eventually(
      () => shop.sql`select actor, detail from platform.audit_log
        where action = 'security.webhook_signature_refused' and request_id = ${reply.body.request_id}`,
      (rows) => rows.length === 1,
    );
    expect(entry?.['actor']).toBe('webhook');
    expect(JSON.parse(entry?.['detail'])).toMatchObject({ address: '127.0.0.1' });
  });

  test('five minutes are the tolerance', async () => {
    const event = eventAbout({ object: 'customer', id: 'cust_test_5' });
    const body = JSON.stringify(event);
    expect((await post(shop.farebox, body, sealed(body, at(-295)))).status).toBe(200);
    expect((await post(shop.farebox, body, sealed(body, at(295)))).status).toBe(200);
  });
});

describe('a secret in rotation', () => {
  const secrets = [omiseKeys.webhookSecret, NEXT_SECRET];
  const wrong = 'f'.repeat(64);

  test.each([
    ['the old secret', ([old]: string[]) => old],
    ['the new secret', ([, next]: string[]) => next],
    ['both', (both: string[]) => both.join(',')],
    ['both, with spaces and in capitals', (both: string[]) => both.join(' , ').toUpperCase()],
    ['a stranger and then the new one', ([, next]: string[]) => `${wrong},${next}`],
  ])('signed by %s: believed', async (_name, choose) => {
    const event = eventAbout({ object: 'customer', id: 'cust_test_5' });
    const body = JSON.stringify(event);
    const timestamp = nowS();
    const signature = choose(secrets.map((secret) => sign(body, timestamp, secret))) ?? '';
    const headers = { 'omise-signature': signature, 'omise-signature-timestamp': timestamp };
    expect(await post(shop.farebox, body, headers)).toMatchObject({ status: 200, body: { received: true } });
    expect(await kept(event)).toMatchObject({ state: 'ignored' });
  });
});

describe('a signed notification that is odd', () => {
  const send = (body: string, type = 'application/json') =>
    post(shop.farebox, body, { ...sealed(body), 'content-type': type });

  test.each([
    ['not JSON', 'status=successful', 400],
    ['nothing', '', 400],
    ['JSON, but a number', '42', 400],
    ['null', 'null', 400],
    ['an object that is no event', '{"object":"charge","id":"chrg_test_5"}', 400],
    ['an event with an id that leads elsewhere', JSON.stringify(eventAbout({ object: 'x' }, 'a', { id: '../x' })), 400],
    ['an event with an id like a list', JSON.stringify(eventAbout({ object: 'x' }, 'a', { id: [] })), 400],
    ['nested without end', `${'['.repeat(60_000)}${']'.repeat(60_000)}`, 400],
    ['larger than 256 KiB', JSON.stringify(eventAbout({ object: 'charge', padding: 'x'.repeat(300_000) })), 413],
  ])('%s', async (_name, body, status) => {
    expect((await send(body)).status).toBe(status);
  });

  test('a body in another form than JSON is refused before it is read', async () => {
    expect((await send('a=1', 'application/x-www-form-urlencoded')).status).toBe(415);
    expect((await send('{}', 'text/plain')).status).toBe(415);
  });

  test.each([
    ['customer.update', { object: 'customer', id: 'cust_test_5', status: null }],
    ['recipient.create', { object: 'recipient', id: 'recp_test_5', status: { of: 'another kind' } }],
    ['transfer.pay', { object: 'transfer', id: 'trsf_test_5', charge: 'chrg_test_5xuyzuxqhdhw7ysa1l9' }],
    ['charge.teleport', { object: 'thing', id: 'chrg_test_5xuyzuxqhdhw7ysa1l9' }],
    ['charge.complete', { object: 'charge', id: '../account' }],
    ['charge.complete', { object: 'charge', id: 'chrg_test_5xuyzuxqhdhw7ysa1l9/capture' }],
    ['charge.complete', { object: 'charge' }],
    ['refund.create', { object: 'refund', id: 'rfnd_test_5', charge: ['chrg_test_5xuyzuxqhdhw7ysa1l9'] }],
    ['constructor.__proto__', { object: 'charge', __proto__: { id: 'chrg_test_5' } }],
  ])('%s about something that is no charge of anybody is acknowledged and left alone', async (key, data) => {
    const event = eventAbout(data, key);
    expect(await send(JSON.stringify(event))).toMatchObject({ status: 200, body: { received: true } });
    expect(await kept(event)).toMatchObject({ state: 'ignored', outcome: 'no_concern', charge_id: null });
  });

  test('an unknown key about a charge of ours makes us look, and grants nothing by itself', async () => {
    const purchase = await shop.buy(customer);
    const charge = shop.omise.charge(shop.chargeOf(purchase));
    const event = eventAbout({ ...charge, status: 'successful', paid: true }, 'charge.teleport');
    expect((await send(JSON.stringify(event))).status).toBe(200);
    expect(await workedOff(event)).toMatchObject({ state: 'done', outcome: 'pending' });
    expect(await shop.booked(purchase)).toEqual({ times: 0, credits: 0 });
  });

  // REQ E3.4
  test('an event of the other mode is not kept, and is a security event', async () => {
    const purchase = await shop.buy(customer);
    const event = eventAbout(shop.omise.pay(shop.chargeOf(purchase)), 'charge.complete', { livemode: true });
    expect(await send(JSON.stringify(event))).toMatchObject({ status: 200, body: { received: false } });
    expect(await kept(event)).toBeUndefined();
    await eventually(
      () => shop.alarmsAbout(event.id),
      (alarms) => alarms.includes('security.webhook_wrong_mode'),
    );
  });
});
