import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cloneDatabase, type TestDatabase } from '../harness/database.ts';

let at: TestDatabase;
let root: postgres.Sql;
let functions: { name: string; definer: boolean; config: string[]; owner: string; everybody: boolean; app: boolean }[];
beforeAll(async () => {
  at = await cloneDatabase();
  root = postgres(at.superuserUrl, { max: 1, onnotice: () => {} });
  functions = await root`
    select p.oid::regprocedure::text as name, p.prosecdef as definer, coalesce(p.proconfig, '{}') as config,
      pg_get_userbyid(p.proowner) as owner,
      -- No access list at all means the default, and that is everybody.
      p.proacl is null or exists (select from aclexplode(p.proacl) a where a.grantee = 0) as everybody,
      has_function_privilege('farebox_app', p.oid, 'EXECUTE') as app
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') order by 1`;
});
afterAll(async () => {
  await root.end();
  await at.drop();
});

/** Each runs with the owner's rights, so each is named here and reviewed. A new one is a decision. */
const definers = [
  'credits.capture(uuid,uuid,bigint,text,uuid)',
  'credits.hold(uuid,uuid,bigint,text,uuid,timestamp with time zone,text,uuid)',
  'credits.link(uuid,uuid,bigint,text,uuid)',
  'credits.lock(uuid[])',
  'credits.post(uuid,text,bigint,text,uuid,uuid,text)',
  'credits.release(uuid,uuid,bigint,text,uuid)',
  'credits.reserve_refund(uuid,uuid,bigint,bigint)',
  'credits.spend(uuid,bigint,uuid)',
  'credits.spend_batch(uuid[],bigint[],uuid[])',
  'credits.take_refund(uuid,uuid,bigint)',
];

// REQ E6.4
test('the functions with the owner’s rights are exactly those that were reviewed', () => {
  expect(functions.filter((one) => one.definer).map((one) => one.name)).toEqual(definers);
});

test('a function with the owner’s rights looks names up nowhere but in the catalog', () => {
  for (const one of functions.filter((candidate) => candidate.definer)) {
    expect(one.config, one.name).toContain('search_path=pg_catalog, pg_temp');
  }
});

test('no function of ours is for everybody, and all belong to the owner', () => {
  expect(functions.length).toBeGreaterThan(15);
  expect(functions.filter((one) => one.everybody).map((one) => one.name)).toEqual([]);
  expect(functions.filter((one) => one.owner !== 'farebox_owner').map((one) => one.name)).toEqual([]);
});

test('the application may call these functions and no others', () => {
  expect(functions.filter((one) => one.app).map((one) => one.name)).toEqual(
    [
      ...definers,
      'credits.transfer_hash(bytea,uuid,bigint,uuid,text,text,text,bigint,bigint,bigint,bigint,text,uuid,uuid,text,timestamp with time zone)',
      'platform.audit_text(platform.audit_log)',
      'platform.event_horizon()',
    ].toSorted(),
  );
});

test('what a definer function calls cannot be replaced from the caller’s search path', async () => {
  const app = postgres(at.appUrl, { max: 1, onnotice: () => {} });
  // A hostile path: the superuser made for the application what it could not make itself.
  await root.unsafe(`
    create schema hostile; grant usage on schema hostile to farebox_app;
    create function hostile.now() returns timestamptz language sql as 'select timestamptz ''1999-01-01''';
    create function hostile.abs(bigint) returns bigint language sql as 'select 1000000::bigint';
    create function hostile.sha256(bytea) returns bytea language sql as 'select ''\\x00''::bytea'`);
  await app`select set_config('search_path', 'hostile, pg_catalog', false)`;
  const id = '0193f8a0-0000-7000-8000-000000000001';
  await app`select credits.post(${id}::uuid, 'grant', 5, 'test', ${id}::uuid, null, null)`;
  const [line] =
    await root`select amount::int, created_at > '2020-01-01' as real, length(hash) as hash from credits.transfers`;
  expect(line).toEqual({ amount: 5, real: true, hash: 32 });
  await app.end();
});
