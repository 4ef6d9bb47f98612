import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { watchHalt } from '../../src/platform/audit/halt.ts';
import { createSelfAudit, type SelfAudit } from '../../src/platform/audit/self-audit.ts';
import { createAlarm } from '../../src/platform/audit-log.ts';
import { type Database, openDatabase } from '../../src/platform/database/clients.ts';
import { createLog } from '../../src/platform/log.ts';
import { createMetrics } from '../../src/platform/metrics.ts';
import { eventually, type Json } from '../harness/client.ts';
import { cloneDatabase, type TestDatabase } from '../harness/database.ts';
import { checks } from './lived-in.ts';

/** Replicas that look after their books without being asked. */

let at: TestDatabase;
let root: postgres.Sql;
let database: Database;
const made: SelfAudit[] = [];
beforeAll(async () => {
  at = await cloneDatabase();
  root = postgres(at.superuserUrl, { max: 1, onnotice: () => {} });
  database = await openDatabase({ url: at.appUrl, pool: 8 });
  await root`update platform.webhook_cursor set moved_at = now()`; // the template may be old by now, and nobody works here
});
afterAll(async () => {
  await Promise.all(made.map((one) => one.stop()));
  await database.close();
  await root.end();
  await at.drop();
});

/** A replica that has been up for a while. */
async function replica(everyMin: number, asked = checks) {
  const { db } = database;
  const lines: Json[] = [];
  const log = createLog('info', { write: (line) => void lines.push(JSON.parse(line)) });
  const metrics = createMetrics();
  const [halt, alarm] = [await watchHalt(db, metrics, false), createAlarm(db, log, metrics)];
  const deps = {
    db,
    log,
    metrics,
    alarm,
    halt,
    everyMin,
    mayHalt: false,
    connection: { url: at.appUrl },
    checks: asked,
  };
  const self = createSelfAudit(deps);
  made.push(self);
  const round = () => self.worker.runOnce(new AbortController().signal);
  const age = async () => Number(/^farebox_audit_age_seconds (\S+)$/m.exec(await metrics.registry.metrics())?.[1]);
  await round();
  return { self, round, lines, age };
}
const kept = async () => Number((await root`select count(*) as n from platform.audits`)[0]?.['n']);

test('a start audits nothing; then, when it is due, one of all replicas does, and all know of it', async () => {
  const replicas = await Promise.all([replica(60), replica(60), replica(60), replica(60)]);
  expect(await kept()).toBe(0);
  await Promise.all(replicas.map(({ round }) => round()));
  expect(await kept()).toBe(1);
  for (const { round } of replicas) await round();
  expect(await kept(), 'not due again').toBe(1);
  for (const { age } of replicas) expect(await age()).toBeLessThan(60);
  const told = replicas.flatMap(({ lines }) => lines.map(({ msg }) => msg));
  expect(told).toEqual(['the books hold']);
});

test('after so many minutes it is due again', async () => {
  const { round } = await replica(60);
  const before = await kept();
  await root`update platform.audits set started_at = now() - interval '62 min', finished_at = now() - interval '61 min'`;
  await round();
  expect(await kept()).toBe(before + 1);
});

test('where it is switched off it is made only when somebody asks', async () => {
  const { self, round } = await replica(0);
  await root`delete from platform.audits`;
  await round();
  expect(await kept()).toBe(0);
  self.start();
  expect(self.isRunning).toBe(true);
  await eventually(kept, (n) => n === 1);
});

test('what does not hold is an error in the log and a security event', async () => {
  await root`insert into identity.accounts (id, role) values (gen_random_uuid(), 'operator')`;
  const { self, lines } = await replica(0);
  self.start();
  await eventually(
    async () => lines,
    (all) => all.some(({ security }) => security === 'security.audit_broken'),
  );
  expect(lines.find(({ level }) => level === 'error')).toMatchObject({
    msg: 'the books do not hold',
    offending: { I05: 1 },
  });
  await root`delete from identity.accounts where role = 'operator'`;
});

const endless = { id: 'X01', rule: 'It takes for ever', over: 'server', broken: "select '' as key from pg_sleep(60)" };

test('a replica that stops breaks its audit off, keeps nothing of it, and leaves it to the others', async () => {
  const before = await kept();
  const { self } = await replica(0, [endless, ...checks]);
  self.start();
  await sleep(300);
  const { self: second } = await replica(0);
  second.start();
  await sleep(300);
  expect(await kept(), 'the first one is at it').toBe(before);
  await self.stop();
  const { self: third } = await replica(0);
  third.start();
  await eventually(kept, (n) => n === before + 1);
});

test('a connection that breaks is a failed round, and the next one makes the audit', async () => {
  const { round } = await replica(1, [endless, ...checks]);
  await root`delete from platform.audits`;
  const broken = expect(round()).rejects.toThrow();
  await eventually(
    () => root`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name like 'farebox:audit%' and state = 'active' and query like '%pg_sleep(60)%'`,
    (rows) => rows.length > 0,
  );
  await broken;
  const { round: next } = await replica(1);
  await next();
  expect(await kept()).toBe(1);
});

test('old audits are forgotten, but not one that still stops the work', async () => {
  await root`insert into platform.audits (started_at, finished_at, checks, halts, cleared_at) values
    (now() - interval '92 days', now() - interval '91 days', '[]', false, null),
    (now() - interval '92 days', now() - interval '91 days', '[]', true, now()),
    (now() - interval '92 days', now() - interval '91 days', '[]', true, null)`;
  const { self } = await replica(0);
  const before = await kept();
  self.start();
  await eventually(kept, (n) => n === before - 1);
  expect(
    await root`select halts, cleared_at from platform.audits where finished_at < now() - interval '1 day'`,
  ).toEqual([{ halts: true, cleared_at: null }]);
});
