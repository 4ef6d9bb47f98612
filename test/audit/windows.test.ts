import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { creditsChecks, transfers } from '../../src/credits/index.ts';
import type { Check } from '../../src/platform/audit/check.ts';
import { openAuditClient, runAudit } from '../../src/platform/audit/run-audit.ts';
import { walk } from '../../src/platform/audit/windows.ts';
import { cloneDatabase, type TestDatabase } from '../harness/database.ts';

/** Chains that are longer than a window: three accounts of 2500, 1 and 1200 lines. */

let at: TestDatabase;
let root: postgres.Sql;
const accounts = [randomUUID(), randomUUID(), randomUUID()].sort();
const [LONG, ALONE, LAST] = accounts as [string, string, string];
const LENGTHS = [2500, 1, 1200];
const ofTransfers = creditsChecks.filter(({ over, id }) => over === transfers && id !== 'L18');

beforeAll(async () => {
  at = await cloneDatabase();
  root = postgres(at.superuserUrl, { max: 1, onnotice: () => {} });
  for (const [i, account] of accounts.entries()) {
    await root`
      select credits.post(${account}::uuid, 'purchase', 100000, 'test', gen_random_uuid(), null, null)`;
    await root`
      select credits.spend(${account}::uuid, 1, gen_random_uuid()) from generate_series(2, ${LENGTHS[i] ?? 0})`;
  }
});
afterAll(async () => {
  await root.end();
  await at.drop();
});

/** A walk whose first window has exactly that many lines: the account, the number and the invariant of what is broken. */
async function found(firstWindow: number, corruption?: string) {
  let rows = 0;
  let broken: [string, { count: number; examples: string[] }][] = [];
  const ends: number[] = [];
  await root
    .begin(async (tx) => {
      await tx`set local session_replication_role = replica`;
      if (corruption) await tx.unsafe(corruption);
      const result = await walk(tx as never, { ...transfers, firstWindow }, ofTransfers, {
        rest: 0,
        onWindow: (seen) => ends.push(seen),
      });
      rows = result.rows;
      broken = [...result.broken];
      throw new Undone();
    })
    .catch((fault) => {
      if (!(fault instanceof Undone)) throw fault;
    });
  return { rows, ends, broken: Object.fromEntries(broken) };
}
class Undone extends Error {}

test('windows of any size see each line once, and nothing wrong in a chain that goes on from one to the next', async () => {
  for (const size of [10, 999, 1_000, 2_499, 2_500, 2_501, 2_502, 3_701, 50_000]) {
    const { rows, ends, broken } = await found(size);
    expect([size, rows, ends[0], broken]).toEqual([size, 3_701, Math.min(size, 3_701), {}]);
  }
});

const EDGE = 1_000;
const line = (seq: number, account = LONG) => `account_id = '${account}' and seq = ${seq}`;
const at1 = (account: string, seq: number) => ({ count: 1, examples: [`${account} ${seq}`] });

test.each([EDGE - 1, EDGE, EDGE + 1])(
  'a line that was changed is found at the edge of a window: line %i of 2500',
  async (seq) => {
    const { ends, broken } = await found(EDGE, `update credits.transfers set memo = 'x' where ${line(seq)}`);
    expect(ends[0]).toBe(EDGE);
    expect(broken).toEqual({ L09: at1(LONG, seq) });
  },
);

test.each([EDGE - 1, EDGE, EDGE + 1])(
  'a line that was removed is found at the edge of a window: line %i of 2500',
  async (seq) => {
    const { broken } = await found(EDGE, `delete from credits.transfers where ${line(seq)}`);
    expect(broken).toEqual({ L08: at1(LONG, seq + 1) });
  },
);

test('a balance that jumps between the last line of a window and the first of the next is found', async () => {
  const jump = `update credits.transfers set available_after = available_after + 7 where account_id = '${LONG}' and seq > ${EDGE}`;
  const { broken } = await found(EDGE, jump);
  expect(broken['L07']).toEqual(at1(LONG, EDGE + 1));
});

test('an account of one line, and the first line of an account at the beginning of a window, are checked like all others', async () => {
  for (const [account, seq] of [
    [ALONE, 1],
    [LAST, 1],
    [LAST, 1200],
  ] as const) {
    const change = `update credits.transfers set memo = 'x' where ${line(seq, account)}`;
    for (const size of [2_500, 2_501])
      expect((await found(size, change)).broken).toEqual({
        L09: at1(account, seq),
      });
  }
});

test('whatever is broken is counted to the last line, and only some of it is kept', async () => {
  const { broken } = await found(10, "update credits.transfers set memo = 'x'");
  expect(broken['L09']?.count).toBe(3_701);
  expect(broken['L09']?.examples).toHaveLength(20);
});

/** A millisecond for every tenth row. */
const slow: Check = {
  id: 'X01',
  rule: 'Every row takes its time',
  over: { ...transfers, firstWindow: 2_000 },
  broken: 'case when t.seq % 10 = 0 then pg_sleep(0.0005) is null else false end',
};

test('a window that takes too long is taken again in smaller pieces', async () => {
  const client = openAuditClient({ url: at.auditorUrl }, 'live');
  await client`set statement_timeout = '100ms'`;
  const [result] = (await runAudit(client, [slow], 'live', { rest: 0 })).checks;
  await client.end();
  expect(result).toMatchObject({ checked: 3_701, offending: 0 });
});

test('it rests between windows, as many times as long as they took as it is told to', async () => {
  const time = async (rest: number) => {
    const client = openAuditClient({ url: at.auditorUrl }, 'live');
    const began = performance.now();
    await runAudit(client, [{ ...slow, over: { ...transfers, firstWindow: 100 } }], 'live', { rest });
    await client.end();
    return performance.now() - began;
  };
  expect((await time(4)) / (await time(0))).toBeGreaterThan(2);
});

test('it ends when it is told to', async () => {
  const client = openAuditClient({ url: at.auditorUrl }, 'live');
  const signal = AbortSignal.timeout(100);
  const began = performance.now();
  await expect(runAudit(client, [slow], 'live', { rest: 10, signal })).rejects.toThrow();
  await client.end();
  expect(performance.now() - began).toBeLessThan(2_500);
});
