import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createAlarm } from '../../src/platform/audit-log.ts';
import { type Database, openDatabase } from '../../src/platform/database/clients.ts';
import { appendEvents } from '../../src/platform/delivery/events.ts';
import {
  type Heard,
  type Subscriptions,
  subscribe,
  subscriptionWorker,
} from '../../src/platform/delivery/subscriptions.ts';
import { createLog } from '../../src/platform/log.ts';
import { createMetrics } from '../../src/platform/metrics.ts';
import { eventually } from '../harness/client.ts';
import { cloneDatabase, type TestDatabase } from '../harness/database.ts';

let at: TestDatabase;
let database: Database;
let root: postgres.Sql;
beforeAll(async () => {
  at = await cloneDatabase();
  database = await openDatabase({ url: at.appUrl, pool: 4 });
  root = postgres(at.superuserUrl, { max: 1, onnotice: () => {} });
});
afterAll(async () => {
  await Promise.all([database.close(), root.end()]);
  await at.drop();
});

const log = createLog('silent');
const tell = (type: string, payload: Record<string, unknown> = {}, accountId: string | null = null) =>
  database.db.transaction((tx) => appendEvents(tx, [{ accountId, type, subjectId: randomUUID(), payload }]));
const workerOf = (table: Subscriptions) => {
  const { db } = database;
  const worker = subscriptionWorker({ db, log, alarm: createAlarm(db, log, createMetrics()) }, table);
  return () => worker.runOnce(new AbortController().signal);
};
const left = async (type: string) => root`select subscriber, attempts from platform.deliveries where type = ${type}`;

// REQ E8.2
test('what was told is heard by each subscriber, once, though two replicas listen', async () => {
  const heard: [string, Heard][] = [];
  const by = (name: string) => async (_tx: unknown, news: Heard) => void heard.push([name, news]);
  const table = { 'test.told': { one: by('one'), two: by('two') } };
  await subscribe(database.db, table);
  await subscribe(database.db, table);
  await tell('test.told', { n: 1 });
  await tell('test.told', { n: 2 }, randomUUID());
  await tell('test.other');
  await Promise.all([workerOf(table)(), workerOf(table)()]);
  expect(heard.map(([name, { type, payload }]) => [name, type, payload]).toSorted()).toEqual([
    ['one', 'test.told', { n: 1 }],
    ['two', 'test.told', { n: 1 }],
  ]);
  expect(await left('test.told')).toEqual([]);
});

test('what is told in a transaction that is taken back is never heard', async () => {
  const table = { 'test.undone': { one: async () => expect.unreachable() } };
  await subscribe(database.db, table);
  const undone = database.db.transaction(async (tx) => {
    await appendEvents(tx, [{ accountId: null, type: 'test.undone', subjectId: randomUUID(), payload: {} }]);
    throw new Error('no');
  });
  await expect(undone).rejects.toThrow('no');
  await workerOf(table)();
  expect(await left('test.undone')).toEqual([]);
});

test('a subscriber that fails has done nothing, and hears it again; the others do not wait', async () => {
  const heard: string[] = [];
  const id = randomUUID();
  const table: Subscriptions = {
    'test.failing': {
      fails: async (tx) => {
        await tx.execute(
          `insert into platform.audit_log (actor, action, detail) values ('${id}', 'test.happened', '{}')`,
        );
        throw new Error('not yet');
      },
      works: async () => void heard.push('works'),
    },
  };
  await subscribe(database.db, table);
  await tell('test.failing');
  await workerOf(table)();
  await workerOf(table)();
  expect(heard).toEqual(['works']);
  expect(await left('test.failing')).toEqual([{ subscriber: 'fails', attempts: 1 }]);
  expect(await root`select from platform.audit_log where actor = ${id}`).toHaveLength(0);
  await root`update platform.deliveries set next_attempt_at = now()`;
  await workerOf({ 'test.failing': { fails: async () => void heard.push('at last') } })();
  expect(heard).toEqual(['works', 'at last']);
  expect(await left('test.failing')).toEqual([]);
});

test('what fails for ever is parked, and a person is told', async () => {
  const table: Subscriptions = { 'test.poisoned': { fails: () => Promise.reject(new Error('never')) } };
  await subscribe(database.db, table);
  await tell('test.poisoned');
  for (let n = 0; n < 13; n += 1) {
    await workerOf(table)();
    await root`update platform.deliveries set next_attempt_at = now() where next_attempt_at is not null`;
  }
  expect(await left('test.poisoned')).toEqual([{ subscriber: 'fails', attempts: 12 }]);
  await eventually(
    () => root`select from platform.audit_log where action = 'security.event_parked'`,
    ({ length }) => length === 1,
  );
});

test('what only a newer version listens to waits for that', async () => {
  await subscribe(database.db, { 'test.newer': { one: async () => {} } });
  await tell('test.newer');
  await workerOf({})();
  expect(await left('test.newer')).toEqual([{ subscriber: 'one', attempts: 0 }]);
});
