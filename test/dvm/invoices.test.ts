import { encrypt, getConversationKey } from 'nostr-tools/nip44';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { readInvoice } from '../../src/payments/rails/lightning/invoice.ts';
import { eventually } from '../harness/client.ts';
import { expectProblem } from '../harness/problems.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { linkProof } from './link-proof.ts';
import { balanceOf, type Customer, type DvmStage, infoOf, invoiceOf, msatOf, openDvmStage, worksOf } from './stage.ts';

/** What is asked over Nostr, paid by an invoice of our own wallet: it stands in the amount tag. */

let stage: DvmStage;
let customer: Customer;
const kinds = {} as Record<'plain' | 'gather' | 'parts' | 'after', number>;
beforeAll(async () => {
  stage = await openDvmStage({ hasWallet: true, env: { MAX_PENDING_PURCHASES: '3' } });
  kinds.plain = (await stage.sell()).kind;
  kinds.gather = (await stage.sell({ underpay: 'accumulate' })).kind;
  kinds.parts = (await stage.sell({ milestones: [10, 5, 15] }, { path: '/milestones' })).kind;
  kinds.after = (await stage.sell({ mode: 'after' })).kind;
  customer = stage.newCustomer();
});
afterEach(() => {
  customer.close();
  customer = stage.newCustomer();
});
afterAll(async () => {
  customer.close();
  expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
  await stage.close();
});

const [ASKED, BEGUN, PART] = ['7000 payment-required', '7000 processing', '7000 partial'];
const amountOf = (bolt11: string) => {
  const invoice = readInvoice(bolt11);
  return 'unreadable' in invoice ? invoice.unreadable : invoice.amountMsat;
};
const hashOf = (bolt11: string) => {
  const invoice = readInvoice(bolt11);
  if ('unreadable' in invoice) throw new Error(invoice.unreadable);
  return invoice.paymentHash;
};
const holds = (credits: number) =>
  eventually(
    () => balanceOf(stage, customer),
    ({ available, held }) => available === credits && held === 0,
  );

// REQ V3
test('asked for with an invoice of exactly what is due, and a page for people; paying it begins the work', async () => {
  const job = await customer.ask(kinds.plain);
  const asked = await job.word(ASKED);
  const invoice = invoiceOf(asked);
  expect([msatOf(asked), amountOf(invoice)]).toEqual([30_000n, 30_000n]);
  const page = /People can pay it at (\S+)$/.exec(infoOf(asked))?.[1] ?? '';
  expect(await (await fetch(page)).text()).toContain(invoice);
  expect(stage.executor.runs.filter(({ path }) => path === '/echo')).toHaveLength(0);
  expect(await stage.wallet.pay(invoice)).toBe(true);
  expect(await job.over()).toEqual([ASKED, BEGUN, String(kinds.plain + 1000)]);
  expect(await worksOf(stage, job.id)).toMatchObject({ dispatched: 1, credited: 1, taken: 1 });
  expect(await balanceOf(stage, customer)).toMatchObject({ available: 0, held: 0 });
});

test('twenty receipts for it over two relays, and the wallet tells it again and again: one credit, one dispatch', async () => {
  const job = await customer.ask(kinds.plain);
  const asked = await job.word(ASKED);
  const invoice = invoiceOf(asked);
  const at = Math.floor(Date.now() / 1000);
  const told = Array.from({ length: 20 }, (_, n) => customer.zap(asked, 30_000n, { invoice, createdAt: at + (n % 5) }));
  await Promise.all([stage.wallet.pay(invoice), ...told]);
  await Promise.all(Array.from({ length: 5 }, () => stage.wallet.notify(hashOf(invoice))));
  expect(await job.over()).toEqual([ASKED, BEGUN, String(kinds.plain + 1000)]);
  await holds(0);
  expect(await worksOf(stage, job.id)).toMatchObject({ dispatched: 1, credited: 1, taken: 1 });
  const different = await stage.root`select 1 from payments.differences where reference = ${hashOf(invoice)}`;
  expect(different).toHaveLength(0);
});

test('a receipt alone says nothing of our own invoice: the wallet is asked, and nothing begins', async () => {
  const job = await customer.ask(kinds.plain);
  const asked = await job.word(ASKED);
  const receipt = customer.receipt(asked, 30_000n, { invoice: invoiceOf(asked) });
  const claim = await fetch(`${stage.farebox.url}/v1/receipts`, {
    ...{ method: 'POST', headers: { 'content-type': 'application/json' } },
    body: JSON.stringify({ receipt }),
  });
  expect(await claim.json()).not.toMatchObject({ verdict: 'settled' });
  expect(await worksOf(stage, job.id)).toMatchObject({ dispatched: 0, credited: 0, taken: 0 });
  expect(job.words()).toEqual([ASKED]);
});

test('the invoice and a zap both paid: the work is done once, and the second payment is the customer’s', async () => {
  const job = await customer.ask(kinds.plain);
  const asked = await job.word(ASKED);
  await Promise.all([stage.wallet.pay(invoiceOf(asked)), customer.zap(asked, 30_000n)]);
  expect(await job.over()).toEqual([ASKED, BEGUN, String(kinds.plain + 1000)]);
  await holds(30);
  expect(await worksOf(stage, job.id)).toMatchObject({ dispatched: 1, credited: 2, taken: 1 });
});

// REQ V8
test('each part has an invoice of its own', async () => {
  const job = await customer.ask(kinds.parts);
  for (const [n, msat] of [10_000n, 5_000n, 15_000n].entries()) {
    const asked = await job.word(ASKED, n + 1);
    expect(amountOf(invoiceOf(asked))).toBe(msat);
    await stage.wallet.pay(invoiceOf(asked));
  }
  expect(await job.over()).toEqual([ASKED, BEGUN, PART, ASKED, PART, ASKED, PART, String(kinds.parts + 1000)]);
});

