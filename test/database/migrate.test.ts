import postgres from 'postgres';
import { expect, test } from 'vitest';
import { checkSchema, migrate, SchemaFault } from '../../src/platform/database/migrate.ts';
import { databaseForTest } from '../harness/database.ts';
import { clientForTest, emptyDatabaseForTest, ROLES, releaseForTest } from '../harness/migrations.ts';

const nothing = () => {};

test('an empty database gets everything, once, and the second run finds nothing to do', async () => {
  const at = await emptyDatabaseForTest();
  const owner = clientForTest(at.ownerUrl);
  const steps: string[] = [];
  const applied = await migrate(owner, ROLES, (name) => steps.push(name));
  expect(steps).toEqual(applied);
  expect(applied[0]).toBe('platform/0000_first.sql');
  expect(applied.indexOf('credits/functions/1_record.sql')).toBeLessThan(applied.indexOf('credits/grants.sql'));
  expect(new Set(applied).size).toBe(applied.length);
  expect(await migrate(owner, ROLES, () => expect.unreachable('nothing is due'))).toEqual([]);
  await checkSchema(clientForTest(at.appUrl), ROLES);
});

test('an edited released migration is refused, and nothing at all is applied', async () => {
  const at = await databaseForTest();
  const owner = clientForTest(at.ownerUrl);
  const release = await releaseForTest('99.0.0');
  await release.append('workflows/0000_first.sql', '-- a harmless remark\n');
  await release.write('platform/0001_more.sql', 'create table platform.more (id int);\n');
  await expect(migrate(owner, ROLES, nothing, release)).rejects.toThrow(
    new SchemaFault('workflows/0000_first.sql was applied with another text. A released migration is never edited.'),
  );
  expect(await owner`select to_regclass('platform.more') as table`).toEqual([{ table: null }]);
});

// It used to be granted only when the text of grants.sql changed, and `all tables` stays the same text.
test('a new table is within the rights of the application and the auditor at once', async () => {
  const at = await databaseForTest();
  const release = await releaseForTest('99.0.0');
  await release.write('payments/0001_more.sql', 'create table payments.more (id int);\n');
  const applied = await migrate(clientForTest(at.ownerUrl), ROLES, nothing, release);
  expect(applied).toEqual(['payments/0001_more.sql', 'payments/grants.sql']);
  for (const url of [at.appUrl, at.auditorUrl]) {
    expect(await clientForTest(url)`select * from payments.more`).toEqual([]);
  }
});

test('a right that is no longer in grants.sql is taken away', async () => {
  const at = await databaseForTest();
  const owner = clientForTest(at.ownerUrl);
  await owner`grant delete on payments.packages to farebox_app`;
  await owner`grant select (password_hash) on identity.accounts to farebox_auditor`;
  await owner`grant execute on function platform.make_event_partitions(int) to farebox_app`;
  const release = await releaseForTest('99.0.0');
  for (const context of ['payments', 'identity', 'platform'])
    await release.append(`${context}/grants.sql`, '-- anew\n');
  await migrate(owner, ROLES, nothing, release);
  const app = clientForTest(at.appUrl);
  await expect(app`delete from payments.packages`).rejects.toMatchObject({ code: '42501' });
  await expect(app`select platform.make_event_partitions(1)`).rejects.toMatchObject({ code: '42501' });
  const auditor = clientForTest(at.auditorUrl);
  await expect(auditor`select password_hash from identity.accounts`).rejects.toMatchObject({ code: '42501' });
});

test('functions are applied anew when their text changes, and only those', async () => {
  const at = await databaseForTest();
  const owner = clientForTest(at.ownerUrl);
  const release = await releaseForTest('99.0.0');
  await release.append('credits/functions/2_post.sql', "comment on function credits.repay is 'again';\n");
  expect(await migrate(owner, ROLES, nothing, release)).toEqual(['credits/functions/2_post.sql']);
  expect(await migrate(owner, ROLES, nothing, release)).toEqual([]);
  const [row] = await owner`select obj_description('credits.repay'::regproc) as comment`;
  expect(row?.['comment']).toBe('again');
});

test('a migration that fails leaves nothing of itself, keeps those before it, and is told by name', async () => {
  const at = await databaseForTest();
  const owner = clientForTest(at.ownerUrl);
  const release = await releaseForTest('99.0.0');
  await release.write('credits/0001_good.sql', 'create table credits.good (id int);\n');
  await release.write('credits/0002_bad.sql', 'create table credits.half (id int);\nselect 1/0;\n');
  const failing = migrate(owner, ROLES, nothing, release);
  await expect(failing).rejects.toThrow(SchemaFault);
  await expect(failing).rejects.toThrow('credits/0002_bad.sql failed: division by zero');
  const tables = () =>
    owner`select to_regclass('credits.good') is not null as good, to_regclass('credits.half') is not null as half`;
  expect(await tables()).toEqual([{ good: true, half: false }]);
  await release.write('credits/0002_bad.sql', 'create table credits.half (id int);\n');
  const applied = await migrate(owner, ROLES, nothing, release);
  expect(applied).toContain('credits/0002_bad.sql');
  expect(applied).not.toContain('credits/0001_good.sql');
  // The rights that 0001 made due were never given: they come now.
  expect(applied).toContain('credits/grants.sql');
  expect(await clientForTest(at.appUrl)`select * from credits.good`).toEqual([]);
});

