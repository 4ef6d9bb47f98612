import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Outcome } from '../../src/credits/ledger.ts';
import { type LedgerUnderTest, ledgerForFile } from '../harness/ledger.ts';

let ledger: LedgerUnderTest;
beforeAll(async () => {
  ledger = await ledgerForFile(6);
});
afterAll(() => ledger.close());

const spendOf = (accountId: string, amount: bigint, runId: string = randomUUID()) => ({ accountId, amount, runId });
const told = ({ result, seq, available, held, debt }: Outcome) => ({ result, seq, available, held, debt });

test('a batch answers each spend at its place, for many accounts and for one several times', async () => {
  const [one, other] = [await ledger.accountWith(10n), await ledger.accountWith(5n)];
  const nobody = randomUUID();
  const outcomes = await ledger.spendBatch([
    spendOf(one, 6n),
    spendOf(other, 5n),
    spendOf(nobody, 1n),
    spendOf(one, 6n),
    spendOf(one, 4n),
    spendOf(other, 1n),
  ]);
  expect(outcomes.map(told)).toEqual([
    { result: 'posted', seq: 2n, available: 4n, held: 0n, debt: 0n },
    { result: 'posted', seq: 2n, available: 0n, held: 0n, debt: 0n },
    { result: 'insufficient', seq: 0n, available: 0n, held: 0n, debt: 0n },
    { result: 'insufficient', seq: 2n, available: 4n, held: 0n, debt: 0n },
    { result: 'posted', seq: 3n, available: 0n, held: 0n, debt: 0n },
    { result: 'insufficient', seq: 2n, available: 0n, held: 0n, debt: 0n },
  ]);
  expect(await ledger.footprint(nobody)).toBe('[]');
});

test('an empty batch is answered by nothing', async () => {
  expect(await ledger.spendBatch([])).toEqual([]);
});

// Two places with one run used to break the whole batch by a unique violation.
test('a run that stands in a batch twice is paid once', async () => {
  const account = await ledger.accountWith(10n);
  const run = randomUUID();
  const outcomes = await ledger.spendBatch([4n, 4n, 5n].map((amount) => spendOf(account, amount, run)));
  expect(outcomes.map((one) => one.result)).toEqual(['posted', 'replay', 'conflict']);
  expect(new Set(outcomes.map((one) => one.transferId)).size).toBe(1);
  expect(await ledger.balance(account)).toMatchObject({ available: 6n });
});

/** What both ways are tried on: two accounts with little, one that owes, one unknown; few runs, so that they repeat. */
const batch = fc.array(
  fc.record({
    account: fc.constantFrom('rich', 'poor', 'owing', 'nobody'),
    amount: fc.integer({ min: 1, max: 6 }),
    run: fc.constantFrom('r1', 'r2', 'r3', 'r4', 'r5', 'r6', 'r7', 'r8'),
  }),
  { minLength: 1, maxLength: 24 },
);

// REQ E4.4
test('a batch accepts exactly what one by one in the same order would', async () => {
  const setting = async () => {
    const [rich, poor, owing] = [await ledger.accountWith(30n), await ledger.accountWith(7n), randomUUID()];
    await ledger.post(owing, 'clawback', 5n);
    const ids = new Map(['r1', 'r2', 'r3', 'r4', 'r5', 'r6', 'r7', 'r8'].map((name) => [name, randomUUID()]));
    await ledger.spend(rich, 3n, ids.get('r1'));
    await ledger.hold(rich, randomUUID(), 2n);
    const accounts = new Map(Object.entries({ rich, poor, owing, nobody: randomUUID() }));
    return { accounts, of: (name: string) => accounts.get(name) ?? ids.get(name) ?? '' };
  };
  await fc.assert(
    fc.asyncProperty(batch, async (spends) => {
      const [together, apart] = [await setting(), await setting()];
      const at = (where: typeof together) =>
        spends.map((one) => spendOf(where.of(one.account), BigInt(one.amount), where.of(one.run)));
      const batched = await ledger.spendBatch(at(together));
      const single: Outcome[] = [];
      for (const one of at(apart)) single.push(await ledger.spend(one.accountId, one.amount, one.runId));
      expect(batched.map(told)).toEqual(single.map(told));
      for (const name of together.accounts.keys()) {
        expect(await ledger.lines(together.of(name))).toEqual(await ledger.lines(apart.of(name)));
        expect(await ledger.balance(together.of(name))).toEqual(await ledger.balance(apart.of(name)));
      }
    }),
    { numRuns: 40 },
  );
});

