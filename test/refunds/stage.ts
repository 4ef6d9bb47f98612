import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { fromWire } from '../../src/platform/ids.ts';
import type { CallOptions, Client, Json } from '../harness/client.ts';
import { newCustomer } from '../harness/client.ts';
import type { FareboxOptions } from '../harness/farebox.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { type Hands, handsOf, openShop, type Shop } from '../payments/shop.ts';

/** A shop whose purchases are asked back, and whose workers move when the test says so. */
export interface RefundStage {
  shop: Shop;
  hands: Hands;
  /** A new customer with a purchase that was paid by card (500 credits for THB 500). */
  buyer(): Promise<{ customer: Client; purchase: Json; chargeId: string }>;
  /** The same by PromptPay. */
  scanner(): Promise<{ customer: Client; purchase: Json; chargeId: string }>;
  /** Another paid purchase of that customer. */
  pay(customer: Client, method?: 'card' | 'promptpay'): Promise<{ purchase: Json; chargeId: string }>;
  /** All that the provider says has gone back of a charge: one amount for each refund. */
  givenBack(chargeId: string): number[];
  /** Lets so many seconds pass for a refund. */
  age(refund: { id: string }, seconds: number): Promise<void>;
  /** Rounds of everything that may have something to do. */
  work(): Promise<void>;
  /** Nothing is wrong in the books. */
  isSound(): Promise<void>;
  close(): Promise<void>;
}

export async function openRefundStage(options: FareboxOptions = {}): Promise<RefundStage> {
  const shop = await openShop({ ...options, env: { WORKERS: 'off', ...options.env } });
  const hands = await handsOf(shop.farebox);
  const pay: RefundStage['pay'] = async (customer, method = 'card') => {
    const how = method === 'card' ? { type: 'card', token: await shop.token() } : { type: 'promptpay' };
    const purchase = await shop.buy(customer, how);
    const chargeId = shop.chargeOf(purchase);
    if (shop.omise.charge(chargeId)['status'] === 'pending') shop.omise.pay(chargeId);
    await shop.operator.ok('POST', `/v1/admin/purchases/${purchase.id}/converge`);
    return { purchase: await customer.ok('GET', `/v1/purchases/${purchase.id}`), chargeId };
  };
  const newBuyer = async (method: 'card' | 'promptpay') => {
    const customer = await newCustomer(shop.farebox);
    return { customer, ...(await pay(customer, method)) };
  };
  return {
    ...{ shop, hands, pay },
    buyer: () => newBuyer('card'),
    scanner: () => newBuyer('promptpay'),
    givenBack: (chargeId) => (shop.omise.charge(chargeId) as Json).refunds.data.map(({ amount }: Json) => amount),
    age: async ({ id }, seconds) => {
      const uuid = fromWire('refund', id);
      await shop.sql`update refunds.refunds set next_step_at = next_step_at - make_interval(secs => ${seconds}) where id = ${uuid}`;
      await shop.sql`update refunds.attempts set started_at = started_at - make_interval(secs => ${seconds}) where refund_id = ${uuid}`;
    },
    work: async () => {
      await shop.omise.settled();
      for (const name of ['webhook-inbox', 'event-sweep', 'subscriptions', 'refund-sightings', 'refunds'])
        await hands.run(name);
    },
    isSound: async () => {
      expect(await faultsAtRest(shop.farebox.database.superuserUrl)).toEqual([]);
    },
    close: async () => {
      await hands.close();
      await shop.stop();
    },
  };
}

const reason = 'not needed any more';

export const askBack = (customer: Client, subject: Json, more: Json = {}, options: CallOptions = {}) =>
  customer.call('POST', '/v1/refunds', {
    ...{ key: randomUUID(), ...options },
    body: { subject, reason, ...more },
  });

export const purchaseOf = ({ id }: Json): Json => ({ type: 'purchase', id });

/** The refund of a purchase, as the first reply shows it. */
export async function refundOf(customer: Client, purchase: Json, more: Json = {}): Promise<Json> {
  const reply = await askBack(customer, purchaseOf(purchase), more);
  expect(reply.status, reply.text).toBe(201);
  return reply.body;
}

export const balanceOf = (customer: Client): Promise<Json> => customer.ok('GET', '/v1/credits/balance');

/** States that the account was told of, in order. */
export async function toldOf(customer: Client, { id }: Json): Promise<string[]> {
  const { data } = await customer.ok('GET', '/v1/events?limit=100');
  return data
    .filter((event: Json) => event.data.id === id && event.type.startsWith('refunds.'))
    .sort((a: Json, b: Json) => a.seq - b.seq)
    .map((event: Json) => event.type.replace('refunds.refund_', ''));
}
