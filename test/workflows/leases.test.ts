import { readFileSync } from 'node:fs';
import postgres from 'postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { cloneDatabase, type TestDatabase } from '../harness/database.ts';

/** The statement that hands out due runs, by itself: who is next, how many, and who is left alone. */

const text = readFileSync(new URL('../../src/workflows/lease-runs.sql', import.meta.url), 'utf8');
const SERVICE = '00000000-0000-7000-8000-000000000001';
const OTHER = '00000000-0000-7000-8000-000000000002';
const NOBODY = '00000000-0000-0000-0000-000000000000';
const LEASE_MS = 60_000;

let database: TestDatabase;
let sql: postgres.Sql;
let made = 0;
beforeAll(async () => {
  database = await cloneDatabase();
  sql = postgres(database.superuserUrl, { max: 4, onnotice: () => {} });
  await sql`
    insert into workflows.services (id, name, credit_cost, endpoint, signing_secret, timeout_ms, max_attempts, deadline_s,
      report_interval_s, max_concurrency)
    select id::uuid, 'x', 1, 'https://example.com', '', 1000, 3, 60, 60, 100 from unnest(array[${SERVICE}, ${OTHER}]) id`;
});
afterAll(async () => {
  await sql.end();
  await database.drop();
});
beforeEach(async () => {
  await sql`truncate workflows.runs cascade`;
  await sql`update workflows.services set max_concurrency = 100`;
});

/** Accounts are `a`, `b`, … in the order of their ids. */
const account = (letter: string) => `00000000-0000-7000-9000-0000000000${letter.charCodeAt(0).toString(16)}`;
const letterOf = (id: unknown) => String.fromCharCode(Number.parseInt(String(id).slice(-2), 16));

interface Row {
  state?: string;
  attempt?: number;
  /** Seconds since it was due; negative: not yet. */
  due?: number;
  /** Seconds until its deadline. */
  left?: number;
  service?: string;
}

/** Puts runs of an account into the queue, the first one longest ago; resolves to their ids. */
async function queue(letter: string, count = 1, row: Row = {}): Promise<string[]> {
  const { state = 'queued', attempt = 0, due = 100, left = 3600, service = SERVICE } = row;
  made += count;
  const rows = await sql`
    insert into workflows.runs (account_id, id, workflow_id, service_id, cost, price_version, input, idempotency_key,
      request_hash, deadline_at, state, attempt, next_attempt_at, finished_at, failure_code)
    select ${account(letter)}, gen_random_uuid(), gen_random_uuid(), ${service}, 1, 1, '{}', ${made} || '-' || n, '',
      now() + make_interval(secs => ${left}), ${state}, ${attempt}, now() - make_interval(secs => ${due} - n * 0.01),
      case when ${state} in ('succeeded', 'failed', 'cancelled') then now() end, case ${state} when 'failed' then 'x' end
    from generate_series(1, ${count}) n returning id`;
  return rows.map((one) => String(one['id']));
}

const leaseOn = async (
  on: postgres.Sql,
  { after = NOBODY, room = 64, each = 4, attempts = 3, service = SERVICE } = {},
): Promise<{ account: string; id: string }[]> => {
  const rows = await on.unsafe(text, [service, after, room, each, LEASE_MS, attempts]);
  return rows.map((row) => ({ account: letterOf(row['account_id']), id: String(row['id']) }));
};
const lease = (options: Parameters<typeof leaseOn>[1] = {}) => leaseOn(sql, options);
/** Who got how many. */
const shares = async (options: Parameters<typeof leaseOn>[1] = {}) => {
  const got = await lease(options);
  return got
    .map((one) => one.account)
    .sort()
    .join('');
};

test('a leased run is running, counts an attempt, and is not handed out again until its lease is over', async () => {
  const [id] = await queue('a');
  expect(await lease()).toEqual([{ account: 'a', id }]);
  expect(await lease()).toEqual([]);
  const look = () => sql`select state, attempt, started_at,
    round(extract(epoch from next_attempt_at - now())) as lease_s from workflows.runs`;
  const [first] = await look();
  expect(first).toMatchObject({ state: 'running', attempt: 1, lease_s: '60' });
  await sql`update workflows.runs set next_attempt_at = now()`;
  expect(await lease()).toEqual([{ account: 'a', id }]);
  expect((await look())[0]).toMatchObject({ state: 'running', attempt: 2, started_at: first?.['started_at'] });
});

