import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DataFault } from '../../sandbox/omise/charges/data-faults.ts';
import { type Client, eventually, type Json, newCustomer } from '../harness/client.ts';
import { CREDITS, openShop, PRICE, type Shop } from './shop.ts';
import { eventAbout, idFor, post } from './webhook.ts';

let shop: Shop;
let customer: Client;

beforeAll(async () => {
  shop = await openShop();
  customer = await newCustomer(shop.farebox);
  shop.omise.fault({ webhook: 'drop' });
});
afterAll(() => shop.stop());

const NOTHING = { times: 0, credits: 0 };
const status = async (purchase: Json) => (await customer.ok('GET', `/v1/purchases/${purchase.id}`)).status;

/** Sends an event that is validly signed, and waits until it is worked off. */
async function notify(data: Json, key?: string): Promise<string> {
  const event = eventAbout(data, key);
  expect((await post(shop.farebox, event)).status).toBe(200);
  const row = await eventually(
    async () => (await shop.sql`select state, outcome from payments.webhook_inbox where event_id = ${event.id}`)[0],
    (one) => one?.['state'] !== 'received',
  );
  return row?.['outcome'];
}

const alarmed = (text: string, action: string) =>
  eventually(
    () => shop.alarmsAbout(text),
    (alarms) => alarms.includes(action),
  );

describe('a body that lies, validly signed', () => {
  // REQ E3.1 E3.4
  test('it says paid, the provider says pending: nothing is granted, and it is a security event', async () => {
    const purchase = await shop.buy(customer);
    const charge = shop.omise.charge(shop.chargeOf(purchase));
    expect(await notify({ ...charge, status: 'successful', paid: true })).toBe('pending');
    expect(await shop.booked(purchase)).toEqual(NOTHING);
    expect(await status(purchase)).toBe('pending');
    await alarmed(String(charge['id']), 'security.webhook_mismatch');
  });

  test('it says failed, the provider says paid: the credits are granted', async () => {
    const purchase = await shop.buy(customer);
    const charge = shop.omise.pay(shop.chargeOf(purchase));
    expect(await notify({ ...charge, status: 'failed', paid: false, failure_code: 'payment_rejected' })).toBe(
      'credited',
    );
    expect(await shop.booked(purchase)).toEqual({ times: 1, credits: CREDITS });
  });

  test('its amount, currency and metadata are not looked at', async () => {
    const [rich, poor] = [await shop.buy(customer), await shop.buy(customer)];
    const charge = shop.omise.pay(shop.chargeOf(rich));
    const metadata = shop.omise.charge(shop.chargeOf(poor))['metadata'];
    expect(await notify({ ...charge, amount: PRICE * 100, currency: 'JPY', metadata })).toBe('credited');
    expect(await shop.booked(rich)).toEqual({ times: 1, credits: CREDITS });
    expect(await shop.booked(poor)).toEqual(NOTHING);
    expect(await status(poor)).toBe('pending');
  });

  test('an event of one purchase about the paid charge of another moves only that one, once', async () => {
    const [paid, unpaid] = [await shop.buy(customer), await shop.buy(customer)];
    const charge = shop.omise.pay(shop.chargeOf(paid));
    const victim = shop.omise.charge(shop.chargeOf(unpaid));
    await notify({ ...victim, id: charge['id'] });
    await notify({ ...charge, id: victim['id'] });
    expect(await shop.booked(paid)).toEqual({ times: 1, credits: CREDITS });
    expect(await shop.booked(unpaid)).toEqual(NOTHING);
  });
});

