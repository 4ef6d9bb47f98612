import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import type { Client, Json } from '../harness/client.ts';
import { uuidOf } from '../payments/shop.ts';
import type { Cell, Scenario } from './cell.ts';
import { CREDITS, type CrashStage } from './stage.ts';

/** What something that is bought by an invoice comes past, until its money is set aside for it. */
export const INVOICED = [
  'workflows.ask.before_buy_commit',
  'payments.invoice.after_intend_for',
  'payments.invoice.after_make',
  'payments.invoice.before_open_commit',
  'payments.settle.after_hold',
] as const;

interface Buying {
  customer: Client;
  key: string;
  purchase?: Json;
}

const set = async (stage: CrashStage): Promise<Buying> => {
  stage.wallet.faults({});
  return { customer: await stage.customer(0), key: randomUUID() };
};

/** Until there is an invoice, or whatever else counts as an answer. */
async function order(cell: Cell, state: Buying, isFinal?: (reply: Json) => boolean): Promise<Json> {
  const body = { package_id: cell.stage.shop.pack.id, method: { type: 'lightning' } };
  const hasInvoice = ({ status, body: purchase }: Json) => status === 201 && purchase.lightning !== null;
  return cell.insist(state.customer, 'POST', '/v1/purchases', { key: state.key, body }, isFinal ?? hasInvoice);
}

async function payAndWait(cell: Cell, { customer, purchase }: Buying): Promise<void> {
  await cell.stage.wallet.pay(purchase.lightning.invoice);
  await cell.until('the purchase is completed', async () => {
    const now = await cell.insist(customer, 'GET', `/v1/purchases/${purchase.id}`, {});
    return now.status === 'completed';
  });
}

/** What somebody who stands still has locked is left alone: nobody waits for that here. */
export const lendInvoices = ({ sql }: CrashStage) =>
  sql`update payments.invoices set next_check_at = now() - interval '1 second' where id in (
    select id from payments.invoices where next_check_at is not null for update skip locked)`;

/** One key, one purchase, one payment, credited once. What was never shown is never paid. */
async function creditedOnce({ shop, wallet, sql }: CrashStage, { customer, purchase }: Buying): Promise<void> {
  const { data } = await customer.ok('GET', '/v1/purchases');
  expect(data.map(({ id, status }: Json) => [id, status])).toEqual([[purchase.id, 'completed']]);
  expect(await shop.booked(purchase)).toEqual({ times: 1, credits: CREDITS });
  expect(await shop.differencesOf(purchase)).toEqual([]);
  const paid = wallet
    .invoices()
    .filter(({ state, description }) => state === 'settled' && description.includes(purchase.id));
  const known =
    await sql`select payment_hash from payments.invoices where purchase_id = ${uuidOf(purchase.id)} and state = 'paid'`;
  expect(known.map(({ payment_hash }) => payment_hash)).toEqual(paid.map(({ payment_hash }) => payment_hash));
  expect(paid).toHaveLength(1);
}

const bought: Scenario<Buying> = {
  name: 'a package is bought by Lightning',
  points: [
    'payments.invoice.before_intend_commit',
    'payments.invoice.after_intend',
    'payments.invoice.before_make',
    'payments.invoice.after_make',
    'payments.invoice.before_open_commit',
    'payments.invoice.after_open',
    'payments.invoice.after_lease',
    'payments.invoice.after_look',
    'payments.invoice.after_claim',
    'payments.invoice.after_post',
    'payments.invoice.before_look_commit',
    'payments.invoice.after_look_commit',
  ],
  isImpatient: true,
  set,
  play: async (cell, state) => {
    state.purchase = await order(cell, state);
    await payAndWait(cell, state);
  },
  lend: lendInvoices,
  check: creditedOnce,
};

const givenUp: Scenario<Buying> = {
  name: 'a wallet that makes no invoice at first',
  points: ['payments.invoice.before_abandon_commit'],
  set,
  play: async (cell, state) => {
    cell.stage.wallet.faults({ error: { code: 'RATE_LIMITED', message: 'slowly' } });
    await order(cell, state, ({ status }) => status === 503);
    cell.stage.wallet.faults({});
    state.purchase = await order(cell, state);
    await payAndWait(cell, state);
  },
  lend: lendInvoices,
  check: creditedOnce,
};

const missed: Scenario<Buying> = {
  name: 'an invoice that was paid while nobody looked',
  points: ['payments.invoice.after_list'],
  isImpatient: true,
  set: async (stage) => {
    const state = await set(stage);
    const body = { package_id: stage.shop.pack.id, method: { type: 'lightning' } };
    const purchase = await state.customer.ok('POST', '/v1/purchases', { key: state.key, body });
    stage.wallet.faults({ isDiscreet: true });
    await stage.sql`update payments.invoices set next_check_at = now() + interval '1 hour'
      where purchase_id = ${uuidOf(purchase.id)}`;
    return { ...state, purchase };
  },
  play: payAndWait,
  check: creditedOnce,
};

export const lightningScenarios = [bought, givenUp, missed];
