import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decimal, percent } from '../../src/payments/fees/amounts.ts';
import { changer, greedy } from '../../src/payments/fees/change.ts';
import { type EvaluateOptions, evaluate, usualOptions } from '../../src/payments/fees/evaluate.ts';
import type { CoinKey, ExchangeKeys } from '../../src/payments/fees/keys.ts';
import { costOfExactPayments, payments } from '../../src/payments/fees/spending.ts';
import { type Structure, structureAt } from '../../src/payments/fees/structure.ts';
import { renderEvaluation } from '../../src/payments/fees/wire.ts';

/** What holds of every structure, against plain ways to count the same. */

const DAY = 86_400_000;
const fee = fc.bigInt({ min: 0n, max: 60n });
const coin = (value: fc.Arbitrary<bigint>): fc.Arbitrary<CoinKey> =>
  fc
    .record({
      ...{ value, withdraw: fee, deposit: fee, refresh: fee, refund: fee },
      ...{
        start: fc.nat(100),
        toWithdraw: fc.integer({ min: 1, max: 400 }),
        toSpend: fc.integer({ min: 1, max: 800 }),
      },
    })
    .map(({ start, toWithdraw, toSpend, ...one }) => ({
      ...{ ...one, start: start * DAY, expireWithdraw: (start + toWithdraw) * DAY, lost: false },
      expireDeposit: (start + toWithdraw + toSpend) * DAY,
    }));
const coins = fc.array(coin(fc.bigInt({ min: 1n, max: 2_000n })), { minLength: 1, maxLength: 12 });
/** Everything is a multiple of the smallest. */
const evenCoins = fc
  .tuple(
    fc.bigInt({ min: 1n, max: 9n }),
    fc.array(coin(fc.bigInt({ min: 1n, max: 40n })), { minLength: 1, maxLength: 6 }),
  )
  .map(([step, [first, ...others]]) => [
    { ...(first as CoinKey), value: step },
    ...others.map((one) => ({ ...one, value: one.value * step })),
  ]);

const keysOf = (list: CoinKey[]): ExchangeKeys => ({ currency: 'EUR', coins: list, wireFees: [], globalFees: [] });
const structureOf = (list: CoinKey[]): Structure => {
  const structure = structureAt(keysOf(list), 0);
  if (!structure) throw new Error('there is none');
  return structure;
};
function bodyOf(list: CoinKey[], more: Partial<EvaluateOptions> = {}) {
  const result = evaluate(keysOf(list), { ...usualOptions(0), ...more });
  if (typeof result === 'string') throw new Error(result);
  return renderEvaluation(result);
}

describe('greedy', () => {
  const costs = fc.array(fc.bigInt({ min: 1n, max: 10n ** 12n }), { minLength: 0, maxLength: 40 });
  const amount = fc.bigInt({ min: 0n, max: 10n ** 13n });

  test('takes what trying one piece after the other takes', () => {
    fc.assert(
      fc.property(costs, amount, fc.nat(41), (list, sum, from) => {
        let rest = sum;
        const pieces = [];
        for (let at = from; at < list.length; at += 1) {
          const cost = list[at] as bigint;
          if (cost <= rest) pieces.push({ at, count: rest / cost });
          rest %= cost;
        }
        expect(greedy(list)(sum, from)).toEqual({ pieces, rest });
      }),
    );
  });

  test('in as many steps as the amount has bits, however many pieces there are', () => {
    const list = Array.from({ length: 10_000 }, (_, i) => BigInt(20_000 - i) * 10n ** 8n);
    fc.assert(
      fc.property(fc.bigInt({ min: 1n, max: 2n ** 80n }), (sum) => {
        expect(greedy(list)(sum, 0).pieces.length).toBeLessThanOrEqual(sum.toString(2).length);
      }),
      { numRuns: 20 },
    );
  });
});

// REQ X0
describe('an evaluation', () => {
  test('does not depend on the order of the keys', () => {
    const shuffled = coins.chain((list) =>
      fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length, maxLength: list.length })),
    );
    fc.assert(
      fc.property(shuffled, ([list, other]) => {
        expect(bodyOf(other)).toEqual(bodyOf(list));
      }),
    );
  });

  test('has the same percentages and verdicts when all amounts are so many times larger', () => {
    const relative = (list: CoinKey[], times: bigint) => {
      const { structure, denominations, advice } = bodyOf(
        list.map((one) => ({
          ...{ ...one, value: one.value * times, withdraw: one.withdraw * times, deposit: one.deposit * times },
          ...{ refresh: one.refresh * times, refund: one.refund * times },
        })),
      );
      return {
        ...{ upkeep: structure.upkeep.percent_per_year, merchant: structure.merchant_percent },
        ...{ least: structure.payments.least_percent.percent, most: structure.payments.most_percent.percent },
        ...{ advice: advice.map(({ code, count }) => [code, count]), reasonable: structure.reasonable },
        denominations: denominations.map(({ direct, change, refund, upkeep, reasonable }) => [
          ...[direct.percent, change?.coins, change?.percent, change?.percent_to_the_end, reasonable],
          ...[refund.fair, refund.fair_with_refresh, upkeep.percent_per_cycle, upkeep.percent_per_year],
        ]),
      };
    };
    fc.assert(
      fc.property(coins, fc.bigInt({ min: 2n, max: 10n ** 12n }), (list, times) => {
        expect(relative(list, times)).toEqual(relative(list, 1n));
      }),
    );
  });

  test('does not change when a key is replaced by two alike', () => {
    const figures = (list: CoinKey[]) =>
      bodyOf(list).denominations.map(({ keys, ...one }) => ({ ...one, many: keys > 0 }));
    fc.assert(
      fc.property(coins, (list) => {
        expect(figures([...list, ...list])).toEqual(figures(list));
      }),
    );
  });
});

