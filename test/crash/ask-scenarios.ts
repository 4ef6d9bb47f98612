import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { fromWire } from '../../src/platform/ids.ts';
import type { Client, Json } from '../harness/client.ts';
import { workflowOf } from '../workflows/stage.ts';
import type { Cell, Scenario } from './cell.ts';
import { INVOICED, lendInvoices } from './lightning-scenarios.ts';
import { agePayments } from './purchase-scenarios.ts';
import { ageRuns } from './run-scenarios.ts';
import type { CrashStage } from './stage.ts';

/** Runs that are paid by asks, whoever dies on the way. They cost ten. */

interface Asking {
  customer: Client;
  workflow: Json;
  key: string;
  /** The ask that the first 402 led to. */
  ask?: string;
  run?: string;
}

const rails = [{ rail: 'credits' }, { rail: 'omise', currency: 'THB', price_per_credit: 1_000 }];

async function ready(stage: CrashStage, path: string, payment: Json, credits = 0): Promise<Asking> {
  const executor = { max_attempts: 50, timeout_ms: 5_000, report_interval_s: 600 };
  const terms = { credit_cost: 10, executor, payment: { rails, ...payment } };
  const customer = await stage.customer(credits);
  const service = await stage.service(path, terms);
  return { customer, workflow: await workflowOf(customer, service), key: randomUUID() };
}

/** Orders the run until it waits for its payment, or is accepted. */
async function order(cell: Cell, state: Asking, body: Json = { payment: 'upfront' }): Promise<Json> {
  const { customer, workflow, key } = state;
  const isFinal = ({ status }: { status: number }) => status === 402 || status === 202;
  const told = await cell.insist(customer, 'POST', `/v1/workflows/${workflow.id}/runs`, { key, body }, isFinal);
  const [run, ask] = told.run ? [told.run.id, told.run.payment.ask_id] : [told.run_id, told.ask_id];
  expect(run, 'one key, one run').toBe(state.run ?? run);
  Object.assign(state, { run, ask });
  return told;
}

const pays = (cell: Cell, { customer, ask }: Asking): Promise<Json> =>
  cell.insist(customer, 'POST', `/v1/asks/${ask}/pay`, {
    key: `pay ${ask}`.replaceAll(' ', '-'),
    body: { rail: 'credits' },
  });

const stands = (cell: Cell, { customer, run }: Asking, wished: string): Promise<Json> =>
  cell.until(`the run is ${wished}`, async () => {
    const now = await cell.insist(customer, 'GET', `/v1/runs/${run}`, {});
    return now.state === wished ? now : undefined;
  });

/** What has moved, by the ledger, and what is left. */
async function cameTo({ sql }: CrashStage, { customer }: Asking, moves: string[], available: number): Promise<void> {
  const rows = await sql`
    select kind || ' ' || amount as move from credits.transfers
    where account_id = ${fromWire('account', customer.accountId)} and kind <> 'grant' order by seq`;
  expect(rows.map((row) => row['move'])).toEqual(moves);
  expect(await customer.ok('GET', '/v1/credits/balance')).toMatchObject({ available, held: 0 });
  const [kept] = await sql`
    select count(*)::int as n from workflows.runs where account_id = ${fromWire('account', customer.accountId)}`;
  expect(kept).toEqual({ n: 1 });
}

const paid: Scenario<Asking> = {
  name: 'a run waits for its payment, and is paid with credits',
  points: [
    'workflows.ask.before_start_commit',
    'workflows.ask.after_start',
    'workflows.ask.after_hold',
    'workflows.ask.after_take',
    'workflows.ask.before_pay_commit',
  ],
  set: (stage) => ready(stage, '/echo?paid=upfront', {}),
  play: async (cell, state) => {
    expect((await order(cell, state)).code).toBe('payment_required');
    const path = `/v1/admin/accounts/${state.customer.accountId}/grants`;
    await cell.insist(cell.stage.operator, 'POST', path, {
      key: state.key,
      body: { credits: 25, reason: 'to pay it' },
    });
    await pays(cell, state);
    await stands(cell, state, 'succeeded');
  },
  lend: ageRuns,
  check: (stage, state) => cameTo(stage, state, ['hold 10', 'capture 10'], 15),
};

const bought: Scenario<Asking & { purchase?: string }> = {
  name: 'a run is paid by a purchase at the provider',
  points: ['workflows.ask.before_buy_commit', 'payments.settle.after_hold'],
  set: (stage) => ready(stage, '/echo?paid=upfront', {}, 4),
  play: async (cell, state) => {
    await order(cell, state);
    const { customer, ask } = state;
    const options = { key: `buy-${ask}`, body: { rail: 'omise' } };
    const opened = await cell.insist(customer, 'POST', `/v1/asks/${ask}/pay`, options);
    expect(opened.purchase_id, 'one ask, one purchase').toBe(state.purchase ?? opened.purchase_id);
    state.purchase = opened.purchase_id;
    const charges = () =>
      cell.stage.omise.charges().filter((one) => (one['metadata'] as Json).purchase_id === opened.purchase_id);
    await cell.until('there is a charge', async () => {
      const body = new URLSearchParams({ method: 'promptpay' });
      const signal = AbortSignal.timeout(3_000);
      await fetch(`${opened.status_url}/pay`, { method: 'POST', redirect: 'manual', body, signal });
      return charges().length > 0;
    });
    for (const { id, status } of charges()) if (status === 'pending') cell.stage.omise.pay(String(id));
    await stands(cell, state, 'succeeded');
  },
  lend: async (stage, state) => {
    await agePayments(stage);
    await stage.sql`update platform.deliveries set next_attempt_at = now() where next_attempt_at is not null`;
    await ageRuns(stage, state);
  },
  check: (stage, state) => cameTo(stage, state, ['hold 4', 'purchase 6', 'hold 6', 'capture 4', 'capture 6'], 0),
};

