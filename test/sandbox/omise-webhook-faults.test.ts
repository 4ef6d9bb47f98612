import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { WebhookFault } from '../../sandbox/omise/faults/rules.ts';
import { type Merchant, startMerchant } from '../../sandbox/omise/testing/merchant.ts';
import { type Received, type Receiver, startReceiver } from '../../sandbox/omise/testing/receiver.ts';

const SECRET = Buffer.from('secret').toString('base64');
let merchant: Merchant;
let receiver: Receiver;

beforeAll(async () => {
  receiver = await startReceiver();
  merchant = await startMerchant({ webhookUri: receiver.url, webhookSecrets: [SECRET] });
});
beforeEach(() => {
  merchant.omise.control.clearFaults();
  receiver.received.length = 0;
});
afterAll(async () => {
  await merchant.close();
  await receiver.close();
});

function isSigned({ headers, raw }: Received): boolean {
  const message = `${headers['omise-signature-timestamp']}.${raw.toString('utf8')}`;
  const expected = createHmac('sha256', Buffer.from(SECRET, 'base64')).update(message).digest('hex');
  return headers['omise-signature'] === expected;
}

/** Makes a charge under one rule and gives what arrived for it. */
async function deliveredUnder(rule: WebhookFault): Promise<Received[]> {
  merchant.omise.control.fault(rule);
  await merchant.promptpay();
  await merchant.omise.control.settled();
  return [...receiver.received];
}

async function oneUnder(rule: WebhookFault): Promise<Received> {
  const [only, ...rest] = await deliveredUnder(rule);
  if (only === undefined || rest.length > 0) throw new Error(`${rest.length + 1} deliveries`);
  return only;
}

describe('how often and when', () => {
  test('drop: nothing arrives', async () => {
    expect(await deliveredUnder({ webhook: 'drop' })).toEqual([]);
  });

  test('drop with a probability repeats with the seed', async () => {
    const run = async () => {
      const kept = await startMerchant({ seed: 7, webhookUri: receiver.url });
      kept.omise.control.fault({ webhook: 'drop', probability: 0.5 });
      for (let count = 0; count < 12; count += 1) await kept.promptpay({ description: String(count) });
      await kept.omise.control.settled();
      await kept.close();
      const numbers = receiver.received
        .splice(0)
        .map(({ event }) => /"description":"(\d+)"/.exec(JSON.stringify(event))?.[1]);
      return numbers.sort();
    };
    const first = await run();
    expect(first.length).toBeGreaterThan(0);
    expect(first.length).toBeLessThan(12);
    expect(await run()).toEqual(first);
  });

  test('duplicate: the same event, several times', async () => {
    const deliveries = await deliveredUnder({ webhook: 'duplicate', deliveries: 3 });
    expect(deliveries).toHaveLength(3);
    expect(new Set(deliveries.map(({ event }) => event['id'])).size).toBe(1);
    expect(deliveries.every(isSigned)).toBe(true);
  });

  test('delay: later, and settled() waits for it', async () => {
    const before = performance.now();
    const { at } = await oneUnder({ webhook: 'delay', ms: 80 });
    expect(at - before).toBeGreaterThanOrEqual(75);
  });

  test('reorder: a later event arrives first', async () => {
    merchant.omise.control.fault({ webhook: 'reorder', key: 'charge.create' });
    const { id } = await merchant.promptpay();
    merchant.omise.control.pay(id);
    await merchant.omise.control.settled();
    expect(receiver.keys()).toEqual(['charge.complete', 'charge.create']);
  });

  test('reorder without a later event: it arrives after all', async () => {
    expect((await oneUnder({ webhook: 'reorder' })).event).toMatchObject({ key: 'charge.create' });
  });

  test('before_answer: it has arrived when the call is answered', async () => {
    merchant.omise.control.fault({ webhook: 'before_answer', key: 'charge.create' });
    const { id } = await merchant.promptpay();
    expect(receiver.received).toMatchObject([{ event: { data: { id } } }]);
  });

  test('a rule can be aimed at a key or at a charge, and be used up', async () => {
    const { control } = merchant.omise;
    const first = await merchant.promptpay();
    const second = await merchant.promptpay();
    await control.settled();
    receiver.received.length = 0;
    control.fault({ webhook: 'drop', charge: first.id, key: 'charge.c*', times: 1 });
    control.pay(first.id);
    control.pay(second.id);
    control.refund(first.id);
    await control.settled();
    expect(receiver.keys().sort()).toEqual(['charge.complete', 'refund.create']);
    expect(control.faults()).toMatchObject([{ hits: 1 }]);
  });
});