test('nothing comes of nothing: what a coin was is its change, its fees and what is lost', () => {
  fc.assert(
    fc.property(coins, fc.constantFrom('greedy' as const, 'next' as const), (list, into) => {
      const structure = structureOf(list);
      const { denominations } = structure;
      const change = changer(structure);
      for (const one of denominations) {
        const got = change.refresh(one, one.value, one.below, into);
        const left = one.value - got.refresh - got.withdraw - got.lost;
        expect(left >= 0n && got.lost >= 0n).toBe(true);
        if (got.coins === 0n) expect(left).toBe(0n);
        else expect(left).toBeGreaterThan(0n);
        const smaller = denominations.slice(one.below);
        const affordable = smaller.filter(({ value, withdraw }) => value + withdraw <= got.lost);
        if (into === 'greedy') expect(affordable).toEqual([]);
      }
    }),
  );
});

// REQ X9 X10
describe('what payments cost', () => {
  test('no payment of all that coins make up costs a larger or smaller part than the range says, and some do', () => {
    fc.assert(
      fc.property(evenCoins, fc.integer({ min: 1, max: 6 }), (list, most) => {
        const structure = structureOf(list);
        const change = changer(structure);
        const range = costOfExactPayments(structure, most);
        const step = structure.smallest;
        const largest = structure.denominations[0]?.value ?? 0n;
        const shares: bigint[] = [];
        const merchant: bigint[] = [];
        const totals: bigint[] = [];
        for (let spent = step; spent <= BigInt(most) * largest; spent += step) {
          const { pieces, rest } = change.makeUp(spent, 0);
          if (rest > 0n || pieces.reduce((sum, { count }) => sum + count, 0n) > BigInt(most)) continue;
          const { total, deposit } = payments(structure, change, spent)(spent);
          totals.push(total);
          shares.push(percent(total, spent));
          if (total > 0n) merchant.push(percent(deposit, total));
        }
        const sorted = (all: bigint[]) => all.toSorted((a, b) => Number(a - b));
        expect([sorted(shares)[0], sorted(shares).at(-1)]).toEqual([
          ...[range.leastPercent.percent, range.mostPercent.percent],
        ]);
        expect(sorted(totals)[0]).toBe(range.least);
        expect((sorted(totals).at(-1) ?? 0n) <= range.most).toBe(true);
        expect(range.merchant).toEqual(
          merchant.length > 0 ? { least: sorted(merchant)[0], most: sorted(merchant).at(-1) } : null,
        );
      }),
    );
  });

  test('spending all that was withdrawn needs no change, and spending less never costs less than its deposits', () => {
    fc.assert(
      fc.property(
        evenCoins,
        fc.bigInt({ min: 1n, max: 200n }),
        fc.bigInt({ min: 1n, max: 200n }),
        (list, sum, part) => {
          const structure = structureOf(list);
          const withdrawn = sum * structure.smallest;
          const spend = payments(structure, changer(structure), withdrawn);
          const { pieces } = changer(structure).makeUp(withdrawn, 0);
          const coinsOf = pieces.map(({ at, count }) => ({ ...structure.denominations[at], count }));
          const withdraw = coinsOf.reduce((all, one) => all + one.count * (one.withdraw ?? 0n), 0n);
          const deposit = coinsOf.reduce((all, one) => all + one.count * (one.deposit ?? 0n), 0n);
          expect(spend(withdrawn)).toEqual({ spent: withdrawn, total: withdraw + deposit, deposit });
          const some = spend(((part % sum) + 1n) * structure.smallest);
          expect(some.total >= withdraw + some.deposit).toBe(true);
        },
      ),
    );
  });
});

test('amounts are written as short as they are exact', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 90n }), (units) => {
      const text = decimal(units);
      expect(text).toMatch(/^(0|[1-9]\d*)(\.\d{0,7}[1-9])?$/);
      const [whole = '', fraction = ''] = text.split('.');
      expect(BigInt(whole + fraction.padEnd(8, '0'))).toBe(units);
    }),
  );
  expect([percent(1n, 3n), percent(2n, 3n), percent(1n, 1_600_000_000n * 2n)].map(decimal)).toEqual([
    ...['33.33333333', '66.66666667', '0.00000003'],
  ]);
});

test('sixteen times as many denominations take not nearly 256 times as long', () => {
  const list = (n: number): CoinKey[] =>
    Array.from({ length: n }, (_, i) => ({
      // of the kind that is worst: each takes half of the rest, and no two are alike
      ...{ value: BigInt(10 ** 6 + i), withdraw: BigInt((i * 7919) % 5_000), deposit: 1n, refresh: 1n, refund: 1n },
      ...{ start: 0, expireWithdraw: DAY, expireDeposit: 2 * DAY, lost: false },
    }));
  const took = (n: number) => {
    const all = list(n);
    const rounds = Array.from({ length: 5 }, () => {
      const before = process.cpuUsage();
      bodyOf(all);
      const { user, system } = process.cpuUsage(before);
      return user + system;
    });
    return Math.min(...rounds);
  };
  took(1_000); // until it is compiled
  expect(took(16_000) / took(1_000)).toBeLessThan(128);
});