const invoiced: Scenario<Asking & { purchase?: string }> = {
  name: 'a run is paid by an invoice',
  points: [...INVOICED, 'payments.invoice.before_look_commit', 'workflows.ask.after_take'],
  set: async (stage) => {
    stage.wallet.faults({});
    const lightning = { rail: 'lightning', price_per_credit: 1_000 };
    return ready(stage, '/echo?paid=by-invoice', { rails: [{ rail: 'credits' }, lightning] }, 4);
  },
  play: async (cell, state) => {
    await order(cell, state);
    const { customer, ask } = state;
    const options = { key: `invoice-${ask}`, body: { rail: 'lightning' } };
    const hasInvoice = ({ status, body }: { status: number; body: Json }) => status === 202 && Boolean(body.lightning);
    const opened = await cell.insist(customer, 'POST', `/v1/asks/${ask}/pay`, options, hasInvoice);
    expect(opened.purchase_id, 'one ask, one purchase').toBe(state.purchase ?? opened.purchase_id);
    state.purchase = opened.purchase_id;
    await cell.stage.wallet.pay(opened.lightning.invoice);
    await stands(cell, state, 'succeeded');
  },
  lend: async (stage, state) => {
    await lendInvoices(stage);
    await stage.sql`update platform.deliveries set next_attempt_at = now() where next_attempt_at is not null`;
    await ageRuns(stage, state);
  },
  check: (stage, state) => cameTo(stage, state, ['hold 4', 'purchase 6', 'hold 6', 'capture 4', 'capture 6'], 0),
};

const expired: Scenario<Asking> = {
  name: 'an ask is not paid in time',
  points: ['workflows.ask.after_release', 'workflows.ask.before_expire_commit', 'workflows.ask.after_expire'],
  isImpatient: true,
  set: async (stage) => {
    const state = await ready(stage, '/echo?paid=upfront', {}, 4);
    const told = await state.customer.post(`/v1/workflows/${state.workflow.id}/runs`, { payment: 'upfront' });
    await state.customer.ok('POST', `/v1/asks/${told.body.ask_id}/pay`, { body: { rail: 'omise' } }); // sets 4 aside
    await stage.sql`update workflows.asks set expires_at = now() where id = ${fromWire('ask', told.body.ask_id)}`;
    return { ...state, run: told.body.run_id, ask: told.body.ask_id };
  },
  play: async (cell, state) => {
    await stands(cell, state, 'expired');
  },
  check: (stage, state) => cameTo(stage, state, ['hold 4', 'release 4'], 4),
};

const afterwards: Scenario<Asking> = {
  name: 'a run is paid after it is done',
  points: ['workflows.succeed.before_commit'],
  set: (stage) => ready(stage, '/echo?paid=after', { mode: 'after' }, 10),
  play: async (cell, state) => {
    await order(cell, state, {});
    const { payment } = await stands(cell, state, 'succeeded');
    state.ask = payment.ask_id;
    await pays(cell, state);
  },
  lend: ageRuns,
  check: async (stage, state) => {
    await cameTo(stage, state, ['hold 10', 'capture 10'], 0);
    const [tab] = await stage.sql`
      select runs, credits::int from workflows.tabs where account_id = ${fromWire('account', state.customer.accountId)}`;
    expect(tab).toEqual({ runs: 0, credits: 0 });
  },
};

const inParts: Scenario<Asking> = {
  name: 'a run is paid part by part',
  points: ['workflows.report.before_part_commit'],
  set: (stage) => ready(stage, '/milestones', { milestones: [7, 3] }, 10),
  play: async (cell, state) => {
    await order(cell, state, {});
    const { payment } = await stands(cell, state, 'paused');
    state.ask = payment.ask_id;
    await pays(cell, state);
    await stands(cell, state, 'succeeded');
  },
  lend: ageRuns,
  check: (stage, state) => cameTo(stage, state, ['hold 7', 'capture 7', 'hold 3', 'capture 3'], 0),
};

const failed: Scenario<Asking> = {
  name: 'a run that was paid by an ask fails',
  points: ['workflows.ask.after_return'],
  set: (stage) => ready(stage, '/refuse?paid=upfront', {}, 10),
  play: async (cell, state) => {
    await order(cell, state);
    await stands(cell, state, 'failed');
  },
  lend: ageRuns,
  check: (stage, state) => cameTo(stage, state, ['hold 10', 'capture 10', 'return 10'], 10),
};

export const askScenarios = [paid, bought, invoiced, expired, afterwards, inParts, failed];
