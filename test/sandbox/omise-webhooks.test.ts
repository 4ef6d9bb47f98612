import { createHmac, timingSafeEqual } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { OmiseOptions } from '../../sandbox/omise/server.ts';
import { idIn, type Merchant, startMerchant } from '../../sandbox/omise/testing/merchant.ts';
import { type Received, type Receiver, startReceiver } from '../../sandbox/omise/testing/receiver.ts';

const SECRET = Buffer.from('first secret of the dashboard').toString('base64');
const NEXT_SECRET = Buffer.from('the one it is rotated to').toString('base64');

interface Scene {
  merchant: Merchant;
  receiver: Receiver;
}

async function open(options: Partial<OmiseOptions> = {}, respond?: (res: ServerResponse) => void): Promise<Scene> {
  const receiver = await startReceiver(respond);
  const merchant = await startMerchant({ webhookUri: receiver.url, webhookSecrets: [SECRET], ...options });
  onTestFinished(async () => {
    await merchant.close();
    await receiver.close();
  });
  return { merchant, receiver };
}

/** The check as a merchant would write it from the vendor's text, apart from the stand-in's own code. */
function isSignedWith({ headers, raw }: Received, secret: string): boolean {
  const timestamp = String(headers['omise-signature-timestamp']);
  const message = Buffer.concat([Buffer.from(`${timestamp}.`), raw]);
  const expected = createHmac('sha256', Buffer.from(secret, 'base64')).update(message).digest();
  const given = String(headers['omise-signature']).split(',');
  return given.some((value) => value.length === 64 && timingSafeEqual(Buffer.from(value, 'hex'), expected));
}

