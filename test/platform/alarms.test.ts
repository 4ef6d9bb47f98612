import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { createAlarm } from '../../src/platform/audit-log.ts';
import { type Database, openDatabase } from '../../src/platform/database/clients.ts';
import { createLog } from '../../src/platform/log.ts';
import { createMetrics } from '../../src/platform/metrics.ts';
import { eventually, type Json } from '../harness/client.ts';
import { cloneDatabase, type TestDatabase } from '../harness/database.ts';
import { startProxy, type TcpProxy } from '../harness/tcp-proxy.ts';

/** Security events: told at once, kept in the audit log, and bounded when somebody floods them. */

let at: TestDatabase;
let wire: TcpProxy;
let database: Database;
let root: postgres.Sql;
beforeAll(async () => {
  at = await cloneDatabase();
  wire = await startProxy({ target: { port: Number(new URL(at.appUrl).port) } });
  database = await openDatabase({ url: wire.url(at.appUrl), pool: 2 });
  root = postgres(at.superuserUrl, { max: 1, onnotice: () => {} });
});
afterAll(async () => {
  await wire.pass();
  await Promise.all([database.close(), root.end()]);
  await wire.close();
  await at.drop();
});
// Only the date: so that no minute ends in the middle of a test.
beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'], now: Date.parse('2026-01-01T00:00:30Z') }));
afterEach(() => void vi.useRealTimers());

function bell() {
  const lines: Json[] = [];
  const metrics = createMetrics();
  const log = createLog('info', { write: (line: string) => void lines.push(JSON.parse(line)) });
  const counted = async (event: string) =>
    (await metrics.securityEvents.get()).values.find(({ labels }) => labels.event === event)?.value;
  return { alarm: createAlarm(database.db, log, metrics), lines, counted };
}

const kept = async (action: string) => {
  const [row] = await root`select count(*)::int as n from platform.audit_log where action = ${action}`;
  return row?.['n'];
};

// REQ E3.4
// REQ E6.5
test('a security event is counted, logged without its detail, and kept with it', async () => {
  const { alarm, lines, counted } = bell();
  alarm({
    ...{ actor: 'webhook', action: 'security.test_one', subjectId: 'chrg_1', requestId: 'r1' },
    detail: { seen: 'c4n4ry' },
  });
  expect(lines).toEqual([
    expect.objectContaining({
      ...{ level: 'warn', security: 'security.test_one', actor: 'webhook', subject_id: 'chrg_1', request_id: 'r1' },
    }),
  ]);
  expect(JSON.stringify(lines)).not.toContain('c4n4ry');
  expect(await counted('security.test_one')).toBe(1);
  await eventually(
    () => kept('security.test_one'),
    (n) => n === 1,
  );
  const [row] = await root`select actor, subject_id, detail, request_id from platform.audit_log`;
  expect(row).toEqual({ actor: 'webhook', subject_id: 'chrg_1', detail: '{"seen":"c4n4ry"}', request_id: 'r1' });
});

// REQ E6.5
test('a flood of one kind keeps sixty entries a minute, counts and logs all, and takes no place from another kind', async () => {
  const { alarm, lines, counted } = bell();
  const ring = (action: `security.${string}`, times: number) => {
    for (let i = 0; i < times; i += 1) alarm({ actor: 'anonymous', action });
  };
  ring('security.test_flood', 5_000);
  ring('security.test_other', 1);
  expect(lines).toHaveLength(5_001);
  expect(await counted('security.test_flood')).toBe(5_000);
  await eventually(
    () => kept('security.test_other'),
    (n) => n === 1,
  );
  await eventually(
    () => kept('security.test_flood'),
    (n) => n >= 60,
  );
  vi.setSystemTime(Date.now() + 60_000);
  ring('security.test_flood', 5_000);
  ring('security.test_last', 1);
  await eventually(
    async () => [await kept('security.test_flood'), await kept('security.test_last')],
    ([flood, last]) => flood >= 120 && last === 1,
  );
  expect(await kept('security.test_flood')).toBe(120);
  expect(lines).toHaveLength(10_002);
});

// REQ E6.5
test('while the database is away alarms neither fail nor wait, and what could not be kept is logged', async () => {
  const { alarm, lines, counted } = bell();
  wire.refuse();
  wire.resetAll();
  const began = performance.now();
  for (let i = 0; i < 1000; i += 1) alarm({ actor: 'anonymous', action: 'security.test_away' });
  expect(performance.now() - began).toBeLessThan(1_000);
  expect(await counted('security.test_away')).toBe(1000);
  const lost = () => lines.filter(({ msg }) => msg === 'a security event could not be kept').length;
  await wire.pass();
  const all = await eventually(
    async () => lost() + (await kept('security.test_away')),
    (n) => n >= 60,
  );
  expect(all).toBe(60);
  expect(lines.filter(({ security }) => security === 'security.test_away')).toHaveLength(1000);
});

test('an entry that the log cannot hold is told, and the next one is kept', async () => {
  const { alarm, lines } = bell();
  alarm({ actor: 'anonymous', action: 'security.test_large', detail: { text: 'x'.repeat(20_000) } });
  alarm({ actor: 'anonymous', action: 'security.test_large' });
  await eventually(
    () => kept('security.test_large'),
    (n) => n === 1,
  );
  const told = await eventually(
    async () => lines.filter(({ level }) => level === 'error'),
    (errors) => errors.length > 0,
  );
  expect(told).toHaveLength(1);
  expect(JSON.stringify(told)).not.toContain('xxxx');
});