test('an account that another transaction holds is busy, nobody waits for it, and the others are served', async () => {
  const [locked, free] = [await ledger.accountWith(10n), await ledger.accountWith(10n)];
  const before = await ledger.footprint(locked);
  const spends = [spendOf(locked, 1n), spendOf(free, 1n), spendOf(locked, 1n), spendOf(free, 1n)];
  const outcomes = await ledger.database.sql.begin(async (tx) => {
    await tx`select credits.lock(array[${locked}::uuid])`;
    return ledger.spendBatch(spends);
  });
  expect(outcomes.map((one) => one.result)).toEqual(['busy', 'posted', 'busy', 'posted']);
  expect(outcomes[0]).toMatchObject({ transferId: null, available: 10n });
  expect(await ledger.footprint(locked)).toBe(before);
  const again = await ledger.spendBatch(spends);
  expect(again.map((one) => one.result)).toEqual(['posted', 'replay', 'posted', 'replay']);
});

test('an account whose first credits are just being booked is not there yet, and nobody waits for it', async () => {
  const fresh = randomUUID();
  const outcome = await ledger.database.sql.begin(async (tx) => {
    await tx`select credits.post(${fresh}::uuid, 'grant', 5, 'test', ${randomUUID()}::uuid, null, null)`;
    return ledger.spendBatch([spendOf(fresh, 1n)]);
  });
  expect(outcome).toMatchObject([{ result: 'insufficient', available: 0n }]);
});

test('a batch is one transaction: an error in it leaves nothing of the others', async () => {
  const account = await ledger.accountWith(10n);
  const before = await ledger.footprint(account);
  const broken = [
    [spendOf(account, 1n), spendOf(account, 0n)],
    [spendOf(account, 1n), spendOf(account, -1n)],
    [spendOf(account, 1n), spendOf(null as unknown as string, 1n)],
    [spendOf(account, 1n), spendOf(account, 1n, null as unknown as string)],
  ];
  for (const spends of broken) await expect(ledger.spendBatch(spends)).rejects.toMatchObject({ code: '22023' });
  const lists = ledger.database.sql`
    select * from credits.spend_batch(array[${account}::uuid], array[1, 1]::bigint[], array[${randomUUID()}::uuid])`;
  await expect(lists).rejects.toMatchObject({ code: '22023' });
  expect(await ledger.footprint(account)).toBe(before);
});

test('500 spends over 100 accounts are one update of each account that pays', async () => {
  const accounts = await Promise.all(Array.from({ length: 100 }, () => ledger.accountWith(4n)));
  const spends = Array.from({ length: 500 }, (_, i) => spendOf(accounts[i % 100] ?? '', 1n));
  const updates = await ledger.database.sql.begin(async (tx) => {
    const updatesSoFar = async (): Promise<bigint> => {
      const [row] = await tx`
        select n_tup_upd from pg_stat_xact_user_tables where schemaname = 'credits' and relname = 'accounts'`;
      return row?.['n_tup_upd'];
    };
    const before = await updatesSoFar();
    const outcomes = await tx<{ result: string }[]>`
      select * from credits.spend_batch(${spends.map((one) => one.accountId)}::uuid[],
        ${spends.map((one) => String(one.amount))}::bigint[], ${spends.map((one) => one.runId)}::uuid[]) order by n`;
    expect(outcomes.slice(0, 400).every((one) => one.result === 'posted')).toBe(true);
    expect(outcomes.slice(400).every((one) => one.result === 'insufficient')).toBe(true);
    return (await updatesSoFar()) - before;
  });
  expect(updates).toBe(100n);
});
