import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import type { Json } from '../harness/client.ts';
import { CREDITS, PRICE, uuidOf } from '../payments/shop.ts';
import type { Cell, Scenario } from './cell.ts';
import { type Buying, bought, pay } from './purchase-scenarios.ts';
import type { CrashStage } from './stage.ts';

/** A purchase that was paid, and what becomes of it. */
interface Refunding extends Buying {
  chargeId: string;
  refund?: Json;
}

const refundPath = '/charges/*/refunds';

async function paid(stage: CrashStage): Promise<Refunding> {
  const state = await bought(stage, { type: 'card', token: await stage.shop.token() });
  const chargeId = stage.shop.chargeOf(state.purchase);
  pay(stage, state);
  for (let status = ''; status !== 'completed'; )
    ({ status } = await state.customer.ok('GET', `/v1/purchases/${state.purchase.id}`));
  await stage.omise.settled();
  return { ...state, key: randomUUID(), chargeId };
}

/** Asks with one key until there is an answer: always the same refund. */
async function ask(cell: Cell, state: Refunding): Promise<void> {
  const body = { subject: { type: 'purchase', id: state.purchase.id }, reason: 'not needed' };
  const refund = await cell.insist(state.customer, 'POST', '/v1/refunds', { key: state.key, body });
  state.refund ??= refund;
  expect(refund.id, 'one key, one refund').toBe(state.refund.id);
}

const becomes = (cell: Cell, { customer, refund }: Refunding, wished: string): Promise<Json> =>
  cell.until(`the refund is ${wished}`, async () => {
    const now = await cell.insist(customer, 'GET', `/v1/refunds/${refund.id}`, {});
    return now.status === wished ? now : undefined;
  });

/** Leases run out, and sendings come to an age at which they are looked for, and given up. */
const age = async ({ sql }: CrashStage): Promise<void> => {
  await sql`update refunds.refunds set next_step_at = now() where next_step_at is not null`;
  await sql`update refunds.sightings set next_look_at = now() where next_look_at is not null`;
  await sql`update platform.deliveries set next_attempt_at = now() where next_attempt_at is not null`;
  await sql`update payments.webhook_inbox set next_attempt_at = now() where state = 'received'`;
  await sql`
    update refunds.attempts set started_at = least(started_at, now() - interval '130 seconds') where outcome = 'open'`;
};

const amountsOf = ({ omise }: CrashStage, { chargeId }: Refunding): number[] =>
  (omise.charge(chargeId) as Json).refunds.data.map(({ amount }: Json) => amount);

async function refundedOnce(stage: CrashStage, state: Refunding): Promise<void> {
  const { customer, purchase, refund } = state;
  expect(amountsOf(stage, state), 'refunds at the provider').toEqual([PRICE]);
  expect(await customer.ok('GET', '/v1/credits/balance')).toMatchObject({ available: 0, held: 0, debt: 0 });
  expect(await customer.ok('GET', `/v1/purchases/${purchase.id}`)).toMatchObject({
    ...{ status: 'refunded', refunded_credits: CREDITS, refunded_amount: PRICE },
  });
  const { data } = await customer.ok('GET', '/v1/refunds');
  expect(data.map(({ id, status }: Json) => [id, status])).toEqual([[refund.id, 'completed']]);
  const [row] = await stage.sql`
    select (select count(*)::int from platform.events where subject_id = f.id and type = 'refunds.refund_completed') as told,
      (select count(*)::int from refunds.payouts where refund_id = f.id) as payouts,
      (select count(*)::int from refunds.clawbacks where purchase_id = f.subject_id) as clawbacks
    from refunds.refunds f where f.subject_id = ${uuidOf(purchase.id)}`;
  expect(row).toEqual({ told: 1, payouts: 1, clawbacks: 0 });
}

const given: Scenario<Refunding> = {
  name: 'a purchase is refunded',
  points: [
    'platform.idempotency.after_take',
    'refunds.request.before_commit',
    'refunds.request.after_commit',
    'refunds.reserve.after_hold',
    'refunds.reserve.before_commit',
    'refunds.reserve.after_commit',
    'refunds.send.after_check',
    'refunds.send.before_commit',
    'refunds.send.before_call',
    'refunds.send.after_call',
    'refunds.send.after_commit',
    'refunds.complete.after_take',
    'refunds.complete.before_commit',
  ],
  set: paid,
  play: async (cell, state) => {
    await ask(cell, state);
    await becomes(cell, state, 'completed');
  },
  lend: age,
  check: refundedOnce,
};

