import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { returnSpend, spendOf } from '../../src/credits/ledger.ts';
import { type LedgerUnderTest, ledgerForFile } from '../harness/ledger.ts';

let ledger: LedgerUnderTest;
beforeAll(async () => {
  ledger = await ledgerForFile();
});
afterAll(() => ledger.close());

// REQ E4.4
test('a spend takes exactly its amount', async () => {
  const account = await ledger.accountWith(100n);
  expect(await ledger.spend(account, 30n)).toMatchObject({ result: 'posted', seq: 2n, available: 70n });
  expect(await ledger.lines(account)).toEqual([
    'grant issued>available 100 = 100/0/0',
    'spend available>revenue 30 = 70/0/0',
  ]);
});

test('the last credit can be spent, one more cannot', async () => {
  const account = await ledger.accountWith(5n);
  expect((await ledger.spend(account, 5n)).result).toBe('posted');
  const before = await ledger.footprint(account);
  expect(await ledger.spend(account, 1n)).toMatchObject({ result: 'insufficient', transferId: null, available: 0n });
  expect(await ledger.footprint(account)).toBe(before);
});

// REQ E4.4
test('a spend beyond the balance takes nothing, not even a part', async () => {
  const account = await ledger.accountWith(5n);
  const before = await ledger.footprint(account);
  expect(await ledger.spend(account, 6n)).toMatchObject({ result: 'insufficient', seq: 1n, available: 5n });
  expect(await ledger.footprint(account)).toBe(before);
});

test('what is held cannot be spent', async () => {
  const account = await ledger.accountWith(10n);
  await ledger.hold(account, randomUUID(), 8n);
  expect(await ledger.spend(account, 3n)).toMatchObject({ result: 'insufficient', available: 2n, held: 8n });
});

test('an account that nobody ever gave credits has none to spend', async () => {
  const account = randomUUID();
  expect(await ledger.spend(account, 1n)).toEqual({
    result: 'insufficient',
    transferId: null,
    seq: 0n,
    available: 0n,
    held: 0n,
    debt: 0n,
  });
  expect(await ledger.footprint(account)).toBe('[]');
});

test('the same run is paid once, also when nothing is left by then', async () => {
  const account = await ledger.accountWith(5n);
  const run = randomUUID();
  const first = await ledger.spend(account, 5n, run);
  const before = await ledger.footprint(account);
  expect(await ledger.spend(account, 5n, run)).toEqual({ ...first, result: 'replay' });
  expect(await ledger.spend(account, 4n, run)).toEqual({ ...first, result: 'conflict' });
  expect(await ledger.footprint(account)).toBe(before);
});

test('a run that was refused is paid when the credits are there', async () => {
  const account = await ledger.accountWith(1n);
  const run = randomUUID();
  expect((await ledger.spend(account, 5n, run)).result).toBe('insufficient');
  await ledger.post(account, 'purchase', 10n);
  expect(await ledger.spend(account, 5n, run)).toMatchObject({ result: 'posted', available: 6n });
});

// A null amount used to be answered `insufficient`, as if the account were poor.
test.each([0n, -1n, null])('an amount of %s is refused as an error', async (amount) => {
  const account = await ledger.accountWith(10n);
  const before = await ledger.footprint(account);
  await expect(ledger.spend(account, amount as bigint)).rejects.toMatchObject({ code: '22023' });
  expect(await ledger.footprint(account)).toBe(before);
});

test('a return gives back what its spend took, once, and names it as its parent', async () => {
  const { db } = ledger.database;
  const account = await ledger.accountWith(10n);
  const run = randomUUID();
  const spent = await ledger.spend(account, 10n, run);
  const giveBack = (amount: bigint) => db.transaction((tx) => returnSpend(tx, account, run, amount));
  const returned = await giveBack(10n);
  expect(returned).toMatchObject({ result: 'posted', available: 10n });
  expect(await giveBack(10n)).toEqual({ ...returned, result: 'replay' });
  expect(await giveBack(9n)).toEqual({ ...returned, result: 'conflict' });
  const [row] = await ledger.database
    .sql`select parent_id from credits.transfers where id = ${returned.transferId}::uuid`;
  expect(row?.['parent_id']).toBe(spent.transferId);
});

test('nothing can be returned for a run that was never paid', async () => {
  const { db } = ledger.database;
  const account = await ledger.accountWith(10n);
  await expect(db.transaction((tx) => returnSpend(tx, account, randomUUID(), 1n))).rejects.toThrow('nothing was spent');
});

test('the balance right after a spend can be read for ever', async () => {
  const account = await ledger.accountWith(10n);
  const run = randomUUID();
  await ledger.spend(account, 4n, run);
  await ledger.post(account, 'grant', 100n);
  expect(await spendOf(ledger.database.db, account, run)).toEqual({ available: 6n, held: 0n, debt: 0n });
  expect(await spendOf(ledger.database.db, account, randomUUID())).toBeUndefined();
});

// REQ E7.3
test('a transaction that rolls back after a spend leaves nothing', async () => {
  const account = await ledger.accountWith(10n);
  const before = await ledger.footprint(account);
  const broken = ledger.database.sql.begin(async (tx) => {
    await tx`select * from credits.spend(${account}::uuid, 5::bigint, ${randomUUID()}::uuid)`;
    throw new Error('the run could not be written');
  });
  await expect(broken).rejects.toThrow('the run could not be written');
  expect(await ledger.footprint(account)).toBe(before);
});
