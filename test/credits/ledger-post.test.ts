import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Inflow } from '../../src/credits/ledger.ts';
import { cause, type LedgerUnderTest, ledgerForFile } from '../harness/ledger.ts';

let ledger: LedgerUnderTest;
beforeAll(async () => {
  ledger = await ledgerForFile();
});
afterAll(() => ledger.close());

// REQ E8.4
test.each<[Inflow, bigint, string]>([
  ['purchase', 500n, 'purchase issued>available 500 = 600/0/0'],
  ['grant', 500n, 'grant issued>available 500 = 600/0/0'],
  ['return', 500n, 'return revenue>available 500 = 600/0/0'],
  ['adjust', 500n, 'adjust issued>available 500 = 600/0/0'],
  ['adjust', -60n, 'adjust available>issued 60 = 40/0/0'],
])('%s of %s is one line with the balances after it', async (kind, amount, line) => {
  const account = await ledger.accountWith(100n);
  const outcome = await ledger.post(account, kind, amount);
  expect(outcome).toMatchObject({ result: 'posted', seq: 2n, available: 100n + amount, held: 0n, debt: 0n });
  expect(await ledger.lines(account)).toEqual(['grant issued>available 100 = 100/0/0', line]);
  expect(await ledger.balance(account)).toEqual({ available: 100n + amount, held: 0n, debt: 0n });
});

test('a line keeps its cause, its parent and its memo', async () => {
  const account = randomUUID();
  const by = cause('purchase');
  const parentId = randomUUID();
  const { transferId } = await ledger.post(account, 'grant', 5n, by, { parentId, memo: 'thank you ☕' });
  const [row] = await ledger.database.sql`select * from credits.transfers where account_id = ${account}::uuid`;
  expect(row).toMatchObject({
    id: transferId,
    ref_type: 'purchase',
    ref_id: by.id,
    parent_id: parentId,
    memo: 'thank you ☕',
  });
});

test('a clawback takes what is available and leaves the rest as debt', async () => {
  const account = await ledger.accountWith(100n);
  const outcome = await ledger.post(account, 'clawback', 130n);
  expect(outcome).toMatchObject({ result: 'posted', seq: 2n, available: 0n, debt: 30n });
  expect(await ledger.lines(account)).toEqual([
    'grant issued>available 100 = 100/0/0',
    'clawback debt>clawback 130 = 100/0/130',
    'repay available>debt 100 = 0/0/30',
  ]);
});

test('a clawback never touches what is held', async () => {
  const account = await ledger.accountWith(100n);
  await ledger.hold(account, randomUUID(), 70n);
  expect(await ledger.post(account, 'clawback', 50n)).toMatchObject({ available: 0n, held: 70n, debt: 20n });
});

test.each<[bigint, bigint, bigint]>([
  [10n, 0n, 20n],
  [30n, 0n, 0n],
  [45n, 15n, 0n],
])('of %s new credits a debt of 30 is paid first: %s available, %s owed', async (inflow, available, debt) => {
  const account = randomUUID();
  expect(await ledger.post(account, 'clawback', 30n)).toMatchObject({ result: 'posted', debt: 30n, available: 0n });
  expect(await ledger.post(account, 'purchase', inflow)).toMatchObject({ result: 'posted', available, debt });
  expect(await ledger.balance(account)).toEqual({ available, held: 0n, debt });
});

test('who owes cannot spend, hold or be debited before the debt is paid', async () => {
  const account = randomUUID();
  await ledger.post(account, 'clawback', 30n);
  await ledger.post(account, 'grant', 20n);
  expect((await ledger.spend(account, 1n)).result).toBe('insufficient');
  expect((await ledger.hold(account, randomUUID(), 1n)).result).toBe('insufficient');
  expect((await ledger.post(account, 'adjust', -1n)).result).toBe('insufficient');
});

// A repayment used to carry the cause of the move before it: a dispute that was lost and then won by the same cause
// met the uniqueness of causes at its second repayment and could not be booked.
test('a clawback and the grant that undoes it may share a cause though both lead to a repayment', async () => {
  const account = await ledger.accountWith(10n);
  const dispute = cause('dispute');
  expect(await ledger.post(account, 'clawback', 30n, dispute)).toMatchObject({ result: 'posted', debt: 20n });
  expect(await ledger.post(account, 'grant', 30n, dispute)).toMatchObject({
    result: 'posted',
    available: 10n,
    debt: 0n,
  });
});

