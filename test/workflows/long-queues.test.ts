import { readFileSync } from 'node:fs';
import { sql } from 'drizzle-orm';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Database, type Db, openDatabase } from '../../src/platform/database/clients.ts';
import { createFeed } from '../../src/platform/delivery/feed.ts';
import { createEgress } from '../../src/platform/egress.ts';
import { createLog } from '../../src/platform/log.ts';
import { createMetrics } from '../../src/platform/metrics.ts';
import { createVault } from '../../src/platform/secrets.ts';
import { dispatcher, runExpirer } from '../../src/workflows/index.ts';
import { findRun, listRuns } from '../../src/workflows/runs.ts';
import { cloneDatabase, type TestDatabase } from '../harness/database.ts';

/** What is read when an account has ten thousand runs in the queue, and a hundred thousand others are over. Rows, not time. */

const SERVICE = '00000000-0000-7000-8000-000000000001';
const BUSY = '00000000-0000-7000-9000-000000000007';
const QUEUED = 10_000;
const AT_WORK = 8;

let database: TestDatabase;
let root: postgres.Sql;
let own: Database;
const [log, metrics] = [createLog('silent'), createMetrics()];
beforeAll(async () => {
  database = await cloneDatabase();
  root = postgres(database.superuserUrl, { max: 1, onnotice: () => {} });
  own = await openDatabase({ url: database.appUrl, pool: 2 });
  await root`
    insert into workflows.services (id, name, credit_cost, endpoint, signing_secret, timeout_ms, max_attempts, deadline_s,
      report_interval_s, max_concurrency)
    select ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'x', 1, 'https://example.com', '', 1000, 3, 60, 60, 10
    from generate_series(1, 20) n`;
  const insert = (count: number, account: string, state: string, key: string, minutes: number) =>
    root.unsafe(`
    insert into workflows.runs (account_id, id, workflow_id, service_id, cost, price_version, input, idempotency_key,
      request_hash, deadline_at, state, finished_at, attempt, next_attempt_at, created_at)
    select ${account}, gen_random_uuid(), gen_random_uuid(), '${SERVICE}', 1, 1, '{}', '${key}' || n, '',
      now() + interval '1 hour', '${state}', case '${state}' when 'succeeded' then now() end, 1,
      now() + interval '${minutes} minutes' - n * interval '1 millisecond', now() - n * interval '1 millisecond'
    from generate_series(1, ${count}) n`);
  const anybody = `('00000000-0000-7000-9000-' || lpad((n % 50)::text, 12, '0'))::uuid`;
  await insert(100_000, anybody, 'succeeded', 'done', -5);
  await insert(QUEUED, `'${BUSY}'`, 'queued', 'queued', -5);
  await insert(AT_WORK, anybody, 'running', 'running', 5);
  await root`analyze workflows.runs`;
}, 120_000);
afterAll(async () => {
  await own.close();
  await root.end();
  await database.drop();
});

/** Rows of the table of runs that a piece of work reads; nothing of it is kept. */
async function readBy(work: (db: Db) => Promise<unknown>): Promise<number> {
  const over = new Error('roll back');
  let read = Number.NaN;
  await own.db
    .transaction(async (tx) => {
      // The view also counts what the session has not reported yet.
      const counted = async () => {
        const [row] = await tx.execute<{ rows: string; scans: string }>(sql`
          select seq_tup_read + idx_tup_fetch as rows, seq_scan as scans from pg_stat_xact_user_tables
          where schemaname = 'workflows' and relname = 'runs'`);
        return { rows: Number(row?.rows), scans: Number(row?.scans) };
      };
      const before = await counted();
      await work(tx as unknown as Db);
      const after = await counted();
      expect(after.scans - before.scans, 'scans of the whole table').toBe(0);
      read = after.rows - before.rows;
      throw over;
    })
    .catch((fault) => {
      if (fault !== over) throw fault;
    });
  return read;
}

function lease(): string {
  const text = readFileSync(new URL('../../src/workflows/lease-runs.sql', import.meta.url), 'utf8');
  const args = [SERVICE, '00000000-0000-0000-0000-000000000000', 64, 4, 60_000, 3];
  return text.replace(/--[^\n]*/g, '').replace(/\$(\d)/g, (_, n) => `'${args[Number(n) - 1]}'`);
}

test('a lease reads what it hands out, and what is at work', async () => {
  const read = await readBy((db) => db.execute(sql.raw(lease())));
  expect(read).toBeGreaterThan(0);
  expect(read).toBeLessThan(100);
});

test('a look at a service that is full costs no more when ten thousand customers wait for it', async () => {
  let pages = Number.NaN;
  const over = new Error('roll back');
  const looked = root.begin(async (tx) => {
    await tx`set local enable_seqscan = off`;
    await tx`update workflows.services set max_concurrency = ${AT_WORK} where id = ${SERVICE}`;
    await tx`update workflows.runs set account_id = gen_random_uuid() where state = 'queued'`;
    const [explained] = await tx.unsafe(`explain (analyze, buffers, format json) ${lease()}`);
    const plan = explained?.['QUERY PLAN'][0].Plan ?? {};
    pages = plan['Shared Hit Blocks'] + plan['Shared Read Blocks'];
    throw over;
  });
  await expect(looked).rejects.toBe(over);
  expect(pages).toBeGreaterThan(0);
  expect(pages).toBeLessThan(30);
});

test('to find the services with due runs takes a look at each', async () => {
  const egress = createEgress([]);
  await egress.close(); // so that nothing is leased
  const feed = createFeed(own.sql, { log, metrics });
  const read = await readBy((db) =>
    dispatcher({
      ...{ db, egress, feed, log, metrics, publicUrl: '', signCallback: () => '', wakeDispatcher: () => {} },
      vault: createVault([{ id: 'k', key: Buffer.alloc(32) }]),
    }).runOnce(new AbortController().signal),
  );
  expect(read).toBeLessThan(50);
  feed.stop();
});

test('to find runs whose time is over takes no look at those that have ended', async () => {
  const feed = createFeed(own.sql, { log, metrics });
  const read = await readBy((db) => runExpirer({ db, metrics, feed }).runOnce(new AbortController().signal));
  expect(read).toBeLessThanOrEqual(QUEUED + AT_WORK + 50);
  feed.stop();
});

test('a page of the list reads a page, the first one and one far down; one run reads one', async () => {
  const account = '00000000-0000-7000-9000-000000000007';
  const [deep] =
    await root`select id from workflows.runs where account_id = ${account} order by created_at desc, id desc
    offset 6000 limit 1`;
  const after = String(deep?.['id']);
  expect(await readBy((db) => listRuns(db, account, {}, null, 21))).toBeLessThanOrEqual(25);
  expect(await readBy((db) => listRuns(db, account, {}, after, 21))).toBeLessThanOrEqual(25);
  expect(await readBy((db) => findRun(db, account, after))).toBeLessThanOrEqual(2);
});
