import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Outcome } from '../../src/credits/ledger.ts';
import { type LedgerUnderTest, ledgerForFile } from '../harness/ledger.ts';
import { type Answer, LedgerModel, type Order, type Verb } from '../harness/ledger-model.ts';

let ledger: LedgerUnderTest;
beforeAll(async () => {
  ledger = await ledgerForFile(4);
});
afterAll(() => ledger.close());

/** Few accounts, causes and holds, and amounts near each other, so that repeats, conflicts and short balances are common. */
const verbs: Verb[] = ['purchase', 'grant', 'return', 'adjust', 'clawback', 'spend', 'hold', 'capture', 'release'];
const order = fc
  .record({
    verb: fc.constantFrom(...verbs, 'purchase' as const, 'hold' as const),
    account: fc.constantFrom('a', 'b'),
    amount: fc.integer({ min: 1, max: 4 }),
    negative: fc.boolean(),
    ref: fc.constantFrom('r1', 'r2', 'r3', 'r4', 'r5'),
    hold: fc.constantFrom('h1', 'h2'),
  })
  .map(
    ({ negative, ...rest }): Order => ({
      ...rest,
      amount:
        rest.verb === 'purchase' ? rest.amount * 3 : rest.verb === 'adjust' && negative ? -rest.amount : rest.amount,
    }),
  );

/** A step is a new order, or an earlier one again, as it was or with another amount. */
const step = fc.oneof(
  { weight: 2, arbitrary: order },
  { weight: 1, arbitrary: fc.record({ again: fc.nat(), more: fc.constantFrom(0, 0, 1) }) },
);
type Step = Order | { again: number; more: number };

function ordersOf(steps: Step[]): Order[] {
  const orders: Order[] = [];
  for (const one of steps) {
    const earlier = 'again' in one ? orders[one.again % Math.max(orders.length, 1)] : undefined;
    if ('verb' in one) orders.push(one);
    else if (earlier) orders.push({ ...earlier, amount: earlier.amount + one.more * Math.sign(earlier.amount) });
  }
  return orders;
}

async function perform({ verb, account, amount, ref, hold }: Order): Promise<Answer> {
  const by = { type: verb === 'spend' ? 'run' : 'test', id: ref };
  const units = BigInt(amount);
  const outcome: Promise<Outcome> =
    verb === 'spend'
      ? ledger.spend(account, units, ref)
      : verb === 'hold' || verb === 'capture' || verb === 'release'
        ? ledger[verb](account, hold, units, by)
        : ledger.post(account, verb, units, by);
  try {
    const { result, seq, available, held, debt } = await outcome;
    return { result, seq: Number(seq), available: Number(available), held: Number(held), debt: Number(debt) };
  } catch {
    const { available, held, debt } = await ledger.balance(account);
    return { result: 'error', seq: -1, available: Number(available), held: Number(held), debt: Number(debt) };
  }
}

/** Every verb posted, repeated and contradicted, and refused where it can be: what chance may leave out. */
const everyAnswer: Step[] = [
  ...['spend', 'hold', 'capture', 'release'].map((verb) => ({ verb: verb as Verb, amount: 3, ref: 'r1', hold: 'h2' })),
  { verb: 'adjust' as const, amount: -3, ref: 'r1', hold: 'h1' },
  ...verbs.flatMap((verb) => {
    const amount = verb === 'purchase' || verb === 'hold' ? 12 : 3;
    return [amount, amount, 2].map((some) => ({ verb, amount: some, ref: 'r2', hold: 'h1' }));
  }),
  { verb: 'grant' as const, amount: 9, ref: 'r3', hold: 'h1' },
  { verb: 'hold' as const, amount: 1, ref: 'r3', hold: 'h1' },
].map((one) => ({ account: 'a', ...one }));

// REQ E8.4
test('any sequence of verbs is answered as the page of plain code answers it', { timeout: 60_000 }, async () => {
  const seen = new Set<string>();
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 30, maxLength: 50 }), async (steps) => {
      const model = new LedgerModel();
      const ids = new Map<string, string>();
      const real = (name: string) => {
        const id = ids.get(name) ?? randomUUID();
        ids.set(name, id);
        return id;
      };
      for (const one of ordersOf(steps)) {
        const asked = { ...one, account: real(one.account), ref: real(one.ref), hold: real(one.hold) };
        const expected = model.apply(asked);
        const got = await perform(asked);
        seen.add(`${one.verb} ${got.result}`);
        expect(got.result === 'error' ? { ...got, seq: expected.seq } : got, JSON.stringify(one)).toEqual(expected);
      }
    }),
    { numRuns: 60, examples: [[everyAnswer]] },
  );
  for (const verb of verbs)
    for (const result of ['posted', 'replay', 'conflict']) expect(seen).toContain(`${verb} ${result}`);
  for (const one of ['spend insufficient', 'hold insufficient', 'adjust insufficient']) expect(seen).toContain(one);
  for (const one of ['capture exceeded', 'release exceeded', 'hold error']) expect(seen).toContain(one);
});
