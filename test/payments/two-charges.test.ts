import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { settleCharge } from '../../src/payments/purchases/converge.ts';
import { readCharge } from '../../src/payments/rails/omise-objects.ts';
import type { Charge } from '../../src/payments/rails/rail.ts';
import { type Client, type Json, newCustomer } from '../harness/client.ts';
import { omiseKeys } from '../harness/farebox.ts';
import { CREDITS, type Hands, handsOf, openShop, PRICE, type Shop, uuidOf } from './shop.ts';

let shop: Shop;
let hands: Hands;
let customer: Client;

beforeAll(async () => {
  shop = await openShop({ env: { WORKERS: 'off' } });
  hands = await handsOf(shop.farebox);
  customer = await newCustomer(shop.farebox);
  shop.omise.fault({ webhook: 'drop' });
});
afterAll(async () => {
  await hands.close();
  await shop.stop();
});

const ONCE = { times: 1, credits: CREDITS };
const NOTHING = { times: 0, credits: 0 };
const status = async (purchase: Json) => (await customer.ok('GET', `/v1/purchases/${purchase.id}`)).status;
const converge = (purchase: Json) => shop.operator.ok('POST', `/v1/admin/purchases/${purchase.id}/converge`);
const steps = async (purchase: Json): Promise<string[]> =>
  (await shop.operator.ok('GET', `/v1/admin/purchases/${purchase.id}`)).history.map(({ what }: Json) => what);
const counted = async (state: string) =>
  (await hands.deps.metrics.purchases.get()).values.find(({ labels }) => labels.state === state)?.value ?? 0;

/** By the sweep of events and the comparison of the books, twice: whoever looks again finds nothing new. */
async function lookEverywhere() {
  for (let n = 0; n < 2; n += 1) {
    await hands.run('event-sweep');
    await hands.run('reconcile');
  }
}

/** A payment link on which a first charge was lost and then a second one was made. */
async function linkWithTwo(): Promise<{ link: Json; one: string; two: string }> {
  const link = await shop.buy(customer, { type: 'payment_link' });
  await chooseQr(link);
  const one = shop.chargeOf(link);
  await shop.sql`
    update payments.charges set state = 'abandoned', charge_id = null, next_check_at = null where charge_id = ${one}`;
  await chooseQr(link);
  return { link, one, two: shop.chargesOf(link).find(({ id }) => id !== one)?.id };
}

async function chooseQr(link: Json) {
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  const form = { method: 'POST', redirect: 'manual', headers, body: 'method=promptpay' } as const;
  expect((await fetch(`${link.status_url}/pay`, form)).status).toBe(303);
}

