import { is } from 'drizzle-orm';
import { getTableConfig, PgTable } from 'drizzle-orm/pg-core';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import * as credits from '../../src/credits/tables.ts';
import * as identity from '../../src/identity/tables.ts';
import * as arrivals from '../../src/payments/arrivals/tables.ts';
import * as lightning from '../../src/payments/lightning/tables.ts';
import * as orders from '../../src/payments/orders/tables.ts';
import * as requests from '../../src/payments/requests/tables.ts';
import * as purchases from '../../src/payments/tables.ts';
import * as platform from '../../src/platform/database/tables.ts';
import * as refunds from '../../src/refunds/tables.ts';
import * as asks from '../../src/workflows/asks/tables.ts';
import * as dvm from '../../src/workflows/dvm/tables.ts';
import * as runs from '../../src/workflows/tables.ts';
import { cloneDatabase, type TestDatabase } from '../harness/database.ts';

const payments = { ...purchases, ...requests, ...orders, ...arrivals, ...lightning };
const workflows = { ...runs, ...asks, ...dvm };
const contexts = { credits, identity, payments, platform, refunds, workflows };
const described = Object.entries(contexts).flatMap(([context, exported]) =>
  Object.values(exported)
    .filter((one): one is PgTable => is(one, PgTable))
    .map((table) => ({ context, ...getTableConfig(table) })),
);

let at: TestDatabase;
let root: postgres.Sql;
beforeAll(async () => {
  at = await cloneDatabase();
  root = postgres(at.superuserUrl, { max: 1, onnotice: () => {} });
});
afterAll(async () => {
  await root.end();
  await at.drop();
});

// REQ E8.1
test('no foreign key crosses a schema', async () => {
  const crossing = await root`
    select conname from pg_constraint c
    join pg_class a on a.oid = c.conrelid join pg_class b on b.oid = c.confrelid
    where c.contype = 'f' and a.relnamespace <> b.relnamespace`;
  expect(crossing).toEqual([]);
  const [all] = await root`select count(*)::int as n from pg_constraint where contype = 'f'`;
  expect(all?.['n']).toBeGreaterThan(5);
});

// REQ E8.1
test('each schema holds the tables of its context and nothing else', async () => {
  const tables = await root<{ schema: string; name: string }[]>`
    select n.nspname as schema, c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition
      and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_toast'
      and n.nspname <> 'migrations' order by 1, 2`;
  expect(tables.map((one) => `${one.schema}.${one.name}`)).toEqual(
    described.map((one) => `${one.schema}.${one.name}`).toSorted(),
  );
  for (const { context, schema, name } of described) expect(schema, name).toBe(context);
});

test('the journals of the migrations lie in a schema of their own', async () => {
  const journals = await root`select tablename from pg_tables where schemaname = 'migrations' order by 1`;
  expect(journals.map((one) => one['tablename'])).toEqual(Object.keys(contexts).toSorted());
});

/** As PostgreSQL prints it; microseconds are its default. */
const typeInDatabase = (type: string) => type.replace('timestamp (6) with', 'timestamp with');

test.each(described.map((one) => [`${one.schema}.${one.name}`, one] as const))(
  'tables.ts describes %s as it is: columns, types, nullability, key, indexes',
  async (name, table) => {
    const columns = await root`
      select a.attname as name, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as "notNull",
        a.atthasdef or a.attidentity <> '' as "hasDefault"
      from pg_attribute a where a.attrelid = ${name}::regclass and a.attnum > 0 and not a.attisdropped order by 1`;
    const expected = table.columns.map((one) => ({
      name: one.name,
      type: typeInDatabase(one.getSQLType().replace(', ', ',')),
      notNull: one.notNull || one.primary,
      hasDefault: one.hasDefault,
    }));
    expect([...columns]).toEqual(expected.toSorted((a, b) => (a.name < b.name ? -1 : 1)));

    const [key] = await root`
      select array(select a.attname::text from unnest(i.indkey) with ordinality k (n, place)
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.n order by place) as columns
      from pg_index i where i.indrelid = ${name}::regclass and i.indisprimary`;
    const composite = table.primaryKeys[0]?.columns.map((one) => one.name);
    expect(key?.['columns']).toEqual(composite ?? table.columns.filter((one) => one.primary).map((one) => one.name));

    const indexes = await root<{ name: string; unique: boolean }[]>`
      select c.relname as name, i.indisunique as unique from pg_index i join pg_class c on c.oid = i.indexrelid
      where i.indrelid = ${name}::regclass and not i.indisprimary order by 1`;
    const described = table.indexes.map(({ config }) => ({ name: config.name, unique: config.unique ?? false }));
    expect([...indexes]).toEqual(described.toSorted((a, b) => (String(a.name) < String(b.name) ? -1 : 1)));
  },
);

