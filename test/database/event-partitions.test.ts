import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import type { Sql } from '../../src/platform/database/clients.ts';
import { databaseForTest } from '../harness/database.ts';
import { clientForTest } from '../harness/migrations.ts';

const partitions = (owner: Sql) => owner<{ name: string; bounds: string }[]>`
  select c.relname as name, pg_get_expr(c.relpartbound, c.oid) as bounds
  from pg_inherits i join pg_class c on c.oid = i.inhrelid
  where i.inhparent = 'platform.events'::regclass order by 1`;

const append = (sql: Sql, at: string) => sql`
  insert into platform.events (type, subject_id, payload, created_at)
  values ('test.happened', ${randomUUID()}::uuid, '{}', ${at}::text::timestamptz)`;

const placeOf = async (owner: Sql, at: string) => {
  const [row] = await owner`
    select tableoid::regclass::text as place from platform.events where created_at = ${at}::text::timestamptz`;
  return row?.['place'];
};

const thisMonth = () => new Date().toISOString().slice(0, 7);

test('a new database has a partition for this month and the next 24, and one for whatever else comes', async () => {
  const owner = clientForTest((await databaseForTest()).ownerUrl);
  const names = (await partitions(owner)).map((one) => one.name);
  expect(names).toHaveLength(26);
  expect(names[0]).toBe(`events_${thisMonth().replace('-', '_')}`);
  expect(names.at(-1)).toBe('events_rest');
});

// The bounds used to follow the session's zone: maintenance from another zone met overlaps and failed.
test('months are those of UTC, whatever the zone of the session that makes them', async () => {
  const owner = clientForTest((await databaseForTest()).ownerUrl);
  await owner`set timezone = 'Asia/Bangkok'`;
  await owner`select platform.make_event_partitions(30)`;
  await owner`set timezone = 'America/Los_Angeles'`;
  await owner`select platform.make_event_partitions(36)`;
  await owner`set timezone = 'UTC'`;
  const made = await partitions(owner);
  expect(made).toHaveLength(38);
  for (const { bounds } of made.slice(0, -1)) {
    expect(bounds).toMatch(/^FOR VALUES FROM \('\d{4}-\d\d-01 00:00:00\+00'\) TO \('\d{4}-\d\d-01 00:00:00\+00'\)$/);
  }
});

// It used to fail: a partition cannot be made for rows that the default one holds.
test('a late maintenance moves what was caught meanwhile, and stays append-only', async () => {
  const at = await databaseForTest();
  const [owner, app] = [clientForTest(at.ownerUrl), clientForTest(at.appUrl)];
  for (const { name } of await partitions(owner)) {
    if (name !== 'events_rest') await owner.unsafe(`drop table platform.${name}`);
  }
  const [now, far] = [`${thisMonth()}-01T10:00:00Z`, '2099-01-01T00:00:00Z'];
  await append(app, now);
  await append(app, now);
  await append(app, far);
  expect(await placeOf(owner, now)).toBe('platform.events_rest');

  await owner`select platform.make_event_partitions(2)`;
  const own = `platform.events_${thisMonth().replace('-', '_')}`;
  expect(await placeOf(owner, now)).toBe(own);
  expect(await placeOf(owner, far)).toBe('platform.events_rest');
  expect(await owner`select count(*) from platform.events`).toEqual([{ count: 3n }]);
  await append(app, `${thisMonth()}-02T10:00:00Z`);
  expect(await placeOf(owner, `${thisMonth()}-02T10:00:00Z`)).toBe(own);
  for (const table of ['platform.events', own, 'platform.events_rest']) {
    await expect(owner.unsafe(`update ${table} set seq = 0`), table).rejects.toThrow('append-only');
  }
  const indexes = await owner`
    select from pg_index where indrelid = ${own}::regclass and indisvalid`;
  expect(indexes).toHaveLength(4);
  await owner`select platform.make_event_partitions(2)`;
  expect(await partitions(owner)).toHaveLength(4);
});

test('partitions that are old enough are dropped, and no others', async () => {
  const owner = clientForTest((await databaseForTest()).ownerUrl);
  for (const [name, from, to] of [
    ['events_2001_01', '2001-01-01', '2001-02-01'],
    ['events_2001_02', '2001-02-01', '2001-03-01'],
  ] as const) {
    await owner.unsafe(
      `create table platform.${name} partition of platform.events for values from ('${from}') to ('${to}')`,
    );
  }
  await append(owner, '2001-01-15T00:00:00Z');
  const dropped = await owner`select platform.drop_event_partitions(13) as name`;
  expect(dropped.map((one) => one['name'])).toEqual(['events_2001_01', 'events_2001_02']);
  expect(await partitions(owner)).toHaveLength(26);
  expect(await owner`select platform.drop_event_partitions(1)`).toEqual([]);
});

test('a slip of the keyboard does not drop this month', async () => {
  const owner = clientForTest((await databaseForTest()).ownerUrl);
  for (const months of [0, -5, null]) {
    await expect(owner`select platform.drop_event_partitions(${months})`).rejects.toMatchObject({ code: '22023' });
  }
  expect(await partitions(owner)).toHaveLength(26);
});
