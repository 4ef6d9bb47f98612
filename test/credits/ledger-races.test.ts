import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Outcome } from '../../src/credits/ledger.ts';
import { cause, type LedgerUnderTest, ledgerForFile } from '../harness/ledger.ts';

/** Real connections against each other: three pools, as three replicas would have. */
let ledger: LedgerUnderTest;
let replicas: LedgerUnderTest[];
beforeAll(async () => {
  ledger = await ledgerForFile(12);
  replicas = await Promise.all([1, 2].map(() => ledger.replica(12)));
});
afterAll(async () => {
  await Promise.all(replicas.map((one) => one.database.close()));
  await ledger.close();
});

const times = <T>(n: number, work: (i: number, on: LedgerUnderTest) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: n }, (_, i) => work(i, [ledger, ...replicas][i % 3] ?? ledger)));

const tally = (outcomes: { result: string }[]) =>
  Object.fromEntries([...Map.groupBy(outcomes, (one) => one.result)].map(([result, all]) => [result, all.length]));

const posted = (outcomes: Outcome[]) => outcomes.filter((one) => one.result === 'posted');

// REQ E4.4
test('of 1000 parallel spends of 1 on a balance of 100 exactly 100 are posted', async () => {
  const account = await ledger.accountWith(100n);
  const outcomes = await times(1000, (_, on) => on.spend(account, 1n));
  expect(tally(outcomes)).toEqual({ posted: 100, insufficient: 900 });
  expect(await ledger.balance(account)).toEqual({ available: 0n, held: 0n, debt: 0n });
  expect(new Set(posted(outcomes).map((one) => one.seq)).size).toBe(100);
});

// The look-up used to come before the lock: of two callers with one run the second broke off with a unique violation,
// or was told `insufficient` when the first had spent the last credit for it.
test('the same run spent 100 times in parallel is paid once, though the balance is just enough', async () => {
  const account = await ledger.accountWith(7n);
  const run = randomUUID();
  const outcomes = await times(100, (_, on) => on.spend(account, 7n, run));
  expect(tally(outcomes)).toEqual({ posted: 1, replay: 99 });
  expect(new Set(outcomes.map((one) => one.transferId)).size).toBe(1);
});

// REQ E3.3
test('the same cause posted 100 times in parallel moves once, on an account that nobody had before', async () => {
  const account = randomUUID();
  const by = cause('purchase');
  const outcomes = await times(100, (_, on) => on.post(account, 'purchase', 500n, by));
  expect(tally(outcomes)).toEqual({ posted: 1, replay: 99 });
  expect(await ledger.balance(account)).toMatchObject({ available: 500n });
});

test('the same cause with different amounts in parallel: one is posted, the others conflict or repeat it', async () => {
  const account = randomUUID();
  const by = cause('purchase');
  const outcomes = await times(60, (i, on) => on.post(account, 'purchase', BigInt(1 + (i % 3)), by));
  const [winner] = posted(outcomes);
  expect(posted(outcomes)).toHaveLength(1);
  expect(tally(outcomes)).toEqual({ posted: 1, replay: 19, conflict: 40 });
  expect(await ledger.balance(account)).toMatchObject({ available: winner?.available });
});

test('posts and spends on one account lose nothing of each other', async () => {
  const account = await ledger.accountWith(50n);
  const outcomes = await times(300, async (i, on) =>
    i % 2 === 0 ? on.spend(account, 2n) : on.post(account, 'grant', 1n),
  );
  const spent = posted(outcomes.filter((_, i) => i % 2 === 0)).length;
  expect(posted(outcomes.filter((_, i) => i % 2 === 1))).toHaveLength(150);
  expect(await ledger.balance(account)).toMatchObject({ available: 200n - 2n * BigInt(spent) });
});

test('a clawback among spends takes the whole amount: what was spent first is owed', async () => {
  const account = await ledger.accountWith(60n);
  const outcomes = await times(61, (i, on) => (i === 30 ? on.post(account, 'clawback', 60n) : on.spend(account, 1n)));
  const spent = BigInt(posted(outcomes.filter((_, i) => i !== 30)).length);
  expect(await ledger.balance(account)).toEqual({ available: 0n, held: 0n, debt: spent });
});

