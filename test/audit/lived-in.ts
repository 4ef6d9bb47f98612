import { randomBytes, randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { findAnvil } from '../../sandbox/chain/anvil.ts';
import { type Executor, startExecutor } from '../../sandbox/executor/server.ts';
import { type StandInWallet, startWallet } from '../../sandbox/lightning/wallet.ts';
import { startRelay } from '../../sandbox/nostr/relay.ts';
import { allChecks } from '../../src/audit.ts';
import { settle } from '../../src/payments/index.ts';
import { type AuditResult, type Mode, openAuditClient, runAudit } from '../../src/platform/audit/run-audit.ts';
import { auditSealer } from '../../src/platform/audit-log.ts';
import { openDatabase, type Sql, type Tx } from '../../src/platform/database/clients.ts';
import { fromWire } from '../../src/platform/ids.ts';
import { createLog } from '../../src/platform/log.ts';
import { publicKeyOf } from '../../src/platform/nostr/event.ts';
import { msatOf, newCustomer as newNostrCustomer, offering, settingsOf } from '../dvm/stage.ts';
import { type Chain, dollarsOf, payDollars, startChain } from '../harness/chain.ts';
import { type Client, eventually, type Json, newCustomer } from '../harness/client.ts';
import { cloneDatabase } from '../harness/database.ts';
import { keyHolder, link, linkWallet, signIn, walletHolder } from '../harness/dids.ts';
import { type FareboxOptions, startFarebox } from '../harness/farebox.ts';
import { orderStageOn } from '../orders/stage.ts';
import {
  agree,
  askFor,
  newPayer,
  type Payer,
  requestStageOn,
  standing,
  submit,
  TEN,
} from '../payments/request-stage.ts';
import { type Shop, shopOf } from '../payments/shop.ts';
import { type Receiver, startReceiver, status } from '../webhooks-out/receiver.ts';
import { accepted, ended, offer, workflowOf } from '../workflows/stage.ts';

/** The tests' server does without fsync, which the audit would tell each time. */
export const checks = allChecks.filter(({ id }) => id !== 'D03');

/** How many of them a live database is asked. */
export const LIVE_CHECKS = checks.filter(({ only }) => only !== 'snapshot').length;

export const brokenIn = ({ checks: done }: Pick<AuditResult, 'checks'>): string[] =>
  done
    .filter((one) => one.offending > 0)
    .map((one) => one.id)
    .toSorted();

/** An audit as the auditor makes it. */
export async function auditOf(url: string, mode: Mode = 'live', asked = checks): Promise<AuditResult> {
  const client = openAuditClient({ url }, mode);
  try {
    return await runAudit(client, asked, mode, { rest: 0 });
  } finally {
    await client.end();
  }
}

/** An audit inside somebody's transaction, of what only that can see. */
export const auditWithin = (tx: postgres.TransactionSql, mode: Mode = 'live'): Promise<AuditResult> =>
  mode === 'live'
    ? runAudit(tx as unknown as Sql, checks, mode, { rest: 0 })
    : runAudit({ begin: (_: string, work: (sql: unknown) => unknown) => work(tx) } as never, checks, mode, { rest: 0 });

export interface LivedIn {
  shop: Shop;
  executor: Executor;
  root: postgres.Sql;
  /** A busy customer, by wire id and as a client. */
  ada: Client;
  /** Stops the server: from then on nothing moves but what the test moves. */
  rest(): Promise<void>;
  close(): Promise<void>;
}

/** A Farebox whose customers have done everything that there is to do, over HTTP; what has no route yet, as the application does it. */
export async function liveIn(options: FareboxOptions = {}): Promise<LivedIn> {
  const [executor, receiver] = [await startExecutor(), await startReceiver()];
  const database = await cloneDatabase();
  const chain = findAnvil() ? await startChain() : undefined;
  const [relay, nostrKey] = [await startRelay(), new Uint8Array(randomBytes(32))];
  const wallet = await startWallet({ relayUrl: relay.url });
  const env = {
    ...settingsOf(nostrKey, [relay.url]),
    EVM_CHAINS: JSON.stringify(chain ? [chain.setting] : []),
    EGRESS_ALLOW: `127.0.0.1:${executor.port}`,
    WEBHOOK_ALLOW: receiver.target,
    NWC_URL: wallet.connectionUrl,
    ...options.env,
  };
  const farebox = await startFarebox({ ...options, database, env });
  const shop = await shopOf(farebox);
  await tellOfOperator(shop.sql, shop.operator);
  const [ada, bob] = [await newCustomer(shop.farebox), await newCustomer(shop.farebox)];
  await owe(shop, ada);
  await listenToIt(receiver, ada);
  await buyInEveryWay(shop, ada);
  await seal(shop);
  await correct(shop, ada, bob);
  await seal(shop);
  await runInEveryWay(shop, executor, ada);
  await giveBackInEveryWay(shop, executor);
  await payByAsks(shop, executor);
  await askOverRelays(shop, executor, publicKeyOf(nostrKey), relay.url);
  await hold(shop, ada);
  await identify(shop, ada);
  await sell(shop);
  await payInvoices(shop, wallet);
  if (chain) await payOnChain(shop, chain);
  await heard(ada);
  return {
    ...{ shop, executor, ada, root: shop.sql },
    rest: async () => {
      await executor.close();
      await farebox.stop();
      await receiver.close();
      wallet.close();
      await relay.close();
      await chain?.stop();
    },
    close: async () => {
      await shop.stop();
      await database.drop();
    },
  };
}

/** The harness makes operators by hand; an installation makes them by a command that says so in the audit log. */
export const tellOfOperator = (root: postgres.Sql, { accountId }: Client): Promise<unknown> =>
  root`insert into platform.audit_log (actor, action, subject_id, detail)
    values ('cli', 'identity.operator_created', ${fromWire('account', accountId)}, '{}')`;

/** A claw-back before anything is there: a debt, which the first credits pay. */
async function owe({ farebox }: Shop, { accountId }: Client): Promise<void> {
  await asApplication(farebox.database.appUrl, (app) => {
    const account = fromWire('account', accountId);
    return app`select credits.post(${account}::uuid, 'clawback', 120, 'test', ${randomUUID()}::uuid, null, null)`;
  });
}

async function buyInEveryWay(shop: Shop, customer: Client): Promise<void> {
  const { omise, operator, farebox } = shop;
  const reached = (purchase: Json, state: string) =>
    eventually(
      () => customer.ok('GET', `/v1/purchases/${purchase.id}`),
      ({ status }) => status === state,
    );
  const byQr = await shop.buy(customer);
  omise.pay(shop.chargeOf(byQr));
  const byCard = await shop.buy(customer, { type: 'card', token: await shop.token() });
  omise.pay(shop.chargeOf(byCard));
  const declined = await shop.buy(customer, { type: 'card', token: await shop.token('4111111111140011') });
  omise.fail(shop.chargeOf(declined), 'insufficient_fund');
  const link = await shop.buy(customer, { type: 'payment_link' });
  await fetch(`${farebox.url}${new URL(link.status_url).pathname}/pay`, {
    ...{ method: 'POST', body: new URLSearchParams({ method: 'promptpay' }), redirect: 'manual' },
  });
  omise.pay(shop.chargeOf(link));
  const cancelled = await shop.buy(customer);
  await customer.ok('POST', `/v1/purchases/${cancelled.id}/cancel`);
  await shop.buy(customer); // still to be paid
  const odd = [await shop.buy(customer), await shop.buy(customer), await shop.buy(customer)];
  for (const purchase of odd) omise.mutate(shop.chargeOf(purchase), { data: 'partial_capture' });
  for (const purchase of odd) await reached(purchase, 'review');
  for (const [n, outcome] of (['complete', 'reject'] as const).entries()) {
    const body = { outcome, reason: 'as the customer says' };
    await operator.ok('POST', `/v1/admin/purchases/${odd[n].id}/resolve`, { body });
  }
  await Promise.all([byQr, byCard, link].map((purchase) => reached(purchase, 'completed')));
  await reached(declined, 'failed');
}

/** Refunds by the provider, by bank and given up, of a run; and money that went back without us. */
async function giveBackInEveryWay(shop: Shop, executor: Executor): Promise<void> {
  const { omise, operator, farebox } = shop;
  const eve = await newCustomer(farebox);
  const paid = async (method: Json = { type: 'promptpay' }) => {
    const purchase = await shop.buy(eve, method);
    if (omise.charge(shop.chargeOf(purchase))['status'] === 'pending') omise.pay(shop.chargeOf(purchase));
    await operator.ok('POST', `/v1/admin/purchases/${purchase.id}/converge`);
    return purchase;
  };
  const ask = (subject: Json, more: Json = {}) =>
    eve.ok('POST', '/v1/refunds', { body: { subject, reason: 'not needed', ...more } });
  const card = async () => ({ type: 'card', token: await shop.token() });
  const [one, other, scanned] = [await paid(await card()), await paid(await card()), await paid()];
  await ask({ type: 'purchase', id: one.id }, { amount: 100 });
  await ask({ type: 'purchase', id: scanned.id }, { amount: 10 }); // waits for a bank transfer
  const { id } = await ask({ type: 'purchase', id: scanned.id }, { amount: 20 });
  await operator.ok('POST', `/v1/admin/refunds/${id}/reject`, { body: { reason: 'no account' } });
  omise.refund(shop.chargeOf(other), { amount: 20_000 });
  await eventually(
    () => eve.ok('GET', `/v1/purchases/${other.id}`),
    ({ status }) => status === 'partially_refunded',
  );
  const run = await accepted(eve, await workflowOf(eve, await offer(operator, executor, '/async-silent')));
  await eventually(
    () => eve.ok('GET', `/v1/runs/${run.id}`),
    ({ attempt }) => attempt === 1,
  );
  await eve.ok('POST', `/v1/runs/${run.id}/cancel`);
  await ask({ type: 'run', id: run.id });
}

/** Asks that are open, paid from credits, by a purchase and by another rail, short, too late, written off, and of several parts. */
async function payByAsks(shop: Shop, executor: Executor): Promise<void> {
  const { operator, farebox, omise, sql } = shop;
  const zoe = await newCustomer(farebox);
  await operator.ok('POST', `/v1/admin/accounts/${zoe.accountId}/grants`, {
    body: { credits: 45, reason: 'to begin' },
  });
  const rails = [{ rail: 'credits' }, { rail: 'omise', currency: 'THB', price_per_credit: 200 }];
  const begin = async (path: string, payment: Json, wished: Json = {}): Promise<Json> => {
    const service = await offer(operator, executor, path, { credit_cost: 30, payment: { rails, ...payment } });
    const workflow = await workflowOf(zoe, service);
    return (await zoe.post(`/v1/workflows/${workflow.id}/runs`, wished)).body;
  };
  const stands = (id: string, isSo: (run: Json) => boolean) => eventually(() => zoe.ok('GET', `/v1/runs/${id}`), isSo);
  const askOf = (id: string, state: string) =>
    eventually(
      () => zoe.ok('GET', `/v1/asks/${id}`),
      (ask) => ask.state === state,
    );
  const age = (id: string) => sql`update workflows.asks set expires_at = now() where id = ${fromWire('ask', id)}`;
  const bring = (id: string, credits: bigint) =>
    asPart(farebox.database.appUrl, (tx) => {
      const purpose = { type: 'ask', id: fromWire('ask', id) };
      return settle(tx, { rail: 'test', key: id, accountId: fromWire('account', zoe.accountId), credits, purpose });
    });
  const upfront = { payment: 'upfront' };
  const milestones = { milestones: [10, 20] };

  const first = (await begin('/milestones', milestones)).run; // 35 left
  const { payment } = await stands(first.id, ({ state }) => state === 'paused');
  const failing = (await begin('/refuse', {}, upfront)).run; // and back again
  await stands(failing.id, ({ state }) => state === 'failed');
  await zoe.ok('POST', `/v1/asks/${payment.ask_id}/pay`, { body: { rail: 'credits' } }); // 15 left
  await stands(first.id, ({ state }) => state === 'succeeded');
  const subject = { type: 'run', id: first.id };
  const wish = await zoe.ok('POST', '/v1/refunds', { body: { subject, amount: 13, reason: 'not so good' } }); // of two settlements
  await operator.ok('POST', `/v1/admin/refunds/${wish.id}/approve`, { body: { reason: 'as a favour' } }); // 28 left
  await stands((await begin('/milestones', milestones)).run.id, ({ state }) => state === 'paused'); // 18 left, and it waits

  const bought = await begin('/echo', {}, upfront);
  const opened = await zoe.ok('POST', `/v1/asks/${bought.ask_id}/pay`, { body: { rail: 'omise' } });
  await fetch(`${opened.status_url}/pay`, {
    ...{ method: 'POST', body: new URLSearchParams({ method: 'promptpay' }), redirect: 'manual' },
  });
  omise.pay(shop.chargeOf({ id: opened.purchase_id }));
  await askOf(bought.ask_id, 'paid');
  const short = await begin('/echo', { underpay: 'accumulate' }, upfront);
  await bring(short.ask_id, 12n);
  await askOf(short.ask_id, 'part_paid');
  const late = await begin('/echo', {}, upfront);
  await age(late.ask_id);
  await askOf(late.ask_id, 'expired');
  await bring(late.ask_id, 9n);
  const cancelled = await begin('/echo', {}, upfront);
  await zoe.ok('POST', `/v1/runs/${cancelled.run_id}/cancel`);
  const owed = async () => {
    const { run } = await begin('/echo', { mode: 'after' });
    return stands(run.id, ({ payment }) => payment.due > 0);
  };
  await owed();
  const lost = await owed();
  await age(lost.payment.ask_id);
  await askOf(lost.payment.ask_id, 'written_off');
  await begin('/async-silent', { mode: 'after' }); // under way
  await eventually(
    () => zoe.ok('GET', `/v1/asks/${late.ask_id}`),
    ({ surplus }) => surplus === 9,
  );
}

/** Jobs over Nostr: one that is paid and done, one that waits for its payment, and one that is refused. */
async function askOverRelays({ operator }: Shop, executor: Executor, us: string, relay: string): Promise<void> {
  const terms = offering();
  await offer(operator, executor, '/echo', terms);
  const customer = newNostrCustomer(us, [relay]);
  const ask = (tags?: string[][]) => customer.ask(terms['nostr_kind'], tags);
  const [paid, waiting, refused] = [await ask(), await ask(), await ask([['bid', 'cheap']])];
  const asked = await paid.word('7000 payment-required');
  await customer.zap(asked, msatOf(asked));
  await Promise.all([paid.over(), refused.over(), waiting.word('7000 payment-required')]);
  customer.close();
}

async function asPart<T>(url: string, work: (tx: Tx) => Promise<T>): Promise<T> {
  const { db, close } = await openDatabase({ url, pool: 2 });
  try {
    return await db.transaction(work);
  } finally {
    await close();
  }
}

/** Orders that are open, taken, and paid for a session. */
async function sell({ farebox, operator }: Shop): Promise<void> {
  const stage = await orderStageOn(farebox, operator);
  const order = (session?: string) =>
    stage.order(
      { fulfillment_url: undefined, resource: 'an article' },
      session === undefined ? {} : { session_id: session },
    );
  const [reader, buyer] = [stage.wallet(), await stage.richWallet()];
  await order();
  await reader.claim(await order());
  await buyer.buy(await order('a-session-of-mine'));
}

/** Invoices that are paid, and still to be paid. */
async function payInvoices({ farebox, operator, pack, buy }: Shop, wallet: StandInWallet): Promise<void> {
  await operator.ok('PUT', `/v1/admin/packages/${pack.id}/lightning-price`, { body: { amount_msat: '21000' } });
  const customer = await newCustomer(farebox);
  const [paid] = [await buy(customer, { type: 'lightning' }), await buy(customer, { type: 'lightning' })];
  await wallet.control.pay(paid.lightning.invoice);
  await eventually(
    () => customer.ok('GET', `/v1/purchases/${paid.id}`),
    ({ status }) => status === 'completed',
  );
}

async function correct({ operator }: Shop, ada: Client, bob: Client): Promise<void> {
  for (const [customer, what, credits] of [
    [ada, 'grants', 1000],
    [ada, 'adjustments', -50],
    [bob, 'adjustments', 7],
  ] as const) {
    const body = { credits, reason: 'a promise' };
    await operator.ok('POST', `/v1/admin/accounts/${customer.accountId}/${what}`, { body });
  }
}

async function runInEveryWay({ operator }: Shop, executor: Executor, customer: Client): Promise<void> {
  const at = async (path: string, terms: Json = {}) =>
    workflowOf(customer, await offer(operator, executor, path, terms));
  const runs = [
    await accepted(customer, await at('/echo')),
    await accepted(customer, await at('/async?progress=1&parts=2&delay_ms=10')),
    await accepted(customer, await at('/refuse')),
    await accepted(customer, await at('/refuse', { refund_on_failure: 'none' })),
  ];
  const waiting = await at('/async-silent');
  await accepted(customer, waiting); // goes on
  const stopped = await accepted(customer, waiting);
  await eventually(
    () => customer.ok('GET', `/v1/runs/${stopped.id}`),
    ({ attempt }) => attempt === 1,
  );
  await customer.ok('POST', `/v1/runs/${stopped.id}/cancel`);
  const crowded = await at('/async-silent', { executor: { max_concurrency: 1 } });
  await accepted(customer, crowded);
  const queued = await accepted(customer, crowded);
  await customer.ok('POST', `/v1/runs/${queued.id}/cancel`);
  // A new price: one owner has accepted it, the other one not.
  const service = await offer(operator, executor, '/echo');
  const [kept, moved] = [await workflowOf(customer, service), await workflowOf(customer, service)];
  runs.push(await accepted(customer, kept));
  await operator.ok('PATCH', `/v1/admin/services/${service.id}`, { body: { credit_cost: 25 } });
  await customer.ok('PATCH', `/v1/workflows/${moved.id}`, { body: { accept_price_version: 2 } });
  runs.push(await accepted(customer, kept), await accepted(customer, moved));
  for (const run of runs) await ended(customer, run);
}

/** DIDs that opened an account of their own and one that was linked, and a wallet that was linked to that. */
async function identify({ farebox }: Shop, customer: Client): Promise<void> {
  const [linked, wallet] = [keyHolder(), walletHolder()];
  for (const holder of [keyHolder('secp256k1'), walletHolder()]) await signIn(farebox, holder);
  await link(customer, linked);
  await linkWallet(customer, linked, wallet);
}

/**
 * A payment request that is paid, one whose payment was taken back with its block, and an invoice that nobody has seen; a
 * package that was bought on chain, and one that was not paid.
 */
async function payOnChain({ farebox, operator, sql }: Shop, chain: Chain): Promise<void> {
  const stage = await requestStageOn(chain, farebox, operator, sql);
  const pay = async (amount = TEN) => {
    const payer = await newPayer(stage);
    const request = await askFor(stage, payer);
    await agree(stage, payer, request);
    const before = await chain.control.snapshot();
    await submit(payer, request, await payDollars(payer.wallet, chain, amount));
    await standing(stage, payer.client, request, 'completed');
    return { payer, request, before };
  };
  const undone = await pay();
  await chain.control.revert(undone.before);
  await chain.control.mine(3);
  await standing(stage, undone.payer.client, undone.request, 'submitted');
  const { payer, request } = await pay(TEN + 1_000_000n);
  const { client } = payer;
  const asked = await client.ok('POST', '/v1/refunds/challenges', { body: { payment_request_id: request.id } });
  const proof = { challenge_id: asked.challenge_id, answer: await payer.prove(asked) };
  const subject = { type: 'payment_request', id: request.id };
  await client.ok('POST', '/v1/refunds', { body: { subject, proof, reason: 'too much' } });
  await buyOnChain(stage, payer);
  await askFor(stage, walletHolder(), { purpose: { type: 'invoice', reference: 'INV-1' } });
}

async function buyOnChain(stage: Parameters<typeof askFor>[0], payer: Payer): Promise<void> {
  const { operator, chain } = stage;
  const pack = await operator.ok('POST', '/v1/admin/packages', {
    body: { name: 'On chain', credits: 70, price: 7_000 },
  });
  const prices = [{ asset: dollarsOf(chain), amount: '700' }];
  await operator.ok('PUT', `/v1/admin/packages/${pack.id}/crypto-prices`, { body: { prices } });
  const body = { package_id: pack.id, method: { type: 'crypto', asset: dollarsOf(chain) } };
  const { payment_request_id: id } = await payer.client.ok('POST', '/v1/purchases', { body });
  await agree(stage, payer, { id });
  await submit(payer, { id }, await payDollars(payer.wallet, chain, 700n));
  await standing(stage, payer.client, { id }, 'completed');
  await payer.client.ok('POST', '/v1/purchases', { body });
}

/** An endpoint that takes everything but that a run was dispatched. */
async function listenToIt(receiver: Receiver, customer: Client): Promise<void> {
  receiver.answer('/', (response, letter) => {
    status(letter.body.type === 'workflows.run_dispatched' ? 500 : 204)(response, letter);
  });
  await customer.ok('POST', '/v1/webhook-endpoints', { body: { url: receiver.url, events: ['*'] } });
}

/** Waits until some was delivered, and some is held behind what was not. */
async function heard(customer: Client): Promise<void> {
  const [endpoint] = (await customer.ok('GET', '/v1/webhook-endpoints')).data;
  for (const state of ['delivered', 'held']) {
    await eventually(
      () => customer.ok('GET', `/v1/webhook-endpoints/${endpoint.id}/deliveries?state=${state}`),
      ({ data }) => data.length > 0,
    );
  }
}

/** Held, captured in two parts, the rest released. */
async function hold({ farebox }: Shop, { accountId }: Client): Promise<void> {
  await asApplication(farebox.database.appUrl, async (app) => {
    const [account, id] = [fromWire('account', accountId), randomUUID()];
    await app`select credits.hold(${account}::uuid, ${id}::uuid, 90, 'test', ${id}::uuid, null, 'test', ${id}::uuid)`;
    for (const [verb, amount] of [
      ['capture', 30],
      ['capture', 20],
      ['release', 10],
    ] as const) {
      const call = `select credits.${verb}($1::uuid, $2::uuid, $3::bigint, 'test', $4::uuid)`;
      await app.unsafe(call, [account, id, amount, randomUUID()]);
    }
  });
}

async function asApplication<T>(url: string, work: (app: postgres.Sql) => Promise<T>): Promise<T> {
  const app = postgres(url, { max: 1 });
  try {
    return await work(app);
  } finally {
    await app.end();
  }
}

/** Seals what is in the audit log; a transaction elsewhere on the server may hold the horizon for a moment. */
async function seal({ farebox, sql }: Shop): Promise<void> {
  const { db, close } = await openDatabase({ url: farebox.database.appUrl, pool: 2 });
  const left = async () => {
    await auditSealer(db, createLog('silent')).runOnce(new AbortController().signal);
    const [row] = await sql`
      select (select count(*) from platform.audit_log) - coalesce(sum(rows), 0) as n from platform.audit_seals`;
    return Number(row?.['n']);
  };
  await eventually(left, (n) => n === 0);
  await close();
}