// REQ V4
test('a result that is paid afterwards comes with its invoice', async () => {
  const job = await customer.ask(kinds.after);
  await job.over();
  const result = await job.word(String(kinds.after + 1000));
  expect(amountOf(invoiceOf(result))).toBe(30_000n);
  // The next one names the old debt, and its invoice pays that.
  const refused = await customer.ask(kinds.after);
  const asked = await refused.word(ASKED);
  expect(invoiceOf(asked)).toBe(invoiceOf(result));
  await stage.wallet.pay(invoiceOf(asked));
  await eventually(
    () => worksOf(stage, job.id),
    (row) => row?.['taken'] === 1,
  );
  await (await customer.ask(kinds.after)).word(BEGUN);
});

// REQ V5
test('a part of it came: the rest has a new invoice, and the old one, paid nevertheless, is credits', async () => {
  const job = await customer.ask(kinds.gather);
  const whole = await job.word(ASKED);
  await customer.zap(whole, 20_000n);
  const rest = await job.word(ASKED, 2);
  expect([msatOf(rest), amountOf(invoiceOf(rest))]).toEqual([10_000n, 10_000n]);
  await stage.wallet.pay(invoiceOf(rest));
  await job.over();
  await stage.wallet.pay(invoiceOf(whole));
  await holds(30);
});

// REQ V7
test('paid after its time: nothing begins, and the money is the customer’s', async () => {
  const job = await customer.ask(kinds.plain);
  const asked = await job.word(ASKED);
  await stage.root`update workflows.asks set expires_at = now() - interval '1 second'
    where id = (select ask_id from workflows.nostr_events where id = ${asked.id})`;
  expect(await job.over()).toEqual([ASKED, '7000 error']);
  await stage.wallet.pay(invoiceOf(asked));
  await holds(30);
  expect(await worksOf(stage, job.id)).toMatchObject({ dispatched: 0, taken: 0 });
});

test('of an encrypted request it is asked for in the same way: a zap would tell who pays', async () => {
  const tags = JSON.stringify([['param', 'text', 'a secret']]);
  const content = encrypt(tags, getConversationKey(customer.secret, stage.us));
  const job = await customer.ask(kinds.plain, [['encrypted']], { content });
  await stage.wallet.pay(invoiceOf(await job.word(ASKED)));
  expect(await job.over()).toEqual([ASKED, BEGUN, String(kinds.plain + 1000)]);
});

test('a wallet that takes its time holds up those who wait for an invoice, and nobody else', async () => {
  const rich = stage.newCustomer();
  await rich.zap(await (await rich.ask(kinds.plain)).word(ASKED), 90_000n); // and 60 credits are left
  await eventually(
    () => balanceOf(stage, rich),
    ({ available, held }) => available === 60 && held === 0,
  );
  stage.wallet.faults({ slowMs: 3_000 });
  const made = () => stage.wallet.asked().filter((what) => what === 'make_invoice').length;
  const before = made();
  const others = Array.from({ length: 16 }, () => stage.newCustomer());
  await Promise.all(others.map((other) => other.ask(kinds.plain)));
  await eventually(
    async () => stage.wallet.asked().at(-1),
    (last) => last === 'make_invoice',
  );
  await (await rich.ask(kinds.plain)).over();
  expect(made() - before, 'others still wait').toBeLessThan(others.length);
  stage.wallet.faults({});
  for (const one of [...others, rich]) one.close();
});

test('invoices that were made unasked keep nobody from buying', async () => {
  const person = await stage.customer();
  const proof = linkProof(stage.farebox.url, person.accountId, { secret: customer.secret });
  await person.ok('POST', '/v1/nostr/keys', { body: { proof } });
  const jobs = await Promise.all(Array.from({ length: 3 }, () => customer.ask(kinds.plain)));
  for (const job of jobs) expect(invoiceOf(await job.word(ASKED))).not.toBe('');
  const body = { name: 'Starter', credits: 500, price: 10_000 };
  const pack = await stage.operator.ok('POST', '/v1/admin/packages', { body });
  const order = { package_id: pack.id, method: { type: 'payment_link' } };
  for (let bought = 0; bought < 3; bought += 1) await person.ok('POST', '/v1/purchases', { body: order });
  expectProblem(await person.post('/v1/purchases', order), 'too_many_pending');
});

describe('without an invoice it is asked for nevertheless, and zapped', () => {
  test('when too many of the customer’s wait to be paid', async () => {
    const jobs = await Promise.all(Array.from({ length: 4 }, () => customer.ask(kinds.plain)));
    const asked = await Promise.all(jobs.map((job) => job.word(ASKED)));
    expect(asked.filter((one) => invoiceOf(one) === '')).toHaveLength(1);
    expect(asked.map(msatOf)).toEqual(Array(4).fill(30_000n));
  });

  // The last one: for half a minute afterwards nobody asks the wallet.
  test('when the wallet makes none', async () => {
    stage.wallet.faults({ error: { code: 'RATE_LIMITED', message: 'slowly' } });
    const job = await customer.ask(kinds.plain);
    const asked = await job.word(ASKED);
    expect([invoiceOf(asked), infoOf(asked)]).toEqual(['', '30 credits are to be paid before the work begins.']);
    await customer.zap(asked, 30_000n);
    expect(await job.over()).toEqual([ASKED, BEGUN, String(kinds.plain + 1000)]);
    const calls = stage.wallet.asked().length;
    await (await customer.ask(kinds.plain)).word(ASKED);
    expect(stage.wallet.asked().slice(calls)).not.toContain('make_invoice');
  });
});