// REQ E8.5
test('every constraint is validated and enforced, every index is valid', async () => {
  const constraints = await root`
    select conrelid::regclass as table, conname from pg_constraint where not convalidated or not conenforced`;
  expect(constraints).toEqual([]);
  const indexes = await root`
    select indexrelid::regclass as index from pg_index where not (indisvalid and indisready and indislive)`;
  expect(indexes).toEqual([]);
  const triggers = await root`select tgname from pg_trigger where tgenabled <> 'O' and not tgisinternal`;
  expect(triggers).toEqual([]);
});

// REQ E8.5
test('every reference inside a context has its foreign key, or is a decision that is written here', async () => {
  const loose = await root<{ name: string }[]>`
    select a.attrelid::regclass::text || '.' || a.attname as name
    from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('credits', 'identity', 'payments', 'refunds', 'workflows') and c.relkind = 'r' and a.attnum > 0
      and a.attname like '%\_id' and format_type(a.atttypid, null) = 'uuid'
      and not exists (select from pg_constraint k where k.conrelid = c.oid and k.contype in ('f', 'p') and a.attnum = any (k.conkey))
    order by 1`;
  expect(loose.map((one) => one.name)).toEqual([
    'credits.holds.for_id', // opaque: a purpose of another context
    'credits.transfers.parent_id', // a hold or a transfer
    'credits.transfers.ref_id', // whatever caused it, of any context
    'identity.did_challenges.subject_id', // opaque: an account, or an object of another context
    'identity.refresh_tokens.family_id', // names the log-in, which has no row
    'payments.arrivals.account_id', // of identity
    'payments.arrivals.for_id', // opaque: a purpose of another context
    'payments.orders.merchant_id', // of identity
    'payments.orders.payer_id', // of identity
    'payments.payment_requests.challenge_id', // of identity
    'payments.payment_requests.merchant_id', // of identity
    'payments.payment_requests.payer_account_id', // of identity
    'payments.purchases.account_id', // of identity
    'payments.purchases.for_id', // opaque: a purpose of another context
    'refunds.clawbacks.account_id', // of identity
    'refunds.clawbacks.purchase_id', // of payments
    'refunds.history.refund_id', // a refund or a claw-back
    'refunds.refunds.account_id', // of identity
    'refunds.refunds.challenge_id', // of identity
    'refunds.refunds.subject_id', // opaque: a purchase, a payment request, a run
    'refunds.sightings.purchase_id', // of payments
    'workflows.nostr_customers.account_id', // of identity
    'workflows.runs.ask_id', // the latest of its asks, which refer to it
    'workflows.runs.service_id', // a key would lock the service's row for every run
    'workflows.runs.workflow_id', // a key would lock the workflow's row for every run
    'workflows.workflows.account_id', // of identity
  ]);
});

/** With sequential scans forbidden a plan still has one when no index serves. */
const hotQueries: Record<string, string> = {
  'a page of transfers':
    'select * from credits.transfers where account_id = gen_random_uuid() and seq < 100 order by seq desc limit 51',
  'what a cause booked':
    "select * from credits.transfers where account_id = gen_random_uuid() and ref_type = 'run' and ref_id = gen_random_uuid() and kind = 'spend'",
  'the past of a subject':
    "select * from platform.events where subject_id = gen_random_uuid() and seq > 5 and created_at >= now() - interval '1 hour' order by seq",
  'the news of the feed':
    "select * from platform.events where xid >= '5' and xid < '900000' and subject_id = any (array[gen_random_uuid()]) and created_at > now() - interval '10 minutes'",
  'the audit rows of a seal':
    "select * from platform.audit_log where (xid, seq) > ('5'::xid8, 7) and xid < '900000' order by xid, seq limit 5000",
  'expired idempotency keys': 'select * from platform.idempotency_keys where expires_at < now()',
  'the DIDs of an account':
    "select * from identity.dids where account_id = '018f3f2a-0000-7000-8000-000000000000' order by created_at, id",
  'old challenges':
    "select * from identity.did_challenges where expires_at < now() - interval '1 day' and (consumed_at is null or purpose in ('login', 'status'))",
  'the due webhooks':
    "select * from payments.webhook_inbox where state = 'received' and next_attempt_at <= now() order by next_attempt_at limit 50",
  'what is to be published':
    'select * from workflows.nostr_events where published_at is null and next_at <= now() order by next_at limit 50',
  'the jobs that are open':
    'select * from workflows.nostr_jobs where closed_at is null and next_at <= now() order by next_at limit 50',
  'the due invoices': 'select * from payments.invoices where next_check_at < now() order by next_check_at limit 16',
  'the queue of a service':
    "select * from workflows.runs where service_id = gen_random_uuid() and state in ('queued', 'running') and next_attempt_at <= now()",
};

test.each(Object.entries(hotQueries))('%s is read by an index', async (_, query) => {
  const plan = await root.begin(async (tx) => {
    await tx`set local enable_seqscan = off`;
    return tx.unsafe(`explain (costs off) ${query}`);
  });
  const text = plan.map((row) => row['QUERY PLAN']).join('\n');
  expect(text).not.toContain('Seq Scan');
  expect(text).toMatch(/Index (Only )?Scan|Bitmap Index Scan/);
});
