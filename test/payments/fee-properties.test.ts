import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decimal, percent } from '../../src/payments/fees/amounts.ts';
import { changer, greedy } from '../../src/payments/fees/change.ts';
import { type EvaluateOptions, evaluate, usualOptions } from '../../src/payments/fees/evaluate.ts';
import { type CoinKey, type ExchangeKeys, KeysIn } from '../../src/payments/fees/keys.ts';
import { costOfExactPayments, payments } from '../../src/payments/fees/spending.ts';
import { type Structure, structureAt } from '../../src/payments/fees/structure.ts';
import { feeTable } from '../../src/payments/fees/table.ts';
import { EvaluationOut, renderEvaluation } from '../../src/payments/fees/wire.ts';
import type { Json } from '../harness/client.ts';
import { DEMO, modern, old, older, template } from './fee-structures.ts';

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

// REQ X0
test('whatever stands anywhere in a document, it is evaluated or refused with a place that is there', () => {
  const places = (value: Json, path: string[] = []): string[][] =>
    typeof value !== 'object' || value === null
      ? [path]
      : [path, ...Object.entries(value).flatMap(([name, inner]) => places(inner, [...path, name]))];
  const tariff = { currency: 'EUR', coins: [...template.coins.slice(0, 2)] };
  const documents = [modern(tariff, [DEMO], { wire_fees: { iban: [] }, global_fees: [] }), old(tariff), older(tariff)];
  const odd = fc.constantFrom<Json>(
    ...[undefined, null, '', 'EUR:0', 'EUR:5', 'USD:5', 'never', '/never/', { t_s: 'never' }],
  );
  const value = fc.oneof(odd, fc.record({ t_ms: fc.nat() }), fc.jsonValue({ maxDepth: 3 }));
  const spoiled = fc
    .constantFrom(...documents)
    .chain((document) =>
      fc.record({ document: fc.constant(document), path: fc.constantFrom(...places(document)), value }),
    );
  const replaced = (at: Json, [name, ...more]: string[], by: Json): Json =>
    name === undefined
      ? by
      : Object.assign(Array.isArray(at) ? [...at] : { ...at }, { [name]: replaced(at[name], more, by) });
  const isThere = (at: Json, [name, ...more]: PropertyKey[]): boolean =>
    name === undefined || (more.length === 0 && at !== undefined) || isThere(at?.[name], more);
  fc.assert(
    fc.property(spoiled, ({ document, path, value: by }) => {
      const written = replaced(document, path, by);
      const read = KeysIn.safeParse(written);
      if (!read.success) {
        expect(read.error.issues.length).toBeGreaterThan(0);
        for (const issue of read.error.issues) expect(isThere(written, issue.path), issue.path.join('/')).toBe(true);
        return;
      }
      const result = evaluate(read.data, usualOptions(DEMO.start * 1000));
      if (typeof result === 'string') return;
      const body = renderEvaluation(result);
      expect(EvaluationOut.parse(body)).toEqual(body);
      expect(feeTable(body).filter((line) => line.length > 80)).toEqual([]);
    }),
    { numRuns: 2_000 },
  );
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

describe('four times as many denominations are hardly more than four times the work', () => {
  const sizes = [2_000, 8_000] as const;
  const GROWTH = 6; // n log n: 4.7; n²: 16
  let looks = 0;
  /** A bigint that counts how often it is looked at. */
  const counting = (units: number) => {
    const look = () => {
      looks += 1;
      return BigInt(units);
    };
    return { valueOf: look, toString: () => String(look()) } as unknown as bigint;
  };
  const growth = (work: (n: number) => void) => {
    const [few = 0, many = 0] = sizes.map((n) => {
      looks = 0;
      work(n);
      expect(looks).toBeGreaterThan(n);
      return looks;
    });
    return many / few;
  };

  test('of an evaluation', () => {
    const evaluation = (n: number) => {
      const list = Array.from({ length: n }, (_, i) => ({
        ...{ value: counting(10 ** 6 + i), withdraw: counting((i * 7919) % 5_000), deposit: counting(1) },
        ...{ refresh: counting(1), refund: counting(1), lost: false },
        ...{ start: 0, expireWithdraw: DAY, expireDeposit: 2 * DAY },
      }));
      expect(typeof evaluate(keysOf(list), usualOptions(0))).toBe('object');
    };
    expect(growth(evaluation)).toBeLessThan(GROWTH);
  });

  test.each([
    ['nothing fits', 1n],
    ['the last one alone fits', 3n],
    ['all fit', 10n ** 9n],
  ])('of making change for each, where %s', (_name, amount) => {
    const change = (n: number) => {
      const makeUp = greedy(Array.from({ length: n }, (_, i) => counting(i === n - 1 ? 2 : 10 ** 6 + i)));
      for (let from = 0; from < n; from += 1) makeUp(amount, from);
    };
    expect(growth(change)).toBeLessThan(GROWTH);
  });
});
