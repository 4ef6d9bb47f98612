import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cloneDatabase, type TestDatabase } from '../harness/database.ts';

/** What the application role is refused, each tried for real. */
let at: TestDatabase;
let app: postgres.Sql;
let root: postgres.Sql;
beforeAll(async () => {
  at = await cloneDatabase();
  app = postgres(at.appUrl, { max: 1, onnotice: () => {} });
  root = postgres(at.superuserUrl, { max: 1, onnotice: () => {} });
  // A clone has the schemas' rights; those of the database itself are not copied.
  await root.unsafe(await readFile('migrations/bootstrap.sql', 'utf8'));
  const account = randomUUID();
  const id = randomUUID();
  await app`select credits.post(${account}::uuid, 'grant', 10, 'test', ${id}::uuid, null, null)`;
  await app`select credits.hold(${account}::uuid, ${id}::uuid, 5, 'ask', ${id}::uuid, null, 'test', ${id}::uuid)`;
  await app`insert into platform.events (type, subject_id, payload) values ('test.happened', ${id}::uuid, '{}')`;
  await app`insert into platform.audit_log (actor, action, detail) values ('test', 'test.happened', '{}')`;
  await app`insert into platform.audit_seals values (1, '1', 1, 1, '', '')`;
  await app`insert into platform.installation values ('mode', 'test')`;
});
afterAll(async () => {
  await Promise.all([app.end(), root.end()]);
  await at.drop();
});

/** By the rights of the role, not by a trigger that stands behind them. */
const DENIED = /^42501 (permission denied|must be owner|must be able to SET ROLE)/;
const outcomeOf = (sql: postgres.Sql, statement: string): Promise<string> =>
  sql
    .begin((tx) => tx.unsafe(statement))
    .then(
      () => 'done',
      (fault: { code?: string; message: string }) => `${fault.code} ${fault.message}`,
    );

const appendOnly = [
  'credits.transfers',
  'platform.audit_log',
  'platform.audit_seals',
  'platform.events',
  'platform.installation',
  'payments.claims',
  'payments.history',
  'refunds.history',
  'refunds.payouts',
];

/** Not an identity column, which refuses updates by itself. */
const firstColumn = async (table: string): Promise<string> => {
  const [row] = await root`
    select quote_ident(attname) as name from pg_attribute
    where attrelid = ${table}::regclass and attnum > 0 and not attisdropped and attidentity = '' order by attnum limit 1`;
  return row?.['name'];
};

// REQ E6.4
test.each(appendOnly)('the application role cannot update, delete or truncate %s', async (table) => {
  const column = await firstColumn(table);
  expect(await outcomeOf(app, `update ${table} set ${column} = ${column}`)).toMatch(DENIED);
  expect(await outcomeOf(app, `delete from ${table}`)).toMatch(DENIED);
  expect(await outcomeOf(app, `truncate ${table}`)).toMatch(DENIED);
  expect(await outcomeOf(app, `select from ${table} for update`)).toMatch(DENIED);
  expect(await outcomeOf(app, `merge into ${table} t using (values (1)) v on true when matched then delete`)).toMatch(
    DENIED,
  );
});

// REQ E6.4
test('the application role writes no table of credits, in no way', async () => {
  const tables = await root`
    select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname = 'credits'`;
  expect(tables).toHaveLength(3);
  for (const { name } of tables) {
    const column = await firstColumn(name);
    for (const statement of [
      `insert into ${name} select * from ${name}`,
      `insert into ${name} default values`,
      `update ${name} set ${column} = ${column}`,
      `delete from ${name}`,
      `truncate ${name}`,
      `select from ${name} for no key update`,
      `lock table ${name} in exclusive mode`,
      `alter table ${name} disable trigger all`,
      `drop table ${name}`,
      `copy ${name} from stdin`,
    ]) {
      expect(await outcomeOf(app, statement), statement).toMatch(DENIED);
    }
  }
});

test('a partition of the events is no way around', async () => {
  const partitions = await root`
    select inhrelid::regclass::text as name from pg_inherits where inhparent = 'platform.events'::regclass`;
  expect(partitions.length).toBeGreaterThan(20);
  for (const { name } of partitions) {
    for (const statement of [`update ${name} set seq = seq`, `delete from ${name}`, `truncate ${name}`]) {
      expect(await outcomeOf(app, statement), statement).toMatch(DENIED);
    }
  }
});