describe('what it is signed with', () => {
  test('old_timestamp: validly signed, a day ago', async () => {
    const delivery = await oneUnder({ webhook: 'old_timestamp' });
    expect(isSigned(delivery)).toBe(true);
    const age = Date.now() / 1000 - Number(delivery.headers['omise-signature-timestamp']);
    expect(Math.round(age / 3600)).toBe(24);
  });

  test('corrupt_signature: well formed and wrong', async () => {
    const delivery = await oneUnder({ webhook: 'corrupt_signature' });
    expect(delivery.headers['omise-signature']).toMatch(/^[0-9a-f]{64}$/);
    expect(isSigned(delivery)).toBe(false);
  });

  test('unsigned: without the headers', async () => {
    const { headers } = await oneUnder({ webhook: 'unsigned' });
    expect(headers).not.toHaveProperty('omise-signature');
    expect(headers).not.toHaveProperty('omise-signature-timestamp');
  });
});

describe('what it says, validly signed', () => {
  test('tampered_amount', async () => {
    const delivery = await oneUnder({ webhook: 'tampered_amount', amount: 9_900_000 });
    expect(delivery.event).toMatchObject({ data: { amount: 9_900_000 } });
    expect(isSigned(delivery)).toBe(true);
  });

  test('unknown_key', async () => {
    expect((await oneUnder({ webhook: 'unknown_key' })).event).toMatchObject({ key: 'charge.teleport' });
    receiver.received.length = 0;
    merchant.omise.control.clearFaults();
    const other = await oneUnder({ webhook: 'unknown_key', sent_key: 'customer.update.card' });
    expect(other.event).toMatchObject({ key: 'customer.update.card' });
  });

  test('huge_body', async () => {
    const delivery = await oneUnder({ webhook: 'huge_body', bytes: 300_000 });
    expect(delivery.raw.length).toBeGreaterThan(300_000);
    expect(isSigned(delivery)).toBe(true);
  });

  test('foreign_charge: neither event nor charge can be read with this key', async () => {
    const { event } = await oneUnder({ webhook: 'foreign_charge' });
    const charge = /chrg_test_[a-z0-9]{19}/.exec(JSON.stringify(event['data']))?.[0];
    expect((await merchant.call('GET', `/charges/${charge}`)).status).toBe(404);
    expect((await merchant.call('GET', `/events/${event['id']}`)).status).toBe(404);
  });

  test('livemode_flip', async () => {
    const { event } = await oneUnder({ webhook: 'livemode_flip' });
    expect(event).toMatchObject({ livemode: true, data: { livemode: true } });
  });

  test('extra: the spoiled one beside the true one', async () => {
    const deliveries = await deliveredUnder({ webhook: 'tampered_amount', amount: 1, extra: true });
    const amounts = deliveries.map(({ event }) => /"amount":(\d+)/.exec(JSON.stringify(event['data']))?.[1]);
    expect(amounts.sort()).toEqual(['1', '50000']);
  });
});

test('rules add up: a late duplicate with a bad signature', async () => {
  merchant.omise.control.fault({ webhook: 'corrupt_signature' });
  const deliveries = await deliveredUnder({ webhook: 'duplicate' });
  expect(deliveries.map(isSigned)).toEqual([false, false]);
});
