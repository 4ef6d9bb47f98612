import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { settleCharge } from '../../src/payments/purchases/converge.ts';
import { type Client, type Json, newCustomer } from '../harness/client.ts';
import { CREDITS, type Hands, handsOf, openShop, type Shop, uuidOf } from './shop.ts';

/** A purchase on a page of plain code: what the provider's charge is, what we know of it, and what the purchase is then. */
class PurchaseModel {
  charge: 'pending' | 'successful' | 'failed' | 'expired' = 'pending';
  purchase: 'pending' | 'completed' | 'failed' | 'expired' | 'cancelled' = 'pending';
  /** What we saw last; `null` while the answer to our create call is lost. */
  #known: PurchaseModel['charge'] | null;

  constructor(isLost: boolean) {
    this.#known = isLost ? null : 'pending';
  }

  apply(step: Step): string | null {
    switch (step) {
      case 'pays':
        return this.#end('successful');
      case 'fails':
        return this.#end('failed');
      case 'expires':
        return this.#end('expired');
      case 'is paid late':
        if (this.charge === 'expired') this.charge = 'successful';
        return null;
      case 'webhook':
        this.#read();
        return null;
      case 'poll': // looks after what is not over
        if (this.#known === null || this.#known === 'pending') this.#read();
        return null;
      case 'return page': // looks only where there may be something to see
        if (this.purchase === 'pending' && this.#known !== null) this.#read();
        return null;
      case 'cancel':
        return this.#cancel();
    }
  }

  #end(how: PurchaseModel['charge']): null {
    if (this.charge === 'pending') this.charge = how;
    return null;
  }

  /** The provider has the last word: paid is credited whatever we thought, and never left again. */
  #read(): void {
    this.#known = this.charge;
    if (this.charge === 'successful') this.purchase = 'completed';
    else if (this.charge !== 'pending' && this.purchase === 'pending') this.purchase = this.charge;
  }

