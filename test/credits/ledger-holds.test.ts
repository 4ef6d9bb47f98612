import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cause, type LedgerUnderTest, ledgerForFile } from '../harness/ledger.ts';

let ledger: LedgerUnderTest;
beforeAll(async () => {
  ledger = await ledgerForFile();
});
afterAll(() => ledger.close());

async function accountWithHold(available: bigint, held: bigint) {
  const account = await ledger.accountWith(available);
  const id = randomUUID();
  expect((await ledger.hold(account, id, held)).result).toBe('posted');
  return { account, id };
}

test('a hold sets credits aside and remembers what for', async () => {
  const account = await ledger.accountWith(10n);
  const id = randomUUID();
  expect(await ledger.hold(account, id, 7n)).toMatchObject({ result: 'posted', available: 3n, held: 7n });
  const [row] = await ledger.database.sql`select * from credits.holds where id = ${id}::uuid`;
  expect(row).toMatchObject({ amount: 7n, captured: 0n, released: 0n, for_type: 'ask', expires_at: null });
});

test('a hold beyond what is available is refused, and there is no hold', async () => {
  const { account } = await accountWithHold(10n, 6n);
  const before = await ledger.footprint(account);
  expect(await ledger.hold(account, randomUUID(), 5n)).toMatchObject({ result: 'insufficient', available: 4n });
  expect(await ledger.footprint(account)).toBe(before);
  const nobody = randomUUID();
  expect(await ledger.hold(nobody, randomUUID(), 5n)).toMatchObject({ result: 'insufficient', seq: 0n });
  expect(await ledger.footprint(nobody)).toBe('[]');
});

test('captures in parts become revenue, the rest is released', async () => {
  const { account, id } = await accountWithHold(10n, 10n);
  expect(await ledger.capture(account, id, 3n)).toMatchObject({ result: 'posted', available: 0n, held: 7n });
  expect(await ledger.capture(account, id, 3n)).toMatchObject({ result: 'posted', available: 0n, held: 4n });
  expect(await ledger.release(account, id, 4n)).toMatchObject({ result: 'posted', available: 4n, held: 0n });
  expect(await ledger.lines(account)).toEqual([
    'grant issued>available 10 = 10/0/0',
    'hold available>held 10 = 0/10/0',
    'capture held>revenue 3 = 0/7/0',
    'capture held>revenue 3 = 0/4/0',
    'release held>available 4 = 4/0/0',
  ]);
});

test.each(['capture', 'release'] as const)('a %s beyond what is still held is exceeded', async (verb) => {
  const { account, id } = await accountWithHold(20n, 10n);
  await accountWithHold(1n, 1n);
  // Another hold of the same account lends it nothing.
  await ledger.hold(account, randomUUID(), 10n);
  await ledger.capture(account, id, 6n);
  const before = await ledger.footprint(account);
  expect(await ledger[verb](account, id, 5n)).toMatchObject({ result: 'exceeded', transferId: null, held: 14n });
  expect(await ledger.footprint(account)).toBe(before);
  expect((await ledger[verb](account, id, 4n)).result).toBe('posted');
});

// The answer used to be a row of nulls, at which its reader broke.
test.each(['capture', 'release'] as const)('a %s of a hold that nobody made is exceeded', async (verb) => {
  const account = await ledger.accountWith(5n);
  expect(await ledger[verb](account, randomUUID(), 1n)).toMatchObject({ result: 'exceeded', available: 5n });
  const nobody = randomUUID();
  const zeros = { result: 'exceeded', transferId: null, seq: 0n, available: 0n, held: 0n, debt: 0n };
  expect(await ledger[verb](nobody, randomUUID(), 1n)).toEqual(zeros);
});

test('somebody else’s hold cannot be captured', async () => {
  const { id } = await accountWithHold(10n, 10n);
  const other = await accountWithHold(10n, 10n);
  expect((await ledger.capture(other.account, id, 1n)).result).toBe('exceeded');
});

test.each(['hold', 'capture', 'release'] as const)('a %s moves credits once per cause', async (verb) => {
  const { account, id } = await accountWithHold(30n, 20n);
  const target = verb === 'hold' ? randomUUID() : id;
  const by = cause('settlement');
  const first = await ledger[verb](account, target, 5n, by);
  const before = await ledger.footprint(account);
  expect(await ledger[verb](account, target, 5n, by)).toEqual({ ...first, result: 'replay' });
  expect(await ledger[verb](account, target, 6n, by)).toEqual({ ...first, result: 'conflict' });
  expect(await ledger.footprint(account)).toBe(before);
});

// It used to be answered as a replay, as if the other hold had been captured.
test.each(['hold', 'capture', 'release'] as const)('a %s by a cause of another hold is a conflict', async (verb) => {
  const { account, id } = await accountWithHold(30n, 10n);
  const other = randomUUID();
  if (verb !== 'hold') await ledger.hold(account, other, 10n);
  const by = cause('settlement');
  const first = await ledger[verb](account, verb === 'hold' ? randomUUID() : id, 5n, by);
  expect(first.result).toBe('posted');
  const before = await ledger.footprint(account);
  expect(await ledger[verb](account, other, 5n, by)).toEqual({ ...first, result: 'conflict' });
  expect(await ledger.footprint(account)).toBe(before);
});

test('one cause may capture a part and release the rest', async () => {
  const { account, id } = await accountWithHold(10n, 10n);
  const by = cause('run');
  expect((await ledger.capture(account, id, 4n, by)).result).toBe('posted');
  expect(await ledger.release(account, id, 6n, by)).toMatchObject({ result: 'posted', available: 6n, held: 0n });
});

test('a hold’s id is used once', async () => {
  const { account, id } = await accountWithHold(10n, 5n);
  const before = await ledger.footprint(account);
  await expect(ledger.hold(account, id, 1n)).rejects.toMatchObject({ cause: { constraint_name: 'holds_pkey' } });
  expect(await ledger.footprint(account)).toBe(before);
});

test('what is released pays a debt first; what is captured does not', async () => {
  const { account, id } = await accountWithHold(20n, 20n);
  await ledger.post(account, 'clawback', 8n);
  expect(await ledger.capture(account, id, 5n)).toMatchObject({ available: 0n, held: 15n, debt: 8n });
  expect(await ledger.release(account, id, 5n)).toMatchObject({ available: 0n, held: 10n, debt: 3n });
  expect(await ledger.release(account, id, 10n)).toMatchObject({ available: 7n, held: 0n, debt: 0n });
});

test.each(['hold', 'capture', 'release'] as const)('a %s of nothing, less or null is an error', async (verb) => {
  const { account, id } = await accountWithHold(30n, 20n);
  await ledger.capture(account, id, 5n);
  const before = await ledger.footprint(account);
  for (const amount of [0n, -1n, null as unknown as bigint]) {
    const target = verb === 'hold' ? randomUUID() : id;
    await expect(ledger[verb](account, target, amount)).rejects.toMatchObject({ cause: { code: '22023' } });
  }
  expect(await ledger.footprint(account)).toBe(before);
});
