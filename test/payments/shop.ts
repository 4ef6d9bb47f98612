import postgres from 'postgres';
import type { OmiseControl } from '../../sandbox/omise/control/control.ts';
import { watchCapabilities } from '../../src/payments/capability.ts';
import type { ConvergeDeps } from '../../src/payments/purchases/converge.ts';
import { evmRail, omiseRail } from '../../src/payments/rails/configured.ts';
import { paymentsWorkers } from '../../src/payments/workers.ts';
import { createAlarm } from '../../src/platform/audit-log.ts';
import { databaseOptions } from '../../src/platform/commands.ts';
import { readConfig } from '../../src/platform/config.ts';
import { openDatabase } from '../../src/platform/database/clients.ts';
import { subscriptionWorker } from '../../src/platform/delivery/subscriptions.ts';
import { fromWire } from '../../src/platform/ids.ts';
import { createLog } from '../../src/platform/log.ts';
import { createMetrics } from '../../src/platform/metrics.ts';
import { limitsOf } from '../../src/refunds/limits.ts';
import { onChargeTakenBack } from '../../src/refunds/sightings.ts';
import { refundsWorkers } from '../../src/refunds/workers.ts';
import { type CallOptions, type Client, type Json, newOperator } from '../harness/client.ts';
import { type FareboxOptions, fareboxForFile, omiseKeys, type TestFarebox } from '../harness/farebox.ts';

/** A Farebox that sells one package, and what the tests of payments keep asking about it. */
export interface Shop {
  farebox: TestFarebox;
  /** The hand on the provider. */
  omise: OmiseControl;
  operator: Client;
  /** 500 credits for THB 500. */
  pack: Json;
  /** As the superuser: to look at everything, and to let time pass. */
  sql: postgres.Sql;
  /** A new purchase; the reply's body. PromptPay unless another method is given. */
  buy(customer: Client, method?: Json, options?: CallOptions & { return_uri?: string }): Promise<Json>;
  /** The charges of a purchase as the provider shows them, oldest first. */
  chargesOf(purchase: { id: string }): Json[];
  /** The id of its only charge. */
  chargeOf(purchase: { id: string }): string;
  /** Counts how often the provider is asked about a charge, from now on. */
  countReads(chargeId: string): () => number;
  /** A card token, made with the public key as a browser does. */
  token(number?: string): Promise<string>;
  /** What the ledger has booked for a purchase. */
  booked(purchase: { id: string }): Promise<{ times: number; credits: number }>;
  /** Open differences about a purchase, by kind. */
  differencesOf(purchase: { id: string }): Promise<string[]>;
  /** Security events in the audit log about this subject or charge, by action. */
  alarmsAbout(text: string): Promise<string[]>;
  /** Lets so many seconds pass for a purchase and its attempts. */
  age(purchase: { id: string }, seconds: number): Promise<void>;
  stop(): Promise<void>;
}

export const CREDITS = 500;
export const PRICE = 50_000;

export async function openShop(options: FareboxOptions = {}): Promise<Shop> {
  const farebox = await fareboxForFile(options);
  const shop = await shopOf(farebox);
  return { ...shop, stop: () => shop.stop().then(() => farebox.stop()) };
}

