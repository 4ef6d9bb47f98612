import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { findAnvil } from '../../sandbox/chain/anvil.ts';
import { fromWire } from '../../src/platform/ids.ts';
import { dollarsOf, newWallet, payDollars, type Wallet } from '../harness/chain.ts';
import { clientOf, type Json } from '../harness/client.ts';
import { agree, askFor, newPayer, type Payer, standing, submit, TEN } from '../payments/request-stage.ts';
import type { Cell, Scenario } from './cell.ts';
import type { CrashStage } from './stage.ts';

/** What is asked for and paid on chain, whoever dies on the way. */

interface Paying {
  payer: Payer;
  request: Json;
  hash?: string;
}

const asked = async (stage: CrashStage): Promise<Paying> => {
  const requests = await stage.requests();
  const payer = await newPayer(requests);
  return { payer, request: await askFor(requests, payer) };
};
const agreed = async (stage: CrashStage): Promise<Paying> => {
  const state = await asked(stage);
  await agree(await stage.requests(), state.payer, state.request);
  return state;
};
const pay = async (stage: CrashStage, { payer }: Paying, amount = TEN) =>
  payDollars(payer.wallet, (await stage.requests()).chain, amount);

const becomes = (cell: Cell, { payer, request }: Paying, wished: string): Promise<Json> =>
  cell.until(`the request is ${wished}`, async () => {
    const now = await cell.insist(payer.client, 'GET', `/v1/payment-requests/${request.id}`, {});
    return now.status === wished ? now : undefined;
  });

/** Leases run out. */
const ageLooks = ({ sql }: CrashStage) =>
  sql`update payments.request_transactions set next_check_at = least(next_check_at, now())`;

const creditedOnce = async ({ sql }: CrashStage, { payer, request }: Paying): Promise<void> => {
  const id = fromWire('paymentRequest', request.id);
  const [row] = await sql`
    select (select count(*)::int from payments.settlements where request_id = ${id} and gone_at is null) as settlements,
      (select count(*)::int from payments.completions where request_id = ${id}) as completions,
      (select count(*)::int from platform.events where subject_id = ${id} and type = 'payments.payment_request_completed'
        and account_id = ${fromWire('account', payer.client.accountId)}) as told`;
  expect(row).toEqual({ settlements: 1, completions: 1, told: 1 });
  expect((await payer.client.ok('GET', '/v1/credits/balance')).available).toBe(1000);
};

/** An answer that was lost may have used its challenge up, and then there is another one. */
async function agrees(cell: Cell, { payer, request }: Paying): Promise<void> {
  const anybody = clientOf(cell.stage.farebox.url);
  const path = `/v1/payment-requests/${request.id}`;
  await cell.until('the payer has agreed', async () => {
    const challenge = await cell.insist(anybody, 'POST', `${path}/challenges`, {});
    const body = { challenge_id: challenge.challenge_id, proof: await payer.prove(challenge) };
    const isAnswered = ({ status }: { status: number }) => status < 500 && status !== 429;
    await cell.insist(anybody, 'POST', `${path}/authorizations`, { body }, isAnswered);
    return (await cell.insist(payer.client, 'GET', path, {})).authorized_at !== null;
  });
}

const reported: Scenario<Paying> = {
  name: 'a payer agrees, pays and reports it',
  points: [
    'payments.request.before_authorize_commit',
    'payments.request.after_authorize',
    'payments.request.before_submit_commit',
    'payments.request.after_submit',
    'payments.request.after_lease',
    'payments.request.after_look',
    'payments.request.after_claim',
    'payments.request.after_post',
    'payments.request.before_commit',
    'payments.request.after_commit',
  ],
  set: asked,
  play: async (cell, state) => {
    await agrees(cell, state);
    state.hash ??= await pay(cell.stage, state);
    const path = `/v1/payment-requests/${state.request.id}/transactions`;
    await cell.insist(state.payer.client, 'POST', path, { body: { tx_hash: state.hash } });
    await becomes(cell, state, 'completed');
  },
  lend: ageLooks,
  check: creditedOnce,
};

const found: Scenario<Paying> = {
  name: 'a payment that nobody reports is found',
  points: [
    'payments.watch.after_look',
    'payments.watch.before_commit',
    'payments.watch.before_cursor',
    'payments.watch.after_cursor',
  ],
  isImpatient: true,
  set: agreed,
  play: async (cell, state) => {
    state.hash ??= await pay(cell.stage, state);
    await becomes(cell, state, 'completed');
  },
  lend: ageLooks,
  check: creditedOnce,
};

const unpaid: Scenario<Paying> = {
  name: 'a payment request that nobody pays',
  points: ['payments.request.before_expire_commit'],
  isImpatient: true,
  set: async (stage) => {
    const state = await agreed(stage);
    await stage.sql.begin(async (tx) => {
      await tx`alter table payments.payment_requests disable trigger payment_requests_frozen`;
      await tx`update payments.payment_requests set expires_at = now() + interval '1 second'
        where id = ${fromWire('paymentRequest', state.request.id)}`;
      await tx`alter table payments.payment_requests enable trigger payment_requests_frozen`;
    });
    return state;
  },
  play: async (cell, state) => void (await becomes(cell, state, 'expired')),
  check: async ({ sql }, { request }) => {
    const told = await sql`select distinct subject_id, type from platform.events
      where subject_id = ${fromWire('paymentRequest', request.id)} and type = 'payments.payment_request_expired'`;
    expect(told).toHaveLength(1);
  },
};