/** What is wrong with a charge as it is read back, and what becomes of its purchase. */
const wrong: [string, (id: string) => unknown, string, string][] = [
  ['one satang less', mutated({ data: 'amount_off_by_one', delta: -1 }), 'wrong_amount', 'review'],
  ['one satang more', mutated({ data: 'amount_off_by_one', delta: 1 }), 'wrong_amount', 'review'],
  ['another currency', mutated({ data: 'currency_swapped' }), 'wrong_currency', 'review'],
  ['live money', mutated({ data: 'disguise', set: { livemode: true } }), 'wrong_mode', 'review'],
  ['half of it captured', mutated({ data: 'partial_capture' }), 'partial_capture', 'review'],
  ['voided', mutated({ data: 'disguise', set: { voided: true } }), 'voided', 'review'],
  ['refunded in part', mutated({ data: 'dashboard_refund', amount: 1 }), 'refunded', 'review'],
  ['refunded whole', mutated({ data: 'dashboard_refund' }), 'refunded', 'review'],
  ['disputed', mutated({ data: 'dispute_opened' }), 'disputed', 'review'],
  ['not paid', mutated({ data: 'disguise', set: { paid: false } }), 'inconsistent', 'review'],
  ['failed and yet paid', mutated({ data: 'disguise', set: { status: 'failed' } }), 'inconsistent', 'review'],
];

function mutated(fault: DataFault) {
  return (id: string) => shop.omise.mutate(id, fault);
}

describe('a charge that is not as agreed', () => {
  // REQ E3.4 E8.3
  test.each(wrong)('%s: reviewed, told, never credited', async (_name, spoil, reason, state) => {
    const purchase = await shop.buy(customer);
    const id = shop.chargeOf(purchase);
    shop.omise.pay(id);
    spoil(id);
    expect(await notify(shop.omise.charge(id))).toBe('review');
    expect(await notify(shop.omise.charge(id)), 'the second time it is known').toBe('unchanged');
    expect(await status(purchase)).toBe(state);
    expect(await shop.booked(purchase)).toEqual(NOTHING);
    expect(await shop.differencesOf(purchase)).toEqual([reason]);
    const trail = await shop.operator.ok('GET', `/v1/admin/purchases/${purchase.id}`);
    expect(trail.history.at(-1)).toMatchObject({ actor: 'webhook', what: 'review', charge_id: id, detail: { reason } });
    await alarmed(id, 'security.payment_review');
    expect(await shop.alarmsAbout(id), 'one alarm for one fact').toEqual(['security.payment_review']);
  });

  test('reversed: the purchase has failed', async () => {
    const purchase = await shop.buy(customer);
    const id = shop.chargeOf(purchase);
    shop.omise.mutate(id, { data: 'disguise', set: { status: 'reversed', reversed: true } });
    expect(await notify(shop.omise.charge(id))).toBe('ended');
    expect(await customer.ok('GET', `/v1/purchases/${purchase.id}`)).toMatchObject({
      status: 'failed',
      failure: { code: 'payment_reversed' },
    });
  });

  test.each([
    ['a status that nobody knows', { data: 'unknown_status' }],
    ['no status', { data: 'missing_status' }],
    ['an amount with decimals', { data: 'disguise', set: { amount: 500.5 } }],
    ['an amount in words', { data: 'disguise', set: { amount: '50000' } }],
    ['the id of another charge', { data: 'disguise', set: { id: 'chrg_test_5anotherone' } }],
  ] satisfies [string, DataFault][])('%s: not read at all, and read again later', async (_name, fault) => {
    const purchase = await shop.buy(customer);
    const id = shop.chargeOf(purchase);
    shop.omise.pay(id);
    shop.omise.mutate(id, fault);
    const event = eventAbout({ object: 'charge', id, status: 'successful' });
    await post(shop.farebox, event);
    const row = () => shop.sql`
      select state, next_attempt_at > now() as later from payments.webhook_inbox
      where event_id = ${event.id} and attempts = 1 and next_attempt_at < now() + interval '20 seconds'`;
    expect((await eventually(row, (rows) => rows.length === 1))[0]).toEqual({ state: 'received', later: true });
    expect(await status(purchase)).toBe('pending');
    expect(await shop.booked(purchase)).toEqual(NOTHING);
    shop.omise.mutate(id, { data: 'truth' });
    await notify(shop.omise.charge(id));
    expect(await status(purchase)).toBe('completed');
    expect(await shop.booked(purchase)).toEqual({ times: 1, credits: CREDITS });
  });

  test('what was in review and turns out right is credited, once', async () => {
    const purchase = await shop.buy(customer);
    const id = shop.chargeOf(purchase);
    shop.omise.pay(id);
    shop.omise.dispute(id);
    expect(await notify(shop.omise.charge(id))).toBe('review');
    shop.omise.closeDispute(id, 'won');
    expect(await notify(shop.omise.charge(id))).toBe('credited');
    expect(await notify(shop.omise.charge(id))).toBe('unchanged');
    expect(await shop.booked(purchase)).toEqual({ times: 1, credits: CREDITS });
  });
});