describe('a webhook', () => {
  test('follows each change, signed, with the charge as it was then', async () => {
    const { merchant, receiver } = await open();
    const { id } = await merchant.promptpay();
    await merchant.omise.control.settled();
    merchant.omise.control.pay(id);
    await merchant.omise.control.settled();
    expect(receiver.keys()).toEqual(['charge.create', 'charge.complete']);
    const [created, completed] = receiver.received;
    expect(created?.event).toMatchObject({ object: 'event', data: { id, status: 'pending' }, webhook_deliveries: [] });
    expect(completed?.event).toMatchObject({ data: { id, status: 'successful', paid: true } });
    for (const delivery of receiver.received) {
      expect(isSignedWith(delivery, SECRET)).toBe(true);
      expect(isSignedWith({ ...delivery, raw: Buffer.from(JSON.stringify(delivery.event)) }, SECRET)).toBe(false);
      const age = Date.now() / 1000 - Number(delivery.headers['omise-signature-timestamp']);
      expect(Math.abs(age)).toBeLessThan(5);
    }
  });

  test('has two signatures while the secret is being rotated, and none without a secret', async () => {
    const { merchant, receiver } = await open({ webhookSecrets: [SECRET, NEXT_SECRET] });
    await merchant.promptpay();
    await merchant.omise.control.settled();
    merchant.omise.control.webhookSecrets([NEXT_SECRET]);
    await merchant.promptpay();
    await merchant.omise.control.settled();
    merchant.omise.control.webhookSecrets([]);
    await merchant.promptpay();
    await merchant.omise.control.settled();
    const [both, next, none] = receiver.received;
    if (both === undefined || next === undefined || none === undefined) throw new Error('deliveries are missing');
    expect(String(both.headers['omise-signature'])).toMatch(/^[0-9a-f]{64},[0-9a-f]{64}$/);
    expect([isSignedWith(both, SECRET), isSignedWith(both, NEXT_SECRET)]).toEqual([true, true]);
    expect([isSignedWith(next, SECRET), isSignedWith(next, NEXT_SECRET)]).toEqual([false, true]);
    expect(none.headers).not.toHaveProperty('omise-signature');
  });

  test('is signed with the real time, however far the clock was moved', async () => {
    const { merchant, receiver } = await open();
    merchant.omise.control.advanceClock(30 * 86_400_000);
    await merchant.promptpay();
    await merchant.omise.control.settled();
    const timestamp = Number(receiver.received[0]?.headers['omise-signature-timestamp']);
    expect(Math.abs(Date.now() / 1000 - timestamp)).toBeLessThan(5);
  });

  test('goes to the addresses of the charge in place of the account’s', async () => {
    const { merchant, receiver } = await open();
    const [first, second] = [await startReceiver(), await startReceiver()];
    onTestFinished(async () => void (await Promise.all([first.close(), second.close()])));
    const { id } = await merchant.promptpay({ webhook_endpoints: [first.url, second.url] });
    merchant.omise.control.pay(id);
    await merchant.omise.control.settled();
    expect([receiver.keys(), first.keys().sort(), second.keys().sort()]).toEqual([
      [],
      ['charge.complete', 'charge.create'],
      ['charge.complete', 'charge.create'],
    ]);
  });

  test('is written in the account’s version, whatever the request asked for', async () => {
    const { merchant, receiver } = await open({ account: { api_version: '2017-11-02' } });
    const order = { amount: 50_000, currency: 'THB', source: { type: 'promptpay' } };
    const { body } = await merchant.call('POST', '/charges', order, { 'omise-version': '2019-05-29' });
    await merchant.omise.control.settled();
    expect(body).toMatchObject({ currency: 'THB', paid: false });
    const [delivery] = receiver.received;
    expect(delivery?.event).toMatchObject({ data: { id: body['id'], currency: 'thb', captured: false, refunded: 0 } });
    const read = await merchant.call('GET', `/events/${delivery?.event['id']}`, undefined, {
      'omise-version': '2019-05-29',
    });
    expect(read.body, 'a snapshot').toMatchObject({ data: { currency: 'thb' } });
  });

  test('that fails is recorded and not sent again', async () => {
    const { merchant, receiver } = await open({}, (res) => void res.writeHead(503).end());
    await merchant.promptpay();
    await merchant.omise.control.settled();
    expect(receiver.received).toHaveLength(1);
    const { data } = await merchant.get('/events');
    expect(data).toMatchObject([
      {
        webhook_deliveries: [
          {
            object: 'webhook_delivery',
            id: expect.stringMatching(/^whdl_test_/),
            uri: receiver.url,
            status: 503,
            error: null,
            key: 'charge.create',
            payload: receiver.received[0]?.raw.toString('utf8'),
            created_at: expect.stringMatching(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/),
          },
        ],
      },
    ]);
  });

  test('does not wait for ever, and survives an address where nobody is', async () => {
    const { merchant } = await open({ webhookTimeoutMs: 100 }, () => {});
    await merchant.promptpay();
    await merchant.omise.control.settled();
    merchant.omise.control.account({ webhook_uri: 'http://127.0.0.1:1/' });
    await merchant.promptpay();
    await merchant.omise.control.settled();
    const { data } = await merchant.get('/events');
    expect(data).toMatchObject([
      { webhook_deliveries: [{ status: null, error: 'timeout' }] },
      { webhook_deliveries: [{ status: null, error: 'ECONNREFUSED' }] },
    ]);
  });

  test('is never awaited by the call that caused it', async () => {
    const { merchant } = await open({ webhookTimeoutMs: 5_000 }, () => {});
    const before = performance.now();
    await merchant.promptpay();
    expect(performance.now() - before).toBeLessThan(1_000);
  });

  test('can be replayed', async () => {
    const { merchant, receiver } = await open();
    const { id } = await merchant.promptpay();
    await merchant.promptpay();
    merchant.omise.control.pay(id);
    await merchant.omise.control.settled();
    const { control } = merchant.omise;
    expect(control.replayWebhooks({ charge: id, key: 'charge.complete' })).toBe(1);
    expect(control.replayWebhooks({ event: idIn(control.events()[0] ?? {}) })).toBe(1);
    expect(control.replayWebhooks()).toBe(3);
    await control.settled();
    expect(receiver.received).toHaveLength(3 + 5);
  });

  test('comes for refunds, disputes, links and customers too', async () => {
    const { merchant, receiver } = await open();
    const id = idIn(await merchant.post('/charges', { amount: 50_000, currency: 'THB', card: await merchant.token() }));
    await merchant.post(`/charges/${id}/refunds`, { amount: 100 });
    merchant.omise.control.dispute(id, { amount: 1_000 });
    merchant.omise.control.closeDispute(id, 'lost');
    await merchant.post('/links', { amount: 50_000, currency: 'THB', title: 'T', description: 'D' });
    await merchant.post('/customers', {});
    await merchant.omise.control.settled();
    expect(receiver.keys().sort()).toEqual([
      'charge.create',
      'customer.create',
      'dispute.close',
      'dispute.create',
      'link.create',
      'refund.create',
    ]);
  });
});