interface Buying {
  payer: Payer;
  order: Json;
  key: string;
  purchase?: Json;
}

const bought: Scenario<Buying> = {
  name: 'a package is bought on chain',
  points: ['payments.buy.before_commit', 'payments.buy.after_commit'],
  set: async (stage) => {
    const requests = await stage.requests();
    const [payer, asset] = [await newPayer(requests), dollarsOf(requests.chain)];
    const pack = await stage.operator.ok('POST', '/v1/admin/packages', {
      body: { name: 'On chain', credits: 1000, price: 10_000 },
    });
    const prices = [{ asset, amount: TEN.toString() }];
    await stage.operator.ok('PUT', `/v1/admin/packages/${pack.id}/crypto-prices`, { body: { prices } });
    return { payer, key: randomUUID(), order: { package_id: pack.id, method: { type: 'crypto', asset } } };
  },
  play: async (cell, state) => {
    const { payer, key, order } = state;
    state.purchase = await cell.insist(payer.client, 'POST', '/v1/purchases', { key, body: order });
    const again = await cell.insist(payer.client, 'POST', '/v1/purchases', { key, body: order });
    expect(again.id, 'one key, one purchase').toBe(state.purchase.id);
    const paying = { payer, request: { id: state.purchase.payment_request_id } };
    await agrees(cell, paying);
    await pay(cell.stage, paying);
    await becomes(cell, paying, 'completed');
  },
  lend: ageLooks,
  check: async (stage, { payer, purchase }) => {
    const { data } = await payer.client.ok('GET', '/v1/purchases');
    expect(data.map(({ id, status }: Json) => [id, status])).toEqual([[purchase.id, 'completed']]);
    await creditedOnce(stage, { payer, request: { id: purchase.payment_request_id } });
  },
};

interface PayingOut extends Paying {
  refund: Json;
  /** The operator's wallet, and what was sent from it. */
  cold: Wallet;
  payout?: string;
}

const EXCESS = 3_000_000n;

const paidOut: Scenario<PayingOut> = {
  name: 'a refund is paid out on chain, and verified',
  points: ['refunds.chain.after_look', 'refunds.chain.before_commit'],
  set: async (stage) => {
    const requests = await stage.requests();
    const state = await agreed(stage);
    const { payer, request } = state;
    await submit(payer, request, await pay(stage, state, TEN + EXCESS));
    await requests.chain.control.mine(2);
    await standing(requests, payer.client, request, 'completed');
    const asked = await payer.client.ok('POST', '/v1/refunds/challenges', { body: { payment_request_id: request.id } });
    const refund = await payer.client.ok('POST', '/v1/refunds', {
      body: {
        subject: { type: 'payment_request', id: request.id, part: 'excess' },
        proof: { challenge_id: asked.challenge_id, answer: await payer.prove(asked) },
        ...{ target: 'original', reason: 'too much' },
      },
    });
    await stage.operator.ok('POST', `/v1/admin/refunds/${refund.id}/approve`, { body: { reason: 'fair' } });
    return { ...state, refund, cold: await newWallet(requests.chain) };
  },
  play: async (cell, state) => {
    const { payer, refund, cold } = state;
    const { chain } = await cell.stage.requests();
    state.payout ??= await payDollars(cold, chain, EXCESS, payer.wallet.account.address);
    const told = { key: randomUUID(), body: { type: 'transaction', tx_hash: state.payout } };
    await cell.insist(cell.stage.operator, 'POST', `/v1/admin/refunds/${refund.id}/payouts`, told);
    await cell.until('the refund is completed', async () => {
      await chain.control.mine(1);
      return (await cell.insist(payer.client, 'GET', `/v1/refunds/${refund.id}`, {})).status === 'completed';
    });
  },
  lend: ({ sql }) => sql`update refunds.refunds set next_step_at = now() where next_step_at is not null`,
  check: async ({ sql }, { payer, refund, payout }) => {
    const id = fromWire('refund', refund.id);
    const [row] = await sql`
      select (select count(*)::int from refunds.payouts where refund_id = ${id}) as payouts,
        (select string_agg(target || ' ' || outcome, ', ') from refunds.attempts where refund_id = ${id}) as tries,
        (select count(*)::int from platform.events where subject_id = ${id} and type = 'refunds.refund_completed') as told`;
    expect(row).toEqual({ payouts: 1, tries: `${payout} done`, told: 1 });
    expect(await payer.client.ok('GET', '/v1/credits/balance')).toMatchObject({ available: 1000, held: 0 });
  },
};

export const requestScenarios = [reported, found, unpaid, bought, paidOut];

/** Where npm has no anvil for the processor there is no chain to pay on. */
export const requestScenariosHere = findAnvil() ? requestScenarios : [];
