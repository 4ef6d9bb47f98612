import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import type { Json } from '../harness/client.ts';
import { CREDITS, uuidOf } from '../payments/shop.ts';
import type { Cell, Scenario } from './cell.ts';
import {
  agePayments,
  type Buying,
  becomes,
  bought,
  creditedOnce,
  isQuiet,
  nothingCredited,
  pay,
} from './purchase-scenarios.ts';
import type { CrashStage } from './stage.ts';

/** A purchase that is paid, and of which nobody is told. */
const paidUnheard = async (stage: CrashStage): Promise<Buying> => {
  stage.omise.fault({ webhook: 'drop' });
  const state = await bought(stage);
  pay(stage, state);
  return state;
};

const swept: Scenario<Buying> = {
  name: 'the sweep of events finds a payment',
  points: ['payments.sweep.after_list', 'payments.sweep.before_watermark', 'payments.sweep.after_watermark'],
  isImpatient: true,
  set: paidUnheard,
  play: async (cell, state) => {
    await becomes(cell, state, 'completed');
    await isQuiet(cell, state);
  },
  check: creditedOnce,
};

const reconciled: Scenario<Buying> = {
  name: 'an operator reconciles',
  points: ['payments.reconcile.after_list'],
  set: paidUnheard,
  play: async (cell, state) => {
    const path = '/v1/admin/reconcile';
    await cell.insist(cell.stage.operator, 'POST', path, { body: {} });
    await becomes(cell, state, 'completed');
    await isQuiet(cell, state);
  },
  check: creditedOnce,
};

const expired: Scenario<Buying> = {
  name: 'a payment link is never used',
  points: ['payments.expiry.before_commit', 'payments.expiry.after_commit'],
  isImpatient: true,
  set: async (stage) => {
    const state = await bought(stage, { type: 'payment_link' });
    await stage.shop.age(state.purchase, 25 * 3600);
    return state;
  },
  play: async (cell, state) => void (await becomes(cell, state, 'expired')),
  check: async (stage, state) => {
    const steps = await stage.sql`
      select 1 from payments.history where purchase_id = ${uuidOf(state.purchase.id)} and what = 'purchase_expired'`;
    expect(steps).toHaveLength(1);
    await nothingCredited(stage, state);
  },
};

const cancelled: Scenario<Buying> = {
  name: 'a purchase is cancelled',
  points: [
    'payments.cancel.before_expire',
    'payments.cancel.after_expire',
    'payments.cancel.before_commit',
    'payments.cancel.after_commit',
  ],
  set: bought,
  play: async (cell, state) => {
    const path = `/v1/purchases/${state.purchase.id}/cancel`;
    await cell.insist(state.customer, 'POST', path, {});
    await becomes(cell, state, 'cancelled');
    await isQuiet(cell, state);
  },
  lend: agePayments,
  check: async (stage, state) => {
    expect(stage.shop.chargesOf(state.purchase).map(({ status }) => status)).toEqual(['expired']);
    const steps = await stage.sql`
      select 1 from payments.history where purchase_id = ${uuidOf(state.purchase.id)} and what = 'purchase_cancelled'`;
    expect(steps).toHaveLength(1);
    await nothingCredited(stage, state);
  },
};

const resolved: Scenario<Buying> = {
  name: 'an operator completes a purchase in review',
  points: [
    'platform.idempotency.after_take',
    'payments.resolve.after_claim',
    'payments.resolve.after_post',
    'platform.idempotency.before_commit',
    'platform.idempotency.after_commit',
  ],
  set: async (stage) => {
    const state = await bought(stage);
    const id = stage.shop.chargeOf(state.purchase);
    stage.omise.mutate(id, { data: 'amount_off_by_one' });
    stage.omise.pay(id);
    for (let now: Json; now?.status !== 'review'; )
      now = await state.customer.ok('GET', `/v1/purchases/${state.purchase.id}`);
    await stage.omise.settled();
    return state;
  },
  play: async (cell, state) => {
    const path = `/v1/admin/purchases/${state.purchase.id}/resolve`;
    const body = { outcome: 'complete', reason: 'One satang is not worth a quarrel.' };
    const first = await cell.insist(cell.stage.operator, 'POST', path, { key: state.key, body });
    const again = await cell.insist(cell.stage.operator, 'POST', path, { key: state.key, body });
    expect(again, 'the same bytes for the same key').toEqual(first);
    await becomes(cell, state, 'completed');
  },
  lend: agePayments,
  check: async (stage, { customer, purchase }) => {
    expect(await stage.shop.booked(purchase)).toEqual({ times: 1, credits: CREDITS });
    expect((await customer.ok('GET', '/v1/credits/balance')).available).toBe(CREDITS);
  },
};

interface Granting extends Buying {
  before: number;
}

/** Everything that the operator does once by its key: a grant stands for all. */
const granted: Scenario<Granting> = {
  name: 'an operator grants credits',
  points: [
    'platform.idempotency.after_take',
    'platform.idempotency.before_commit',
    'platform.idempotency.after_commit',
  ],
  set: async (stage) => ({ customer: await stage.customer(0), key: randomUUID(), before: 0 }),
  play: async (cell: Cell, { customer, key }) => {
    const path = `/v1/admin/accounts/${customer.accountId}/grants`;
    const options = { key, body: { credits: 70, reason: 'goodwill' } };
    const first = await cell.insist(cell.stage.operator, 'POST', path, options);
    expect(await cell.insist(cell.stage.operator, 'POST', path, options)).toEqual(first);
  },
  check: async (_stage, { customer }) => {
    const { data } = await customer.ok('GET', '/v1/credits/transfers');
    expect(data).toHaveLength(1);
    expect((await customer.ok('GET', '/v1/credits/balance')).available).toBe(70);
  },
};

export const paymentScenarios = [swept, reconciled, expired, cancelled, resolved, granted];
