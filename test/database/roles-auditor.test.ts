import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cloneDatabase, type TestDatabase } from '../harness/database.ts';

let at: TestDatabase;
let auditor: postgres.Sql;
let root: postgres.Sql;
beforeAll(async () => {
  at = await cloneDatabase();
  auditor = postgres(at.auditorUrl, { max: 1, onnotice: () => {} });
  root = postgres(at.superuserUrl, { max: 1, onnotice: () => {} });
});
afterAll(async () => {
  await Promise.all([auditor.end(), root.end()]);
  await at.drop();
});

/** What opens something: password hashes, keys, tokens, links. Everything else is the auditor's to read. */
const hidden = [
  'identity.accounts.password_hash',
  'identity.api_keys',
  'identity.operator_sessions',
  'identity.password_resets',
  'identity.refresh_tokens',
  'identity.service_keys',
  'identity.signing_keys',
  'payments.payment_requests.page_token',
  'payments.purchases.page_token',
  'platform.idempotency_keys.reply',
  'platform.webhook_endpoints.signing_secret',
  'workflows.services.signing_secret',
];
const isHidden = (name: string) => hidden.some((one) => name === one || name.startsWith(`${one}.`));

async function columns(): Promise<{ table: string; name: string; readable: boolean }[]> {
  return root`
    select c.oid::regclass::text as table, c.oid::regclass::text || '.' || a.attname as name,
      has_column_privilege('farebox_auditor', c.oid, a.attnum, 'SELECT') as readable
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
      join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where n.nspname in ('credits', 'identity', 'migrations', 'payments', 'platform', 'refunds', 'workflows')
      and c.relkind in ('r', 'p') and not c.relispartition
    order by 2`;
}

// REQ E6.5
test('the auditor may read every column but those that open something', async () => {
  const all = await columns();
  expect(all.length).toBeGreaterThan(100);
  expect(all.filter((one) => one.readable === isHidden(one.name)).map((one) => one.name)).toEqual([]);
});

// REQ E6.4
test('the auditor cannot read password hashes, keys, tokens or links', async () => {
  for (const one of hidden) {
    const [schema, table, column = '*'] = one.split('.');
    await expect(auditor.unsafe(`select ${column} from ${schema}.${table}`), one).rejects.toMatchObject({
      code: '42501',
    });
  }
  await expect(auditor`select * from identity.accounts`).rejects.toMatchObject({ code: '42501' });
  await expect(auditor`select accounts from identity.accounts`).rejects.toMatchObject({ code: '42501' });
});

test('the auditor writes nothing', async () => {
  const tables = new Set((await columns()).map((one) => one.table));
  for (const table of tables) {
    const [first] = await root`
      select quote_ident(attname) as name from pg_attribute
      where attrelid = ${table}::regclass and attnum > 0 and attidentity = '' limit 1`;
    for (const statement of [
      `insert into ${table} default values`,
      `update ${table} set ${first?.['name']} = null`,
      `delete from ${table}`,
      `truncate ${table}`,
    ]) {
      await expect(auditor.unsafe(statement), statement).rejects.toThrow(/^permission denied/);
    }
  }
  await expect(auditor`create schema mine`).rejects.toMatchObject({ code: '42501' });
  await expect(auditor`create table public.mine (id int)`).rejects.toMatchObject({ code: '42501' });
  await expect(auditor`select nextval('platform.events_seq')`).rejects.toMatchObject({ code: '42501' });
});

test('the auditor moves no credits, not even through the ledger’s own door', async () => {
  const verbs = await root<{ name: string; arguments: string }[]>`
    select p.oid::regprocedure::text as name, array_to_string(array_fill('null'::text, array[p.pronargs::int]), ', ') as arguments
    from pg_proc p where p.pronamespace = 'credits'::regnamespace and p.prosecdef`;
  expect(verbs.length).toBeGreaterThan(5);
  for (const verb of verbs) {
    const call = verb.name.replace(/\((.*)\)$/, (_, types: string) => {
      const nulls = types.split(',').map((type) => `null::${type}`);
      return `(${nulls.join(', ')})`;
    });
    await expect(auditor.unsafe(`select ${call}`), call).rejects.toThrow(/^permission denied for function/);
  }
});

test('the auditor can recompute the hash of a line and the text of an audit row', async () => {
  await expect(
    auditor`select credits.transfer_hash('', account_id, seq, id, kind, debit, credit, amount, available_after, held_after,
      debt_after, ref_type, ref_id, parent_id, memo, created_at) from credits.transfers`,
  ).resolves.toEqual([]);
  await expect(auditor`select platform.audit_text(r) from platform.audit_log r`).resolves.toEqual([]);
});