/** A charge that somebody else made in our account at the provider, paid. */
async function strangersCharge(metadata: Json, amount = PRICE): Promise<string> {
  const reply = await fetch(`${shop.farebox.omise.url}/charges`, {
    method: 'POST',
    headers: {
      authorization: `Basic ${Buffer.from(`${omiseKeys.secretKey}:`).toString('base64')}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ amount, currency: 'THB', source: { type: 'promptpay' } }),
  });
  const { id } = (await reply.json()) as Json;
  shop.omise.mutate(id, { data: 'metadata_spoofed', metadata });
  shop.omise.pay(id);
  return id;
}

const attemptIdOf = (purchase: Json): string => shop.chargesOf(purchase)[0].metadata.attempt_id;
/** As it is while our create call has not been answered. */
const unanswer = (purchase: Json) =>
  shop.sql`update payments.charges set state = 'creating', charge_id = null where purchase_id = ${uuidOf(purchase.id)}`;

function asRead(id: string): Charge {
  const charge = readCharge(shop.omise.charge(id));
  if (!charge) throw new Error('not readable');
  return charge;
}

describe('two charges of one purchase', () => {
  // REQ E3.3 E7.1
  test('both are paid: credited once, and the second payment is on the list', async () => {
    const { link, one, two } = await linkWithTwo();
    shop.omise.pay(two);
    await lookEverywhere();
    expect(await status(link)).toBe('completed');
    shop.omise.pay(one);
    await lookEverywhere();
    expect(await shop.booked(link)).toEqual(ONCE);
    expect(await shop.differencesOf(link)).toEqual(['paid_twice']);
    expect((await steps(link)).filter((what) => what === 'paid_twice')).toHaveLength(1);
    expect(await shop.alarmsAbout(one)).toEqual(['security.payment_review']);
    shop.omise.refund(one);
    await lookEverywhere();
    expect(await shop.alarmsAbout(one), 'given back in the dashboard, as it should be').toHaveLength(1);
  });

  test('both are paid at the same moment, and looked at by four at once: credited once', async () => {
    const { link, one, two } = await linkWithTwo();
    shop.omise.pay(one);
    shop.omise.pay(two);
    await Promise.all([one, two, one, two].map((id) => settleCharge(hands.deps, asRead(id), 'reconciler')));
    expect(await shop.booked(link)).toEqual(ONCE);
    expect(await shop.differencesOf(link)).toEqual(['paid_twice']);
  });

  test('the first one fails long after the second was paid: paid is not left, and not counted twice', async () => {
    const { link, one, two } = await linkWithTwo();
    const before = await counted('completed');
    shop.omise.pay(two);
    await lookEverywhere();
    shop.omise.fail(one);
    await lookEverywhere();
    expect(await status(link)).toBe('completed');
    expect(await shop.booked(link)).toEqual(ONCE);
    expect(await counted('completed')).toBe(before + 1);
    expect(await steps(link)).toContain('charge_failed');
  });

  test('the first one fails and the second waits: the link stays open', async () => {
    const { link, one, two } = await linkWithTwo();
    shop.omise.fail(one);
    await lookEverywhere();
    expect(await status(link)).toBe('pending');
    shop.omise.pay(two);
    await lookEverywhere();
    expect(await status(link)).toBe('completed');
  });
});

describe('two charges of one attempt', () => {
  test('the other one is paid as well: credited once, and the other one is on the list', async () => {
    const purchase = await shop.buy(customer);
    const id = shop.chargeOf(purchase);
    const twin = String(shop.omise.mutate(id, { data: 'twin' })['id']);
    shop.omise.pay(id);
    await lookEverywhere();
    expect(await status(purchase)).toBe('completed');
    expect(await shop.booked(purchase)).toEqual(ONCE);
    expect(await shop.differencesOf(purchase)).toEqual(['second_charge']);
    expect(await shop.alarmsAbout(twin), 'told once').toEqual(['security.payment_review']);
  });

  test('only the other one is paid: a person decides, and the money is not lost', async () => {
    const purchase = await shop.buy(customer);
    const id = shop.chargeOf(purchase);
    shop.omise.mutate(id, { data: 'twin' });
    shop.omise.expire(id);
    await lookEverywhere();
    expect(await status(purchase)).toBe('review');
    expect(await shop.booked(purchase)).toEqual(NOTHING);
    const resolved = await shop.operator.post(`/v1/admin/purchases/${purchase.id}/resolve`, {
      outcome: 'complete',
      reason: 'the payer has shown the receipt',
    });
    expect(resolved.body.status).toBe('completed');
    await lookEverywhere();
    expect(await shop.booked(purchase)).toEqual(ONCE);
    expect(await shop.differencesOf(purchase)).toEqual([]);
  });

  test('both are found at the same moment, before our own call was answered: one is ours, the other is on the list', async () => {
    for (let round = 0; round < 5; round += 1) {
      const purchase = await shop.buy(customer);
      const id = shop.chargeOf(purchase);
      const twin = String(shop.omise.mutate(id, { data: 'twin' })['id']);
      shop.omise.pay(id);
      await unanswer(purchase);
      await Promise.all([id, twin].map((one) => settleCharge(hands.deps, asRead(one), 'webhook')));
      await lookEverywhere();
      expect(await shop.booked(purchase)).toEqual(ONCE);
      const [attempt] = await shop.sql`
        select charge_id, state, (select reference from payments.claims where purchase_id = charges.purchase_id) as credited
        from payments.charges where purchase_id = ${uuidOf(purchase.id)}`;
      expect(attempt).toMatchObject({ state: 'successful', charge_id: attempt?.['credited'] });
      expect(await shop.differencesOf(purchase)).toEqual(['second_charge']);
      const [difference] = await shop.sql`
        select reference from payments.differences where purchase_id = ${uuidOf(purchase.id)}`;
      expect(difference?.['reference']).toBe(attempt?.['credited'] === id ? twin : id);
    }
  });
});

describe('a charge that somebody else made', () => {
  test('with our purchase in its metadata, and no attempt of ours: none of ours', async () => {
    const purchase = await shop.buy(customer);
    await strangersCharge({ purchase_id: purchase.id });
    await lookEverywhere();
    expect(await status(purchase)).toBe('pending');
    expect(await shop.differencesOf(purchase)).toEqual([]);
  });

  test('with our attempt in its metadata, for less money, while our call is unanswered: reviewed, not credited', async () => {
    const purchase = await shop.buy(customer);
    const attemptId = attemptIdOf(purchase);
    await unanswer(purchase);
    const id = await strangersCharge({ attempt_id: attemptId }, 2_000);
    await settleCharge(hands.deps, asRead(id), 'webhook');
    expect(await status(purchase)).toBe('review');
    expect(await shop.booked(purchase)).toEqual(NOTHING);
    expect(await shop.differencesOf(purchase)).toEqual(['wrong_amount']);
  });

  test('with our attempt in its metadata, when ours is known: on the list, not credited', async () => {
    const purchase = await shop.buy(customer);
    await strangersCharge({ attempt_id: attemptIdOf(purchase) });
    await lookEverywhere();
    expect(await shop.booked(purchase)).toEqual(NOTHING);
    expect(await shop.differencesOf(purchase)).toEqual(['second_charge']);
  });

  test.each([
    ['in a list', (id: string) => [id]],
    ['in capitals', (id: string) => id.toUpperCase()],
    ['with a blank', (id: string) => ` ${id}`],
    ['within a pattern', (id: string) => `%${id}%`],
    ['deeper', (id: string) => ({ attempt_id: id })],
  ])('with our attempt %s: that is not our attempt', async (_name, written) => {
    const purchase = await shop.buy(customer);
    await unanswer(purchase);
    const id = await strangersCharge({ attempt_id: written(attemptIdOf(purchase)) });
    expect(await settleCharge(hands.deps, asRead(id), 'webhook')).toBe('foreign');
  });

  test('our own charge with somebody else’s attempt in its metadata stays ours: the stored id counts', async () => {
    const [mine, other] = [await shop.buy(customer), await shop.buy(customer)];
    const id = shop.chargeOf(mine);
    const attemptId = attemptIdOf(other);
    shop.omise.mutate(id, { data: 'metadata_spoofed', metadata: { attempt_id: attemptId } });
    shop.omise.pay(id);
    await converge(mine);
    expect(await shop.booked(mine)).toEqual(ONCE);
    expect(await shop.booked(other)).toEqual(NOTHING);
    expect(await status(other)).toBe('pending');
  });
});