  #isEnded(): boolean {
    return this.purchase === 'completed' || this.purchase === 'failed';
  }

  #cancel(): string {
    if (this.purchase === 'cancelled') return '200';
    if (this.#isEnded()) return '409';
    if (this.#known === null) return '409'; // the answer is still to come
    if (this.#known === 'pending') {
      this.#end('expired');
      this.#read();
    }
    if (this.#isEnded()) return '409';
    this.purchase = 'cancelled';
    return '200';
  }
}

const STEPS = ['pays', 'fails', 'expires', 'is paid late', 'webhook', 'poll', 'return page', 'cancel'] as const;
type Step = (typeof STEPS)[number];

let shop: Shop;
let hands: Hands;
let customer: Client;
beforeAll(async () => {
  shop = await openShop({ env: { WORKERS: 'off' } });
  hands = await handsOf(shop.farebox);
  customer = await newCustomer(shop.farebox);
  shop.omise.fault({ webhook: 'drop' }); // the test says when one comes
});
afterAll(async () => {
  await hands.close();
  await shop.stop();
});

const happens: Record<Step, (purchase: Json, charge: string) => unknown> = {
  pays: (_, charge) => onPending(charge, () => shop.omise.pay(charge)),
  fails: (_, charge) => onPending(charge, () => shop.omise.fail(charge)),
  expires: (_, charge) => onPending(charge, () => shop.omise.expire(charge)),
  'is paid late': (_, charge) => {
    if (shop.omise.charge(charge)['status'] === 'expired') shop.omise.mutate(charge, { data: 'paid_after_expiry' });
  },
  webhook: async (_, charge) => {
    // As one of the provider's own events about the charge, delivered late and for the first time.
    await shop.sql`
      insert into payments.webhook_inbox (event_id, key, charge_id, body_hash)
      values (${`evnt_test_${randomUUID().replaceAll('-', '').slice(0, 20)}`}, 'charge.complete', ${charge}, '')`;
    await hands.run('webhook-inbox');
  },
  poll: async (purchase) => {
    await shop.sql`
      update payments.charges set next_check_at = now() - interval '1 second'
      where purchase_id = ${uuidOf(purchase.id)} and next_check_at is not null`;
    await hands.run('attempt-poll');
  },
  'return page': (purchase) => fetch(`${purchase.status_url}/return`, { redirect: 'manual' }),
  cancel: async (purchase) => String((await customer.post(`/v1/purchases/${purchase.id}/cancel`)).status),
};

const onPending = (charge: string, deed: () => unknown) => {
  if (shop.omise.charge(charge)['status'] === 'pending') deed();
};

const stories: [boolean, Step[]][] = [
  [true, ['cancel', 'pays', 'return page', 'poll', 'cancel', 'webhook']],
  [true, ['pays', 'webhook', 'expires', 'poll']],
  [false, ['cancel', 'cancel', 'is paid late', 'poll', 'webhook', 'cancel']],
  [false, ['pays', 'cancel', 'webhook']],
  [false, ['fails', 'cancel', 'poll', 'webhook']],
  [false, ['expires', 'return page', 'is paid late', 'return page', 'webhook', 'poll']],
];

// REQ E2.5 E3.2 E3.3 E3.5
test('any life of a purchase ends as the page of plain code says, credited once when it is paid', async () => {
  const seen = new Set<string>();
  await fc.assert(
    fc.asyncProperty(
      fc.boolean(),
      fc.array(fc.constantFrom(...STEPS), { minLength: 4, maxLength: 9 }),
      async (isLost, steps) => {
        if (isLost) shop.omise.fault({ api: 'reset_after_execution', method: 'POST', path: '/charges', times: 1 });
        const purchase = await shop.buy(customer);
        const charge = shop.chargeOf(purchase);
        const model = new PurchaseModel(isLost);
        for (const step of steps) {
          const from = model.purchase;
          const expected = model.apply(step);
          const answer = await happens[step](purchase, charge);
          if (expected !== null) expect(answer, `${steps}: ${step}`).toBe(expected);
          const { status } = await customer.ok('GET', `/v1/purchases/${purchase.id}`);
          expect(status, `${steps}: ${step}`).toBe(model.purchase);
          seen.add(`${step}: ${from} → ${status}`);
          const times = model.purchase === 'completed' ? 1 : 0;
          expect(await shop.booked(purchase)).toEqual({ times, credits: times * CREDITS });
        }
        expect(shop.chargesOf(purchase)).toHaveLength(1);
        expect(await shop.differencesOf(purchase)).toEqual([]);
      },
    ),
    { numRuns: 24, examples: stories },
  );
  for (const one of [
    'webhook: pending → completed',
    'webhook: cancelled → completed',
    'webhook: expired → completed',
    'poll: pending → completed',
    'poll: completed → completed',
    'return page: pending → expired',
    'cancel: pending → cancelled',
    'cancel: pending → completed',
    'cancel: pending → failed',
    'cancel: cancelled → cancelled',
  ])
    expect([...seen]).toContain(one);
}, 120_000);

// REQ E3.3
test.each(['pays', 'fails', 'expires'] as const)(
  'a reading from before does not open again what is over: the payer %s meanwhile',
  async (step) => {
    const purchase = await shop.buy(customer);
    const charge = shop.chargeOf(purchase);
    const before = await hands.deps.rail.check(charge);
    if (before.outcome !== 'ok') throw new Error('not read');
    await happens[step](purchase, charge);
    await happens.webhook(purchase, charge);
    const look = () => shop.sql`
      select c.state, c.next_check_at, p.state as purchase from payments.charges c join payments.purchases p on p.id = c.purchase_id
      where c.charge_id = ${charge}`;
    const over = await look();
    expect(over).toMatchObject([{ next_check_at: null }]);
    // Whoever had read it as pending, and stood still since, goes on.
    expect(await settleCharge(hands.deps, before.value, 'webhook')).toBe('unchanged');
    expect(await look()).toEqual(over);
  },
);