test('a migration older than the newest one applied is not forgotten', async () => {
  const at = await databaseForTest();
  const owner = clientForTest(at.ownerUrl);
  const release = await releaseForTest('99.0.0');
  await release.write('credits/0005_later.sql', 'create table credits.later (id int);\n');
  await migrate(owner, ROLES, nothing, release);
  await release.write('credits/0003_merged_late.sql', 'create table credits.merged_late (id int);\n');
  expect(await migrate(owner, ROLES, nothing, release)).toContain('credits/0003_merged_late.sql');
});

test('an old schema is refused, and what is missing is named', async () => {
  const at = await databaseForTest();
  const app = clientForTest(at.appUrl);
  const release = await releaseForTest('99.0.0');
  await release.write('payments/0001_more.sql', 'create table payments.more (id int);\n');
  await release.append('credits/functions/2_post.sql', '-- changed\n');
  const checking = checkSchema(app, ROLES, release);
  await expect(checking).rejects.toThrow(SchemaFault);
  await expect(checking).rejects.toThrow(
    'Run `farebox migrate`. Missing: credits/functions/2_post.sql, payments/0001_more.sql',
  );
});

// Changed functions of a newer version used to look like missing ones: no replica of the old version could start
// again while the new one rolled out, and one that migrated would have put the old functions back.
test('an older version finds a newer database good, and its migrator leaves it alone', async () => {
  const at = await databaseForTest();
  const owner = clientForTest(at.ownerUrl);
  const old = await releaseForTest('1.9.0');
  await migrate(owner, ROLES, nothing, old);
  const newer = await releaseForTest('1.10.0', old.root);
  await newer.write('payments/0001_more.sql', 'create table payments.more (id int);\n');
  await newer.append('credits/functions/2_post.sql', "comment on function credits.repay is 'newer';\n");
  await migrate(owner, ROLES, nothing, newer);
  await checkSchema(clientForTest(at.appUrl), ROLES, old);
  expect(await migrate(owner, ROLES, nothing, old)).toEqual([]);
  const [row] = await owner`select obj_description('credits.repay'::regproc) as comment`;
  expect(row?.['comment']).toBe('newer');
  // A text that goes back to what it was is a change like any other, when a newer version says so.
  expect(await migrate(owner, ROLES, nothing, { ...old, version: '1.10.1' })).toEqual(
    expect.arrayContaining(['credits/functions/2_post.sql']),
  );
});

test('a database that was never bootstrapped, or never migrated, is told what to do', async () => {
  const bare = await databaseForTest('template0');
  const superuser = clientForTest(bare.superuserUrl);
  await expect(migrate(superuser, ROLES)).rejects.toThrow('Run `farebox bootstrap` first.');
  await expect(checkSchema(superuser, ROLES)).rejects.toThrow('Run `farebox migrate`.');
  const empty = await emptyDatabaseForTest();
  // As the application, which may not even look into the schema of the journals yet.
  await expect(checkSchema(clientForTest(empty.appUrl), ROLES)).rejects.toThrow('Run `farebox migrate`.');
  const owner = clientForTest(empty.ownerUrl);
  await expect(migrate(owner, { ...ROLES, auditor: 'nobody_at_all' })).rejects.toThrow(
    'There is no role nobody_at_all.',
  );
});

test('only the owner of the schemas migrates: a superuser would own functions that run with its rights', async () => {
  const at = await databaseForTest();
  const release = await releaseForTest('99.0.0');
  await release.append('credits/functions/2_post.sql', '-- changed\n');
  const superuser = clientForTest(at.superuserUrl);
  await expect(migrate(superuser, ROLES, nothing, release)).rejects.toThrow(
    'Only farebox_owner, who owns the schemas, migrates',
  );
});

test('one role for all keeps the rights that it needs', async () => {
  const at = await emptyDatabaseForTest();
  const owner = clientForTest(at.ownerUrl);
  const roles = { app: 'farebox_owner', auditor: 'farebox_auditor' };
  await migrate(owner, roles);
  const id = '0193f8a0-0000-7000-8000-000000000001';
  const [posted] = await owner`select result from credits.post(${id}::uuid, 'grant', 5, 't', ${id}::uuid, null, null)`;
  expect(posted?.['result']).toBe('posted');
  await checkSchema(owner, roles);
});

test('a fault in the middle of a run is a fault of that database alone', async () => {
  const [one, other] = [await databaseForTest(), await databaseForTest()];
  // The lock is per database: a migrator of one never waits for another's.
  const holder = postgres(one.superuserUrl, { max: 1 });
  await holder`select pg_advisory_lock(${0x66617265})`;
  expect(await migrate(clientForTest(other.ownerUrl), ROLES)).toEqual([]);
  await holder.end();
});