test('batches and single statements mixed over all pools spend exactly what is there', async () => {
  const accounts = await Promise.all([40n, 40n, 40n].map((amount) => ledger.accountWith(amount)));
  const spendOf = (i: number) => ({
    accountId: accounts[i % 3] ?? '',
    amount: 1n,
    runId: randomUUID(),
  });
  const outcomes = await times(120, async (i, on) => {
    if (i % 2 === 0) return [await on.spend(accounts[i % 3] ?? '', 1n)];
    return on.spendBatch(Array.from({ length: 4 }, (_, k) => spendOf(i + k)));
  });
  const all = outcomes.flat();
  // What was busy is for the caller to bring again; everything else was decided.
  expect(Object.keys(tally(all)).filter((one) => !['posted', 'insufficient', 'busy'].includes(one))).toEqual([]);
  const left = await Promise.all(accounts.map((account) => ledger.balance(account)));
  const remaining = left.reduce((sum, one) => sum + one.available, 0n);
  expect(BigInt(posted(all).length)).toBe(120n - remaining);
  const rest = await Promise.all(
    accounts.flatMap((account, i) =>
      Array.from({ length: Number(left[i]?.available) + 1 }, () => ledger.spend(account, 1n)),
    ),
  );
  expect(posted(rest)).toHaveLength(Number(remaining));
});

test('the same runs in a batch and as single statements are paid once', async () => {
  const account = await ledger.accountWith(1000n);
  const runs = Array.from({ length: 20 }, () => randomUUID());
  const outcomes = await times(12, async (i, on) => {
    if (i % 2 === 0) return Promise.all(runs.map((run) => on.spend(account, 3n, run)));
    return on.spendBatch(runs.map((runId) => ({ accountId: account, amount: 3n, runId })));
  });
  expect(posted(outcomes.flat())).toHaveLength(20);
  expect(await ledger.balance(account)).toMatchObject({ available: 940n });
});

test('captures and releases racing for one hold close exactly what was held', async () => {
  const account = await ledger.accountWith(100n);
  const hold = randomUUID();
  await ledger.hold(account, hold, 30n);
  const outcomes = await times(100, (i, on) =>
    i % 2 === 0 ? on.capture(account, hold, 1n) : on.release(account, hold, 1n),
  );
  expect(tally(outcomes)).toEqual({ posted: 30, exceeded: 70 });
  const released = posted(outcomes.filter((_, i) => i % 2 === 1)).length;
  expect(await ledger.balance(account)).toEqual({ available: 70n + BigInt(released), held: 0n, debt: 0n });
});

test('holds and spends racing for the last credits never take more than there are', async () => {
  const account = await ledger.accountWith(50n);
  const outcomes = await times(120, (i, on) =>
    i % 2 === 0 ? on.hold(account, randomUUID(), 1n) : on.spend(account, 1n),
  );
  expect(tally(outcomes)).toEqual({ posted: 50, insufficient: 70 });
  const held = BigInt(posted(outcomes.filter((_, i) => i % 2 === 0)).length);
  expect(await ledger.balance(account)).toEqual({ available: 0n, held, debt: 0n });
});

test('two transactions that lock the same accounts in any order do not deadlock', async () => {
  const accounts = await Promise.all(Array.from({ length: 6 }, () => ledger.accountWith(100n)));
  const done = await times(40, (i, on) =>
    on.database.sql.begin(async (tx) => {
      const mixed = i % 2 === 0 ? accounts : accounts.toReversed();
      await tx`select credits.lock(${mixed}::uuid[])`;
      for (const account of mixed) await tx`select credits.spend(${account}::uuid, 1, ${randomUUID()}::uuid)`;
      return true;
    }),
  );
  expect(done).toHaveLength(40);
  for (const account of accounts) expect(await ledger.balance(account)).toMatchObject({ available: 60n });
});