// REQ E6.4
test('the application role can create nothing anywhere', async () => {
  const schemas = ['public', 'migrations', 'platform', 'identity', 'credits', 'payments', 'workflows', 'refunds'];
  const statements = [
    'create schema mine',
    'create temporary table mine (id int)',
    'create role mine',
    'create extension pg_trgm',
    ...schemas.flatMap((schema) => [
      `create table ${schema}.mine (id int)`,
      `create view ${schema}.mine as select 1`,
      `create sequence ${schema}.mine`,
      `create type ${schema}.mine as enum ('a')`,
      `create function ${schema}.mine() returns int language sql as 'select 1'`,
    ]),
  ];
  for (const statement of statements) expect(await outcomeOf(app, statement), statement).toMatch(DENIED);
});

test('the application role cannot become another one, nor lift what binds it', async () => {
  for (const statement of [
    'set role farebox_owner',
    'set role postgres',
    'set session_replication_role = replica',
    'alter role farebox_app superuser',
    'alter function credits.spend(uuid, bigint, uuid) set search_path = public',
  ]) {
    expect(await outcomeOf(app, statement), statement).toMatch(DENIED);
  }
  // PostgreSQL answers a grant of what one may not give with a warning.
  await app`grant insert on credits.transfers to farebox_app`;
  const [right] = await app`select has_table_privilege('credits.transfers', 'insert') as given`;
  expect(right?.['given']).toBe(false);
});

test('the ledger’s inner functions are not for the application role', async () => {
  const id = `'${randomUUID()}'::uuid`;
  for (const call of [
    `credits.record(${id}, 'grant', 'issued', 'available', 5, 't', ${id}, null, null)`,
    `credits.repay(${id}, ('posted', null, 1, 1, 1, 1)::credits.outcome)`,
    `credits.close_hold(${id}, ${id}, 5, 'capture', 'revenue', 't', ${id})`,
    `credits.booked(${id}, 'grant', 'issued', 5, 't', ${id}, null)`,
    `credits.refused(${id}, 'insufficient')`,
    'platform.make_event_partitions(1)',
    'platform.drop_event_partitions(1)',
  ]) {
    expect(await outcomeOf(app, `select ${call}`), call).toMatch(DENIED);
  }
});

// REQ E6.4
test('append-only holds against the owner and the superuser, too', async () => {
  const owner = postgres(at.ownerUrl, { max: 1, onnotice: () => {} });
  await root`
    insert into payments.packages (id, name, credits, price, currency) values (${randomUUID()}::uuid, 'p', 1, 1, 'THB')`;
  await root.unsafe(`
    insert into payments.purchases (id, account_id, package_id, package_name, credits, price, currency, livemode, method,
      page_token, expires_at) select id, id, id, name, 1, 1, 'THB', false, 'card', 'token', now() from payments.packages;
    insert into payments.claims (rail, reference, purchase_id, amount, currency) select 'omise', 'c', id, 1, 'THB' from payments.purchases;
    insert into payments.history (purchase_id, actor, what) select id, 'test', 'x' from payments.purchases;
    insert into refunds.payouts (rail, reference, amount) values ('omise', 'r', 1);
    insert into refunds.history (refund_id, actor, what) select id, 'test', 'x' from payments.purchases`);
  for (const sql of [owner, root]) {
    for (const table of appendOnly) {
      const column = await firstColumn(table);
      for (const statement of [
        `update ${table} set ${column} = ${column}`,
        `delete from ${table}`,
        `truncate ${table} cascade`,
      ]) {
        expect(await outcomeOf(sql, statement), statement).toMatch(/^42501 .+ is append-only$/);
      }
    }
  }
  await owner.end();
});

test('what the application needs it can do', async () => {
  for (const statement of [
    'select * from credits.transfers',
    'select * from identity.signing_keys',
    'select * from migrations.credits',
    "insert into platform.events (type, subject_id, payload) values ('a.b', gen_random_uuid(), '{}')",
    "insert into platform.audit_log (actor, action, detail) values ('a', 'a.b', '{}')",
    'delete from platform.idempotency_keys',
    'update payments.purchases set state = state',
    'select credits.lock(array[]::uuid[])',
  ]) {
    expect(await outcomeOf(app, statement), statement).toBe('done');
  }
});