describe('a charge that we do not know', () => {
  // REQ E3.4
  test('is looked up once, however often it is told of', async () => {
    const id = idFor('chrg');
    const reads = shop.countReads(id);
    expect(await notify({ object: 'charge', id, status: 'successful' })).toBe('unknown_charge');
    for (let n = 0; n < 5; n += 1) await notify({ object: 'charge', id, status: 'successful' });
    await Promise.all(Array.from({ length: 30 }, () => notify({ object: 'charge', id, status: 'successful' })));
    expect(reads()).toBe(1);
    await alarmed(id, 'security.webhook_unknown_charge');
  });

  test('another merchant’s purchase in the same account is none of ours', async () => {
    const reply = await fetch(`${shop.farebox.omise.url}/charges`, {
      method: 'POST',
      headers: {
        authorization: `Basic ${Buffer.from('skey_test_5xuyzuxqhdhw7ysa1l9:').toString('base64')}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({ amount: PRICE, currency: 'THB', source: { type: 'promptpay' } }),
    });
    const { id } = (await reply.json()) as Json;
    const charge = shop.omise.pay(id);
    expect(await notify(charge)).toBe('unknown_charge');
    const reads = shop.countReads(id);
    expect(await notify(charge)).toBe('unknown_charge');
    expect(reads()).toBe(0);
  });

  test('what was unknown and has become ours since is not held back by that', async () => {
    const purchase = await shop.buy(customer);
    const id = shop.chargeOf(purchase);
    // As if the first notification had come when nobody could know the charge.
    await shop.sql`
      insert into payments.webhook_inbox (event_id, key, charge_id, body_hash, state, outcome)
      values (${idFor('evnt')}, 'charge.create', ${id}, '', 'ignored', 'unknown_charge')`;
    shop.omise.pay(id);
    expect(await notify(shop.omise.charge(id))).toBe('credited');
  });

  test('a charge that the provider does not show yet is looked at again while a call of ours is under way', async () => {
    const purchase = await shop.buy(customer);
    const id = shop.chargeOf(purchase);
    await shop.sql`update payments.charges set state = 'creating', charge_id = null where charge_id = ${id}`;
    shop.omise.pay(id);
    const event = eventAbout({ object: 'charge', id: `${id}0`, status: 'successful' });
    await post(shop.farebox, event);
    const look = async () =>
      (
        await shop.sql`
          select state, outcome, attempts, next_attempt_at < now() + interval '20 seconds' as soon
          from payments.webhook_inbox where event_id = ${event.id}`
      )[0];
    const parked = await eventually(look, (row) => row?.['attempts'] === 1 && row['soon']);
    expect(parked).toMatchObject({ state: 'received', outcome: null });
    // The charge was adopted meanwhile, by its own notification; nothing waits any more.
    expect(await notify(shop.omise.charge(id))).toBe('credited');
    await shop.sql`update payments.webhook_inbox set next_attempt_at = now() where event_id = ${event.id}`;
    await notify({ object: 'charge', id: idFor('chrg') }); // wakes the worker
    expect(await eventually(look, (row) => row?.['state'] !== 'received')).toMatchObject({ outcome: 'unknown_charge' });
  });
});