test('the same cause moves money once; its repeat answers with the first transfer and today’s balance', async () => {
  const account = randomUUID();
  const by = cause('purchase');
  const first = await ledger.post(account, 'purchase', 50n, by);
  await ledger.spend(account, 20n);
  const before = await ledger.footprint(account);
  const again = await ledger.post(account, 'purchase', 50n, by);
  expect(again).toEqual({ ...first, result: 'replay', available: 30n });
  expect(await ledger.footprint(account)).toBe(before);
});

test.each<[string, Parameters<LedgerUnderTest['post']>[2], { parentId?: string }]>([
  ['amount', 51n, {}],
  ['direction', -50n, {}],
  ['parent', 50n, { parentId: randomUUID() }],
])('the same cause with another %s is a conflict, and moves nothing', async (_, amount, more) => {
  const account = randomUUID();
  const by = cause('correction');
  const first = await ledger.post(account, 'adjust', 50n, by);
  const before = await ledger.footprint(account);
  const other = await ledger.post(account, 'adjust', amount, by, more);
  expect(other).toEqual({ ...first, result: 'conflict' });
  expect(await ledger.footprint(account)).toBe(before);
});

test('one cause may lead to moves of different kinds, and to the same kind for different accounts', async () => {
  const by = cause('settlement');
  const [one, other] = [randomUUID(), randomUUID()];
  expect((await ledger.post(one, 'purchase', 5n, by)).result).toBe('posted');
  expect((await ledger.post(one, 'grant', 5n, by)).result).toBe('posted');
  expect((await ledger.post(other, 'purchase', 5n, by)).result).toBe('posted');
});

test('a debit beyond what is available is refused and leaves balance, number and hash untouched', async () => {
  const account = await ledger.accountWith(10n);
  await ledger.hold(account, randomUUID(), 4n);
  const before = await ledger.footprint(account);
  expect(await ledger.post(account, 'adjust', -7n)).toMatchObject({
    result: 'insufficient',
    transferId: null,
    seq: 2n,
    available: 6n,
    held: 4n,
  });
  expect(await ledger.footprint(account)).toBe(before);
});

test('a refused cause is not used up', async () => {
  const account = await ledger.accountWith(10n);
  const by = cause('correction');
  expect((await ledger.post(account, 'adjust', -11n, by)).result).toBe('insufficient');
  await ledger.post(account, 'grant', 1n);
  expect(await ledger.post(account, 'adjust', -11n, by)).toMatchObject({ result: 'posted', available: 0n });
});

test('an account appears with its first inflow, not with a refusal', async () => {
  const account = randomUUID();
  expect(await ledger.post(account, 'adjust', -5n)).toEqual({
    result: 'insufficient',
    transferId: null,
    seq: 0n,
    available: 0n,
    held: 0n,
    debt: 0n,
  });
  expect(await ledger.footprint(account)).toBe('[]');
  expect(await ledger.balance(account)).toEqual({ available: 0n, held: 0n, debt: 0n });
});

test.each([
  ['grant', 0n],
  ['grant', -1n],
  ['purchase', -1n],
  ['return', -1n],
  ['clawback', -1n],
  ['adjust', 0n],
  ['spend', 1n],
  ['repay', 1n],
  ['link', 1n],
  ['nonsense', 1n],
] as [Inflow, bigint][])('%s of %s cannot be posted', async (kind, amount) => {
  const account = await ledger.accountWith(10n);
  const before = await ledger.footprint(account);
  await expect(ledger.post(account, kind, amount)).rejects.toMatchObject({ cause: { code: '22023' } });
  expect(await ledger.footprint(account)).toBe(before);
});

test('a balance that does not fit a bigint is refused whole', async () => {
  const account = await ledger.accountWith(2n ** 63n - 1n);
  const before = await ledger.footprint(account);
  await expect(ledger.post(account, 'grant', 1n)).rejects.toMatchObject({ cause: { code: '22003' } });
  expect(await ledger.footprint(account)).toBe(before);
});

test('a memo is at most 200 characters', async () => {
  const account = await ledger.accountWith(1n);
  await expect(ledger.post(account, 'grant', 1n, cause(), { memo: 'x'.repeat(201) })).rejects.toMatchObject({
    cause: { code: '23514' },
  });
  expect(await ledger.balance(account)).toMatchObject({ available: 1n });
});
