import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import type { Client, Json } from '../harness/client.ts';
import { uuidOf } from '../payments/shop.ts';
import type { Cell, Scenario } from './cell.ts';
import { CREDITS, type CrashStage } from './stage.ts';

/** A purchase on its way, and the key with which its client repeats itself. */
export interface Buying {
  customer: Client;
  key: string;
  purchase?: Json;
}

const buying = async (stage: CrashStage): Promise<Buying> => ({
  customer: await stage.customer(0),
  key: randomUUID(),
});

export const bought = async (stage: CrashStage, method: Json = { type: 'promptpay' }): Promise<Buying> => {
  const state = await buying(stage);
  return { ...state, purchase: await stage.shop.buy(state.customer, method, { key: state.key }) };
};

/** Until there is something to pay, or the purchase is over. */
async function order(cell: Cell, state: Buying, method: Json = { type: 'promptpay' }): Promise<Json> {
  const body = { package_id: cell.stage.shop.pack.id, method };
  const isFinal = (reply: Json) =>
    reply.status === 201 && (reply.body.qr_url || reply.body.authorize_uri || reply.body.status !== 'pending');
  const purchase = await cell.insist(state.customer, 'POST', '/v1/purchases', { key: state.key, body }, isFinal);
  state.purchase ??= purchase;
  expect(purchase.id, 'one key, one purchase').toBe(state.purchase.id);
  return purchase;
}

/** The payer pays the one charge that there is, if that has not been done. */
export function pay(stage: CrashStage, state: Buying): void {
  const id = stage.shop.chargeOf(state.purchase);
  if (stage.omise.charge(id)['status'] === 'pending') stage.omise.pay(id);
}

export const becomes = (cell: Cell, { customer, purchase }: Buying, wished: string): Promise<Json> =>
  cell.until(`the purchase is ${wished}`, async () => {
    const now = await cell.insist(customer, 'GET', `/v1/purchases/${purchase.id}`, {});
    return now.status === wished ? now : undefined;
  });

/** Nothing of it waits for anything. */
export const isQuiet = (cell: Cell, { purchase }: Buying): Promise<unknown> =>
  cell.until('nothing waits', async () => {
    const [row] = await cell.stage.sql`
      select (select count(*)::int from payments.charges
          where purchase_id = ${uuidOf(purchase.id)} and (state = 'creating' or next_check_at is not null)) as attempts,
        (select count(*)::int from payments.webhook_inbox i join payments.charges c on c.charge_id = i.charge_id
          where c.purchase_id = ${uuidOf(purchase.id)} and i.state = 'received') as notifications`;
    return row?.['attempts'] === 0 && row['notifications'] === 0;
  });

/** Leases run out, and attempts come to an age at which they are looked for, and given up. */
export const agePayments = async ({ sql }: CrashStage): Promise<void> => {
  await sql`update payments.webhook_inbox set next_attempt_at = now() where state = 'received'`;
  await sql`
    update payments.charges set next_check_at = now() - interval '1 second',
      created_at = case when state = 'creating' then least(created_at, now() - interval '130 seconds') else created_at end
    where next_check_at is not null`;
};

/** Only what was taken by somebody who is gone. */
const ageInbox = ({ sql }: CrashStage) =>
  sql`update payments.webhook_inbox set next_attempt_at = now() where state = 'received'`;

/**
 * Paid once and credited once. Whoever stood still before its call may make a second charge when it goes on, long after
 * the attempt was given up: nobody was shown it, nobody pays it, and we know of it.
 */
export async function creditedOnce(stage: CrashStage, { customer, purchase }: Buying, isLate = false): Promise<void> {
  const charges = stage.shop.chargesOf(purchase);
  if (!isLate) expect(charges, 'charges at the provider').toHaveLength(1);
  const paid = charges.filter(({ status }) => status === 'successful');
  expect(paid, 'payments at the provider').toHaveLength(1);
  const known = await stage.sql`select charge_id from payments.charges where purchase_id = ${uuidOf(purchase.id)}`;
  expect(known.flatMap(({ charge_id }) => charge_id ?? []).sort()).toEqual(charges.map(({ id }) => id).sort());
  expect(await stage.shop.booked(purchase)).toEqual({ times: 1, credits: CREDITS });
  expect(await stage.shop.differencesOf(purchase)).toEqual([]);
  expect((await customer.ok('GET', '/v1/credits/balance')).available).toBe(CREDITS);
}

export async function nothingCredited(stage: CrashStage, { customer, purchase }: Buying): Promise<void> {
  expect(await stage.shop.booked(purchase)).toEqual({ times: 0, credits: 0 });
  expect((await customer.ok('GET', '/v1/credits/balance')).available).toBe(0);
}

const CONVERGING = [
  'payments.converge.before_read',
  'payments.converge.after_read',
  'payments.converge.before_commit',
  'payments.converge.after_commit',
  'payments.apply.after_record',
  'payments.apply.after_claim',
  'payments.apply.after_post',
] as const;

const started: Scenario<Buying> = {
  name: 'a purchase is started',
  points: [
    'platform.idempotency.after_take',
    'payments.start.before_commit',
    'payments.start.after_commit',
    'payments.charge.before_create',
    'payments.charge.after_create',
    'payments.charge.before_commit',
    'payments.charge.after_commit',
  ],
  set: buying,
  play: async (cell, state) => {
    await order(cell, state);
    pay(cell.stage, state);
    await becomes(cell, state, 'completed');
    await isQuiet(cell, state);
  },
  lend: agePayments,
  check: creditedOnce,
};

