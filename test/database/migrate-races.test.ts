import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { checkSchema, migrate, SchemaFault } from '../../src/platform/database/migrate.ts';
import { eventually } from '../harness/client.ts';
import { databaseForTest } from '../harness/database.ts';
import { clientForTest, emptyDatabaseForTest, ROLES, releaseForTest } from '../harness/migrations.ts';

const nothing = () => {};

const rootOf = (url: string) => {
  const root = postgres(url, { max: 2, onnotice: () => {} });
  onTestFinished(() => root.end());
  return root;
};

test('of three migrators at once each migration is applied by one', async () => {
  const at = await emptyDatabaseForTest();
  const owners = [1, 2, 3].map(() => clientForTest(at.ownerUrl));
  const applied = await Promise.all(owners.map((owner) => migrate(owner, ROLES)));
  const all = applied.flat();
  expect(new Set(all).size).toBe(all.length);
  expect(applied.filter((one) => one.length > 0)).toHaveLength(1);
});

// Migrators used to wait for the lock inside a statement. Its snapshot is what a concurrent index waits for: both
// waited for each other, and PostgreSQL broke one of them off as a deadlock.
test('three migrators at once build a concurrent index without waiting for each other in a circle', async () => {
  const at = await databaseForTest();
  const release = await releaseForTest('99.0.0');
  await release.write(
    'payments/0001_index.sql',
    `-- no transaction
-- The first half mends a build that was broken off; an index of that name may be there and be invalid.
drop index concurrently if exists payments.packages_name;
create index concurrently packages_name on payments.packages (name);
`,
  );
  const owners = [1, 2, 3].map(() => clientForTest(at.ownerUrl));
  const applied = await Promise.all(owners.map((owner) => migrate(owner, ROLES, nothing, release)));
  expect(applied.flat()).toEqual(['payments/0001_index.sql', 'payments/grants.sql']);
  const [index] = await rootOf(at.superuserUrl)`
    select indisvalid as valid from pg_index where indexrelid = 'payments.packages_name'::regclass`;
  expect(index).toEqual({ valid: true });
});

test('a migrator killed in the middle of a migration leaves nothing of it, and the next run completes', async () => {
  const at = await emptyDatabaseForTest();
  const root = rootOf(at.superuserUrl);
  const release = await releaseForTest('1.0.0');
  await release.write('credits/0001_slow.sql', 'create table credits.slow (id int);\nselect pg_sleep(60);\n');
  const broken = migrate(clientForTest(at.ownerUrl), ROLES, nothing, release);
  const settled = expect(broken).rejects.toThrow(SchemaFault);
  await eventually(
    () => root`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and query like '%create table credits.slow%' and pid <> pg_backend_pid()`,
    (killed) => killed.length === 1,
  );
  await settled;
  expect(await root`select to_regclass('credits.slow') as table`).toEqual([{ table: null }]);
  await expect(checkSchema(clientForTest(at.appUrl), ROLES, release)).rejects.toThrow('credits/0001_slow.sql');
  await release.write('credits/0001_slow.sql', 'create table credits.slow (id int);\n');
  const rest = await migrate(clientForTest(at.ownerUrl), ROLES, nothing, release);
  expect(rest).not.toContain('platform/0000_first.sql');
  expect(rest).toContain('credits/0001_slow.sql');
  await checkSchema(clientForTest(at.appUrl), ROLES, release);
});

test('a concurrent index whose migrator was killed leaves an invalid one, and the next run mends it', async () => {
  const at = await databaseForTest();
  const root = rootOf(at.superuserUrl);
  const release = await releaseForTest('99.0.0');
  const file = `-- no transaction
drop index concurrently if exists payments.packages_name;
create index concurrently packages_name on payments.packages (name);
`;
  await release.write('payments/0001_index.sql', file);
  // A transaction that has written the table: the build has begun and waits for its end.
  const writer = await root.reserve();
  await writer`begin`;
  await writer`insert into payments.packages (id, name, credits, price, currency) values (gen_random_uuid(), 'p', 1, 1, 'THB')`;
  const broken = migrate(clientForTest(at.ownerUrl), ROLES, nothing, release);
  const settled = expect(broken).rejects.toThrow(SchemaFault);
  await eventually(
    () => root`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock' and query like '%create index concurrently%'`,
    (killed) => killed.length === 1,
  );
  await settled;
  await writer`commit`;
  writer.release();
  const valid = async () => {
    const [index] = await root`
      select indisvalid as valid from pg_index where indexrelid = to_regclass('payments.packages_name')`;
    return index?.['valid'];
  };
  expect(await valid()).toBe(false);
  expect(await migrate(clientForTest(at.ownerUrl), ROLES, nothing, release)).toContain('payments/0001_index.sql');
  expect(await valid()).toBe(true);
});

test('a migrator waits for another one and then finds nothing to do', async () => {
  const at = await emptyDatabaseForTest();
  const root = rootOf(at.superuserUrl);
  const first = await root.reserve();
  await first`select pg_advisory_lock(${0x66617265})`;
  let done = false;
  const waiting = migrate(clientForTest(at.ownerUrl), ROLES).then((applied) => {
    done = true;
    return applied;
  });
  await eventually(
    () => root`select from pg_stat_activity where datname = current_database() and query like '%pg_try_advisory_lock%'
      and application_name = 'farebox:task' and state = 'idle'`,
    (asking) => asking.length === 1,
  );
  expect(done).toBe(false);
  await first`select pg_advisory_unlock(${0x66617265})`;
  first.release();
  expect((await waiting).length).toBeGreaterThan(10);
});