/** The answer to the refund is lost, with nobody but the saga to find out. */
const unanswered = (api: 'reset_after_execution' | 'reset_before_execution') => async (stage: CrashStage) => {
  const state = await paid(stage);
  stage.omise.fault({ webhook: 'drop' });
  stage.omise.fault({ api: 'server_error', method: 'GET', path: '/events' });
  stage.omise.fault({ api, method: 'POST', path: refundPath, times: 1 });
  const body = { subject: { type: 'purchase', id: state.purchase.id }, reason: 'not needed' };
  state.refund = await state.customer.ok('POST', '/v1/refunds', { key: state.key, body });
  expect(state.refund.status).toBe('sending');
  await age(stage);
  return state;
};

const found: Scenario<Refunding> = {
  name: 'the answer to a refund is lost, and it is looked for',
  points: ['refunds.drive.after_lease', 'refunds.look.after_check'],
  isImpatient: true,
  set: unanswered('reset_after_execution'),
  play: async (cell, state) => {
    await becomes(cell, state, 'completed');
  },
  lend: age,
  check: refundedOnce,
};

const repeated: Scenario<Refunding> = {
  ...found,
  name: 'a refund never reached the provider, and is sent again',
  points: ['refunds.look.before_commit'],
  set: unanswered('reset_before_execution'),
  play: async (cell, state) => {
    await cell.until('it is looked for twice', async () => {
      await age(cell.stage);
      const now = await cell.insist(state.customer, 'GET', `/v1/refunds/${state.refund.id}`, {});
      return now.status !== 'sending';
    });
    await becomes(cell, state, 'completed');
  },
};

const refused: Scenario<Refunding> = {
  name: 'the provider refuses a refund, and the credits come back',
  points: ['refunds.undo.after_release', 'refunds.undo.before_commit'],
  set: async (stage) => {
    const state = await paid(stage);
    // It shows the charge as refundable, and does not mean it; and nobody is told of the dispute.
    stage.omise.fault({ webhook: 'drop' });
    stage.omise.fault({ api: 'server_error', method: 'GET', path: '/events' });
    stage.omise.mutate(state.chargeId, { data: 'disguise', set: { refundable: true, dispute: null } });
    stage.omise.dispute(state.chargeId);
    return state;
  },
  play: async (cell, state) => {
    await ask(cell, state);
    await becomes(cell, state, 'failed');
  },
  lend: age,
  check: async (stage, state) => {
    expect(amountsOf(stage, state)).toEqual([]);
    const { customer, purchase } = state;
    expect(await customer.ok('GET', '/v1/credits/balance')).toMatchObject({ available: CREDITS, held: 0, debt: 0 });
    expect((await customer.ok('GET', `/v1/purchases/${purchase.id}`)).status).toBe('completed');
  },
};

const elsewhere: Scenario<Refunding> = {
  name: 'money goes back at the provider, and is clawed back',
  points: [
    'platform.subscriptions.before_commit',
    'platform.subscriptions.after_commit',
    'refunds.sighting.after_lease',
    'refunds.sighting.after_check',
    'refunds.sighting.before_commit',
  ],
  isImpatient: true,
  set: paid,
  play: async (cell, state) => {
    cell.stage.omise.refund(state.chargeId, { amount: PRICE / 5 });
    await cell.until('its credits are taken back', async () => {
      const { available } = await cell.insist(state.customer, 'GET', '/v1/credits/balance', {});
      return available === CREDITS - CREDITS / 5;
    });
  },
  lend: age,
  check: async (stage, { customer, purchase }) => {
    expect(await customer.ok('GET', '/v1/credits/balance')).toMatchObject({
      available: CREDITS - CREDITS / 5,
      debt: 0,
    });
    const clawbacks = await stage.sql`
      select credits::int as credits from refunds.clawbacks where purchase_id = ${uuidOf(purchase.id)}`;
    expect(clawbacks.map(({ credits }) => credits)).toEqual([CREDITS / 5]);
    expect(await stage.shop.differencesOf(purchase)).toEqual([]);
  },
};

export const refundScenarios = [given, found, repeated, refused, elsewhere];