const told: Scenario<Buying> = {
  name: 'a payment is told of by its webhook',
  points: [
    'payments.webhook.before_insert',
    'payments.webhook.after_insert',
    'payments.inbox.after_lease',
    ...CONVERGING,
    'payments.inbox.before_close',
    'payments.inbox.after_close',
  ],
  set: async (stage) => {
    const state = await bought(stage);
    await stage.omise.settled(); // charge.create has been told and dealt with
    for (let left = 1; left > 0; ) {
      const [row] = await stage.sql`select count(*)::int as n from payments.webhook_inbox where state = 'received'`;
      left = row?.['n'] ?? 0;
    }
    return state;
  },
  play: async (cell, state) => {
    pay(cell.stage, state);
    await becomes(cell, state, 'completed');
    await isQuiet(cell, state);
  },
  lend: ageInbox,
  check: creditedOnce,
};

const refused: Scenario<Buying> = {
  name: 'the provider refuses the charge',
  points: ['payments.charge.reject_before_commit'],
  set: buying,
  play: async (cell, state) => {
    const { key, customer } = state;
    const body = { package_id: cell.stage.shop.pack.id, method: { type: 'card', token: 'tokn_test_unknown0000000' } };
    const isFinal = (reply: Json) => reply.status === 201 && reply.body.status === 'failed';
    state.purchase = await cell.insist(customer, 'POST', '/v1/purchases', { key, body }, isFinal);
    await isQuiet(cell, state);
  },
  lend: agePayments,
  check: async (stage, state) => {
    expect(stage.shop.chargesOf(state.purchase)).toHaveLength(0);
    await nothingCredited(stage, state);
  },
};

const unavailable: Scenario<Buying> = {
  name: 'the provider is not there, and then it is',
  points: ['payments.charge.abandon_before_commit'],
  set: async (stage) => {
    stage.omise.fault({ api: 'rate_limited', method: 'POST', path: '/charges', times: 1 });
    return buying(stage);
  },
  play: started.play,
  lend: agePayments,
  check: creditedOnce,
};

/** Opens a purchase whose charge nobody tells of; the provider's list of events cannot be read. */
const unheard = (stage: CrashStage) => {
  stage.omise.fault({ webhook: 'drop' });
  stage.omise.fault({ api: 'server_error', method: 'GET', path: '/events' });
};

const lost: Scenario<Buying> = {
  name: 'the answer to the charge is lost, and it is looked for',
  points: ['payments.poll.after_lease', 'payments.recover.after_list'],
  isImpatient: true,
  set: async (stage) => {
    unheard(stage);
    stage.omise.fault({ api: 'reset_after_execution', method: 'POST', path: '/charges', times: 1 });
    const state = await bought(stage);
    await agePayments(stage);
    return state;
  },
  play: async (cell, state) => {
    await order(cell, state);
    pay(cell.stage, state);
    cell.stage.omise.clearFaults();
    await becomes(cell, state, 'completed');
    await isQuiet(cell, state);
  },
  lend: agePayments,
  check: creditedOnce,
};

const missing: Scenario<Buying> = {
  name: 'the provider denies a charge that it gave us',
  points: ['payments.poll.missing_before_commit'],
  isImpatient: true,
  set: async (stage) => {
    const state = await bought(stage);
    await stage.omise.settled();
    await stage.sql`
      update payments.charges set charge_id = ${`chrg_test_${randomUUID().replaceAll('-', '').slice(0, 19)}`},
        next_check_at = now() - interval '1 second' where purchase_id = ${uuidOf(state.purchase.id)}`;
    return state;
  },
  play: async (cell, state) => {
    await cell.until('it is told', async () => (await cell.stage.shop.differencesOf(state.purchase)).length > 0);
  },
  lend: agePayments,
  check: async (stage, state) => {
    expect(await stage.shop.differencesOf(state.purchase)).toEqual(['missing_at_provider']);
    const steps = await stage.sql`
      select 1 from payments.history where purchase_id = ${uuidOf(state.purchase.id)} and what = 'missing_at_provider'`;
    expect(steps).toHaveLength(1);
    await stage.sql`update payments.charges set next_check_at = null where purchase_id = ${uuidOf(state.purchase.id)}`;
    await nothingCredited(stage, state);
  },
};

const linked: Scenario<Buying> = {
  name: 'a payment link is paid on its page',
  points: ['payments.page.before_commit', 'payments.charge.after_create'],
  set: (stage) => bought(stage, { type: 'payment_link' }),
  play: async (cell, state) => {
    await cell.until('there is something to pay', async () => {
      await submit(cell.stage, `${new URL(state.purchase.status_url).pathname}/pay`);
      return isPayable(cell.stage, state);
    });
    pay(cell.stage, state);
    await becomes(cell, state, 'completed');
    await isQuiet(cell, state);
  },
  lend: agePayments,
  check: creditedOnce,
};

/** The payer's browser sends the form of the page; whatever becomes of it, the payer looks again. */
const submit = (stage: CrashStage, path: string) =>
  fetch(stage.farebox.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: 'method=promptpay',
    redirect: 'manual',
    signal: AbortSignal.timeout(1_000),
  }).catch(() => undefined);

const isPayable = async ({ sql }: CrashStage, { purchase }: Buying) =>
  (await sql`select 1 from payments.charges where purchase_id = ${uuidOf(purchase.id)} and state = 'pending'`).length >
  0;

export const purchaseScenarios = [started, told, refused, unavailable, lost, missing, linked];