describe('turns', () => {
  test('each account one, then each another one: nobody waits for the many of another', async () => {
    await queue('a', 50);
    await queue('b', 2);
    await queue('c', 1);
    expect(await shares({ room: 3 })).toBe('abc');
    expect(await shares({ room: 3 })).toBe('aab');
    expect(await shares({ room: 3 })).toBe('aaa');
  });

  test('oldest first, within an account', async () => {
    const ids = await queue('a', 6);
    const retried = await queue('a', 1, { due: 500, attempt: 1 });
    expect((await lease({ room: 3 })).map(({ id }) => id).sort()).toEqual([...retried, ids[0], ids[1]].sort());
  });

  test('an account gets no more than its share of one turn', async () => {
    await queue('a', 50);
    expect(await shares({ each: 4 })).toBe('aaaa');
    expect(await shares({ each: 4 })).toBe('aaaa');
  });

  test('go on after the last one served, and around', async () => {
    for (const letter of 'abcde') await queue(letter, 9);
    const served: string[] = [];
    let after = NOBODY;
    for (let turn = 0; turn < 4; turn += 1) {
      const got = await lease({ after, room: 3, each: 1 });
      const order = 'abcdeabcde'.slice('abcde'.indexOf(letterOf(after)) + 1);
      const last =
        got
          .map((one) => one.account)
          .sort((x, y) => order.indexOf(x) - order.indexOf(y))
          .at(-1) ?? '';
      after = account(last);
      served.push(
        got
          .map((one) => one.account)
          .sort()
          .join(''),
      );
    }
    expect(served).toEqual(['abc', 'ade', 'bcd', 'abe']);
  });

  test.each([
    ['the last one', 'c', 'a'],
    ['one that has nothing', 'b', 'c'],
    ['one beyond all', 'z', 'a'],
    ['the only neighbour', 'a', 'c'],
  ])('after %s', async (_, after, next) => {
    await queue('a', 3);
    await queue('c', 3);
    expect(await shares({ after: account(after), room: 1 })).toBe(next);
    expect(await shares({ after: account(after), room: 8 })).toHaveLength(5);
  });

  test('an account alone is its own neighbour', async () => {
    await queue('b', 3);
    expect(await shares({ after: account('b'), room: 2 })).toBe('bb');
  });

  test('with more accounts than one turn can hold, the next turn serves the others', async () => {
    await sql`
      insert into workflows.runs (account_id, id, workflow_id, service_id, cost, price_version, input, idempotency_key,
        request_hash, deadline_at)
      select ('00000000-0000-7000-9000-' || lpad(n::text, 12, '0'))::uuid, gen_random_uuid(), gen_random_uuid(), ${SERVICE},
        1, 1, '{}', n, '', now() + interval '1 hour' from generate_series(1, 300) n`;
    await sql`update workflows.services set max_concurrency = 1000`;
    const first = await lease({ room: 1000 });
    expect(first).toHaveLength(200);
    expect(await lease({ room: 1000, after: '00000000-0000-7000-9000-000000000200' })).toHaveLength(100);
  });
});

describe('how many', () => {
  test('no more than there is room for, at the replica and at the service', async () => {
    await queue('a', 4);
    await queue('b', 4);
    await queue('c', 4);
    expect(await lease({ room: 0 })).toEqual([]);
    expect(await lease({ room: 2 })).toHaveLength(2);
    await sql`update workflows.services set max_concurrency = 5`;
    expect(await lease()).toHaveLength(3);
    expect(await lease()).toEqual([]);
    await sql`update workflows.services set max_concurrency = 4`;
    expect(await lease()).toEqual([]);
  });

  test('those at work count, accepted ones too; ended, waiting and lost ones do not', async () => {
    await sql`update workflows.services set max_concurrency = 3`;
    await queue('x', 2, { state: 'running', attempt: 1, due: -50 });
    await queue('x', 5, { state: 'running', attempt: 3, due: 50 });
    await queue('x', 5, { state: 'queued', attempt: 1, due: -50 });
    await queue('x', 5, { state: 'succeeded', attempt: 1, due: -50 });
    await queue('x', 5, { state: 'running', attempt: 1, due: -50, service: OTHER });
    await queue('a', 9);
    expect(await shares()).toBe('a');
  });
});

describe('who is left alone', () => {
  test.each<[string, Row]>([
    ['not due yet', { due: -1 }],
    ['past its deadline', { left: -1 }],
    ['at work', { state: 'running', attempt: 1, due: -1 }],
    ['without an attempt left', { state: 'running', attempt: 3 }],
    ['ended well', { state: 'succeeded' }],
    ['failed', { state: 'failed' }],
    ['cancelled', { state: 'cancelled' }],
    ["another service's", { service: OTHER }],
  ])('%s', async (_, row) => {
    await queue('a', 1, row);
    expect(await lease()).toEqual([]);
  });

  test('a queued run is owed its attempt, even when the operator has lowered their number meanwhile', async () => {
    await queue('a', 1, { state: 'queued', attempt: 3 });
    expect(await lease({ attempts: 2 })).toHaveLength(1);
  });

  test('one that somebody is just changing is not waited for', async () => {
    const [held, free] = [(await queue('a'))[0] ?? '', (await queue('b'))[0]];
    const holder = await sql.reserve();
    await holder`begin`;
    await holder`select from workflows.runs where id = ${held} for update`;
    expect(await lease()).toEqual([{ account: 'b', id: free }]);
    await holder`update workflows.runs set state = 'cancelled', finished_at = now() where id = ${held}`;
    await holder`commit`;
    holder.release();
    expect(await lease()).toEqual([]);
  });
});

test('many at once under the lock of the service: each run once, never more than the service takes', async () => {
  for (const letter of 'abcdefgh') await queue(letter, 20);
  await sql`update workflows.services set max_concurrency = 30`;
  const one = (n: number) =>
    sql.begin(async (tx) => {
      await tx`select pg_advisory_xact_lock(1)`;
      return leaseOn(tx as unknown as postgres.Sql, { room: 7, after: account('abcdefgh'[n % 8] ?? 'a') });
    });
  const got = (await Promise.all(Array.from({ length: 12 }, (_, n) => one(n)))).flat();
  expect(got).toHaveLength(30);
  expect(new Set(got.map(({ id }) => id)).size).toBe(30);
});