/** The same on a Farebox that somebody else starts and stops. */
export async function shopOf(farebox: TestFarebox): Promise<Shop> {
  const omise = farebox.omise.control;
  const sql = postgres(farebox.database.superuserUrl, { max: 2, onnotice: () => {} });
  const operator = await newOperator(farebox);
  const pack = await operator.ok('POST', '/v1/admin/packages', {
    body: { name: 'Starter', credits: CREDITS, price: PRICE },
  });
  const chargesOf: Shop['chargesOf'] = ({ id }) =>
    omise.charges().filter((charge: Json) => charge.metadata.purchase_id === id);
  return {
    farebox,
    omise,
    operator,
    pack,
    sql,
    buy: (customer, method = { type: 'promptpay' }, { return_uri, ...call } = {}) =>
      customer.ok('POST', '/v1/purchases', {
        ...call,
        body: { package_id: pack.id, method, ...(return_uri ? { return_uri } : {}) },
      }),
    chargesOf,
    chargeOf: (purchase) => {
      const [only, ...more] = chargesOf(purchase);
      if (!only || more.length > 0) throw new Error(`${more.length + (only ? 1 : 0)} charges for ${purchase.id}`);
      return only.id;
    },
    countReads: (chargeId) => {
      // A delay of nothing, which counts whom it has delayed.
      const rule = omise.fault({ api: 'latency', ms: 0, method: 'GET', path: `/charges/${chargeId}` });
      return () => omise.faults().find(({ id }) => id === rule)?.hits ?? 0;
    },
    token: async (number = '4242424242424242') => {
      const reply = await fetch(`${farebox.omise.url}/tokens`, {
        method: 'POST',
        headers: {
          authorization: `Basic ${Buffer.from(`${omiseKeys.publicKey}:`).toString('base64')}`,
          'content-type': 'application/json',
        },
        body: JSON.stringify({ card: { name: 'Somchai', number, expiration_month: 12, expiration_year: 2099 } }),
      });
      return ((await reply.json()) as Json).id;
    },
    booked: async ({ id }) => {
      const [row] = await sql`
        select count(*)::int as times, coalesce(sum(amount), 0)::int as credits from credits.transfers
        where ref_type = 'purchase' and ref_id = ${uuidOf(id)} and credit = 'available'`;
      return { times: row?.['times'], credits: row?.['credits'] };
    },
    differencesOf: async ({ id }) => {
      const rows = await sql`
        select kind from payments.differences where purchase_id = ${uuidOf(id)} and resolved_at is null order by kind`;
      return rows.map((row) => row['kind']);
    },
    alarmsAbout: async (text) => {
      const rows = await sql`
        select action from platform.audit_log
        where action like 'security.%' and (subject_id = ${text} or detail like ${`%${text}%`}) order by seq`;
      return rows.map((row) => row['action']);
    },
    age: async ({ id }, seconds) => {
      await sql`
        update payments.purchases set created_at = created_at - make_interval(secs => ${seconds}),
          expires_at = expires_at - make_interval(secs => ${seconds}) where id = ${uuidOf(id)}`;
      await sql`
        update payments.charges set created_at = created_at - make_interval(secs => ${seconds}),
          next_check_at = next_check_at - make_interval(secs => ${seconds}) where purchase_id = ${uuidOf(id)}`;
    },
    stop: () => sql.end(),
  };
}

export const uuidOf = (id: string) => fromWire('purchase', id);

/** The background work of a Farebox that has none of its own (`WORKERS=off`), a round at a time. */
export interface Hands {
  deps: ConvergeDeps;
  /** One round of that worker. */
  run(name: string): Promise<{ more: boolean }>;
  close(): Promise<void>;
}

export async function handsOf(farebox: TestFarebox): Promise<Hands> {
  const config = readConfig(farebox.environment);
  const database = await openDatabase(databaseOptions(config));
  const log = createLog('silent');
  const metrics = createMetrics();
  const rail = omiseRail(config, { log, metrics });
  const deps = { db: database.db, rail, metrics, log, alarm: createAlarm(database.db, log, metrics) };
  const expected = { livemode: false, currency: 'THB', apiVersion: '2019-05-29', webhookUrl: '' };
  const evm = evmRail(config, { log, metrics });
  const capabilities = watchCapabilities(rail, expected, log);
  const workers = [
    ...paymentsWorkers({ ...deps, evm, lightning: null, capabilities, wakeChecker: () => {} }),
    ...refundsWorkers({ ...deps, evm, limits: limitsOf(config), deadlineMs: config.OMISE_DEADLINE_MS }),
    subscriptionWorker(deps, { 'payments.charge_taken_back': { 'refunds.sightings': onChargeTakenBack } }),
  ];
  return {
    deps,
    run: async (name) => {
      const worker = workers.find((one) => one.name === name);
      if (!worker) throw new Error(`there is no worker ${name}`);
      return worker.runOnce(new AbortController().signal);
    },
    close: async () => {
      rail.close();
      await evm.close();
      await database.close();
    },
  };
}
