import { afterAll, beforeAll, expect, test } from 'vitest';
import { askCorruptions } from './ask-corruptions.ts';
import { paymentCorruptions, runCorruptions } from './corruptions.ts';
import { databaseCorruptions } from './database-corruptions.ts';
import { didCorruptions } from './did-corruptions.ts';
import { dvmCorruptions } from './dvm-corruptions.ts';
import { type Corruption, ledgerCorruptions } from './ledger-corruptions.ts';
import { lightningCorruptions } from './lightning-corruptions.ts';
import { auditWithin, brokenIn, checks, type LivedIn, liveIn } from './lived-in.ts';
import { orderCorruptions } from './order-corruptions.ts';
import { refundCorruptions } from './refund-corruptions.ts';
import { requestCorruptions } from './request-corruptions.ts';

let world: LivedIn;
beforeAll(async () => {
  world = await liveIn();
  await world.rest();
});
afterAll(() => world.close());

const corruptions: Corruption[] = [
  ...ledgerCorruptions,
  ...paymentCorruptions,
  ...runCorruptions,
  ...databaseCorruptions,
  ...didCorruptions,
  ...requestCorruptions,
  ...refundCorruptions,
  ...orderCorruptions,
  ...askCorruptions,
  ...lightningCorruptions,
  ...dvmCorruptions,
];

/** In a transaction that is taken back, so that each finds the books as they were. */
async function brokenAfter(corruption: string): Promise<string[]> {
  let broken: string[] | undefined;
  await world.root
    .begin(async (tx) => {
      await tx`set local jit = off`;
      await tx`set local session_replication_role = replica`; // neither triggers nor foreign keys stand in the way
      await tx.unsafe(corruption);
      broken = brokenIn(await auditWithin(tx));
      await tx.unsafe('rollback');
    })
    .catch((fault) => {
      if (broken === undefined) throw fault;
    });
  return broken ?? [];
}

// REQ E8.3, E8.4
test.each(corruptions)('%s is found', async (_what, how, broken) => {
  expect(await brokenAfter(how)).toEqual(broken);
});

test('nothing is found where nothing was done', async () => {
  expect(await brokenAfter('select 1')).toEqual([]);
});

test('every invariant has a corruption that it alone, or with others, tells of', () => {
  const told = new Set(corruptions.flatMap(([, , broken]) => broken));
  expect(checks.map(({ id }) => id).filter((id) => !told.has(id))).toEqual(['L11']); // of a snapshot only: see clean.test.ts
});
