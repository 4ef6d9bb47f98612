import { describe, expect, test } from 'vitest';
import { type EvaluateOptions, evaluate, usualOptions } from '../../src/payments/fees/evaluate.ts';
import { KeysIn } from '../../src/payments/fees/keys.ts';
import { feeTable } from '../../src/payments/fees/table.ts';
import { renderEvaluation } from '../../src/payments/fees/wire.ts';
import type { Json } from '../harness/client.ts';
import { DEMO, euro, IN_TIME, kudos, modern, old, older, type Tariff, template } from './fee-structures.ts';

/** The figures of fee structures, each worked out by hand. */

function evaluated(keys: Json, more: Partial<EvaluateOptions> = {}) {
  const result = evaluate(KeysIn.parse(keys), { ...usualOptions(IN_TIME), ...more });
  if (typeof result === 'string') throw new Error(result);
  return renderEvaluation(result);
}
type Body = ReturnType<typeof evaluated>;
const of = ({ denominations }: Body, value: string) => {
  const found = denominations.find((one) => one.value.split(':')[1] === value);
  if (!found) throw new Error(`there is no ${value}`);
  return found;
};
const DAY = 86_400;

// REQ X1 X2 X3
describe('each denomination: whether its gap is fine, and what it costs of its value', () => {
  // value, directly, changed, changed and spent (in percent); null: nothing smaller; the gap, and the gap as written
  test.each<[string, Tariff, [string, string, string | null, string | null, boolean, boolean][]]>([
    [
      'the demo exchange',
      kudos,
      [
        ['1000', '0.002', '0.112', '0.231', false, false],
        ['10', '0.2', '1.3', '3.2', true, true],
        ['5', '0.4', '2.4', '6.2', true, true],
        ['2', '1', '5.5', '15', true, true],
        ['1', '2', '11', '20', true, true],
        ['0.1', '20', null, null, true, true],
      ],
    ],
    [
      'euro',
      euro,
      [
        ['10', '0.2', '1.7', '3', true, true],
        ['5', '0.4', '3.2', '5.6', true, true],
        ['1', '2', '12', '20', true, true],
        ['0.1', '20', '40', '40', true, true],
        ['0.01', '0', null, null, true, true],
      ],
    ],
    [
      'the template, where 5 passes by the letter alone',
      template,
      [
        ['1000', '0.002', '0.138', '0.277', false, false],
        ['10', '0.2', '4.8', '9.7', true, true],
        ['5', '0.4', '9.4', '19.2', false, true],
        ['0.1', '20', null, null, true, true],
      ],
    ],
  ])('%s', (_name, tariff, expected) => {
    const { denominations } = evaluated(modern(tariff));
    expect(
      denominations.map((one) => [
        one.value.split(':')[1],
        one.direct.percent,
        one.change?.percent ?? null,
        one.change?.percent_to_the_end ?? null,
        one.reasonable,
        one.reasonable_as_written,
      ]),
    ).toEqual(expected);
  });

  test('the whole structure is reasonable when all of it is', () => {
    expect(evaluated(modern(euro)).structure).toMatchObject({ reasonable: true, reasonable_as_written: true });
    expect(evaluated(modern(template)).structure).toMatchObject({ reasonable: false, reasonable_as_written: false });
    const letter = { ...template, coins: template.coins.filter(([value]) => value !== '1000') };
    expect(evaluated(modern(letter)).structure).toMatchObject({ reasonable: false, reasonable_as_written: true });
  });
});

// REQ X2 X3 X4 X5 X6
test('ten KUDOS, in every figure', () => {
  expect(of(evaluated(modern(kudos)), '10')).toEqual({
    value: 'KUDOS:10',
    keys: 1,
    fees: { withdraw: 'KUDOS:0.01', deposit: 'KUDOS:0.01', refresh: 'KUDOS:0.01', refund: 'KUDOS:0.01' },
    reasonable: true,
    reasonable_as_written: true,
    direct: { cost: 'KUDOS:0.02', percent: '0.2' },
    change: {
      ...{ coins: '11', cost: 'KUDOS:0.13', percent: '1.3', lost: 'KUDOS:0.08' },
      ...{ cost_to_the_end: 'KUDOS:0.32', percent_to_the_end: '3.2' },
    },
    refund: { fair: true, cost: 'KUDOS:0.21', fair_with_refresh: false },
    window_s: 730 * DAY,
    upkeep: {
      ...{ cost_per_cycle: 'KUDOS:0.2', percent_per_cycle: '2' },
      ...{ cycle_s: 78_840_000, percent_per_year: '0.8' },
    },
  });
});

test.each(Object.entries({ kudos, euro, template }))(
  'the old spellings of the document say the same: %s',
  (_name, tariff) => {
    const today = evaluated(modern(tariff));
    expect(evaluated(old(tariff))).toEqual(today);
    expect(evaluated(older(tariff))).toEqual(today);
  },
);

// REQ X3
describe('change', () => {
  test('into the next smaller denomination alone', () => {
    // 9.99 is one coin of 5.01, and 4.98 is lost.
    expect(of(evaluated(modern(kudos), { changeInto: 'next' }), '10').change).toEqual({
      ...{ coins: '1', cost: 'KUDOS:0.03', percent: '0.3', lost: 'KUDOS:4.98' },
      ...{ cost_to_the_end: 'KUDOS:5.02', percent_to_the_end: '50.2' },
    });
  });

  test('where the fee takes all of the coin, all of it is lost', () => {
    for (const fee of ['2', '7']) {
      const tariff: Tariff = {
        currency: 'EUR',
        coins: [
          ['2', '0.5', '0', fee, '0'],
          ['1', '0', '0', '0', '0'],
        ],
      };
      expect(of(evaluated(modern(tariff)), '2')).toMatchObject({
        change: { coins: '0', cost: 'EUR:2.5', percent: '125', lost: 'EUR:0', cost_to_the_end: 'EUR:2.5' },
        upkeep: { cost_per_cycle: 'EUR:2', percent_per_cycle: '100' },
      });
    }
  });

  test('of two denominations of one value the cheaper one is taken', () => {
    const coins: Tariff['coins'] = [
      ['10', '0', '0', '0', '0'],
      ['1', '0.5', '0', '0', '0'],
      ['1', '0.25', '0.125', '0', '0'],
    ];
    const body = evaluated(modern({ currency: 'EUR', coins }));
    expect(body.denominations.map(({ value, fees }) => [value, fees.withdraw])).toEqual([
      ['EUR:10', 'EUR:0'],
      ['EUR:1', 'EUR:0.25'],
      ['EUR:1', 'EUR:0.5'],
    ]);
    // 10 / 1.25 = 8
    expect(of(body, '10').change).toMatchObject({ coins: '8', cost: 'EUR:2', lost: 'EUR:0', cost_to_the_end: 'EUR:3' });
  });

  test('amounts of the smallest unit and of the largest value stay exact', () => {
    const coins: Tariff['coins'] = [
      ['4503599627370496', '0.00000001', '0', '0', '0'],
      ['0.00000003', '0', '0', '0', '0'],
    ];
    const body = evaluated(modern({ currency: 'BIG', coins }));
    // 450359962737049600000000 = 3 · 150119987579016533333333 + 1
    expect(of(body, '4503599627370496').change).toMatchObject({
      ...{ coins: '150119987579016533333333', cost: 'BIG:0.00000001', percent: '0', lost: 'BIG:0.00000001' },
    });
  });
});

// REQ X4
describe('a refund', () => {
  test('is fair while it costs no more than withdrawing and spending once more', () => {
    const coins = (refund: string): Tariff => ({ currency: 'EUR', coins: [['1', '0.02', '0.03', '0', refund]] });
    expect(of(evaluated(modern(coins('0.05'))), '1').refund.fair).toBe(true);
    expect(of(evaluated(modern(coins('0.05000001'))), '1').refund).toEqual({
      ...{ fair: false, cost: null, fair_with_refresh: null },
    });
  });

  test('with the refresh that makes it of use again, while another way costs no less', () => {
    const fair = (elsewhere: bigint) => of(evaluated(modern(kudos), { elsewhere }), '10').refund.fair_with_refresh;
    expect(fair(20_000_000n)).toBe(true); // 0.21 ≤ 0.01 + 0.20
    expect(fair(19_999_999n)).toBe(false);
  });
});

// REQ X0
describe('advice', () => {
  const codes = (body: Body) => body.advice.map(({ code }) => code);
  test('fees of the smallest denomination are nothing or one of it, and others multiples of it', () => {
    expect(evaluated(modern(euro)).structure).toMatchObject({ smallest_fees_fit: true, fees_are_multiples: true });
    // `test-fee-regression.ts` of the wallet: 0.01 to 1.28, and a deposit fee below the smallest coin.
    const powers = Array.from({ length: 8 }, (_, i) => String(2 ** i / 100));
    const regression: Tariff = {
      currency: 'TESTKUDOS',
      coins: powers.map((value) => [value, '0.01', '0.0025', '0.01', '0.01']),
    };
    const body = evaluated(modern(regression));
    expect(body.structure).toMatchObject({ smallest_fees_fit: false, fees_are_multiples: false, reasonable: true });
    expect(codes(body)).toEqual(expect.arrayContaining(['smallest_fee_unlike_it', 'fee_cannot_be_paid_out']));
  });

  test('names what it is about, ten of them at most, and forbids nothing', () => {
    const [gap] = evaluated(modern(template)).advice;
    expect(gap).toEqual({
      code: 'gap_below',
      detail: 'The next smaller denomination is less than a tenth of it: its change takes many coins.',
      count: 2,
      values: ['EUR:1000', 'EUR:5'],
    });
    const values = Array.from({ length: 40 }, (_, i) => String((i + 1) * 7));
    const many = evaluated(modern({ currency: 'EUR', coins: values.map((value) => [value, '0', '0', '0', '1']) }));
    expect(codes(many)).toContain('many_denominations');
    const refunds = many.advice.find(({ code }) => code === 'refund_dearer_than_paying_again');
    expect([refunds?.count, refunds?.values.length]).toEqual([40, 10]);
  });

  test('has nothing to say of a structure without fees, in even steps, that is known for long', () => {
    const coins: Tariff['coins'] = ['10', '5', '2', '1'].map((value) => [value, '0', '0', '0', '0']);
    const body = evaluated(modern({ currency: 'EUR', coins }));
    expect(body.advice).toEqual([]);
    expect(body.structure.upkeep.percent_per_year).toBe('0');
    expect(body.structure.merchant_percent).toBeNull();
  });
});

const stamps = (start: number, withdraw: number, deposit: number) => ({
  ...{ start: DEMO.start + start * DAY, withdraw: DEMO.start + withdraw * DAY },
  ...{ deposit: DEMO.start + deposit * DAY, legal: DEMO.start + (deposit + 1) * DAY },
});
const at = (day: number) => ({ at: (DEMO.start + day * DAY) * 1000 });

// REQ X5
test('the window is the shortest of all keys', () => {
  const keys = modern(euro, [stamps(0, 100, 300), stamps(50, 200, 230), stamps(200, 300, 900)]);
  expect(evaluated(keys).structure.window_s).toBe(30 * DAY);
  keys.denominations[0].denoms[1].stamp_expire_deposit = { t_s: 'never' };
  keys.denominations[0].denoms[1].stamp_expire_legal = { t_s: 'never' };
  expect(evaluated(keys).denominations.map(({ window_s }) => window_s)).toEqual(
    [30, 30, 30, 30, 200].map((days) => days * DAY), // the smallest one is the first of the document
  );
});

// REQ X6
describe('upkeep', () => {
  test('keys that live longer are refreshed less often', () => {
    // 100 to 300 days: on average 150 and 250 until refreshed, 200 together
    const keys = modern(euro, [stamps(0, 100, 300), stamps(0, 100, 500)]);
    expect(of(evaluated(keys), '10').upkeep).toEqual({
      ...{ cost_per_cycle: 'EUR:0.16', percent_per_cycle: '1.6', cycle_s: 200 * DAY },
      percent_per_year: '2.92', // 1.6 · 365 / 200
    });
  });

  test('of the structure: weighted by value, and the worst', () => {
    // (1.2 + 0.2 + 0.2 + 0.2 + 0.1 + 0.1) / 1018.1 in 2.5 years
    const { structure } = evaluated(modern(kudos));
    expect(structure.upkeep).toEqual({
      ...{ percent_per_year: '0.07857774', worst: { value: 'KUDOS:0.1', percent_per_year: '40' } },
    });
  });

  test('a coin that never expires costs nothing to keep', () => {
    const keys = modern(euro);
    for (const { denoms } of keys.denominations)
      for (const key of denoms) key.stamp_expire_deposit = key.stamp_expire_legal = { t_s: 'never' };
    const { structure, denominations } = evaluated(keys);
    expect(structure.upkeep.percent_per_year).toBe('0');
    expect(denominations.every(({ upkeep }) => upkeep.cycle_s === null && upkeep.percent_per_year === '0')).toBe(true);
    expect(structure.window_s).toBeNull();
  });
});

// REQ X7
describe('assurance: how long the fees are known', () => {
  const assurance = (keys: Json, day: number) => evaluated(keys, at(day)).structure.assurance;
  const fees = (from: number, to: number) => ({
    ...{ wire_fee: 'EUR:0.1', closing_fee: 'EUR:0.2', sig: 'X' },
    ...{ start_date: { t_s: DEMO.start + from * DAY }, end_date: { t_s: DEMO.start + to * DAY } },
  });

  test('to the end of the last key that follows without a gap, of the value that ends first', () => {
    const keys = modern(euro, [stamps(0, 100, 300), stamps(150, 300, 900), stamps(90, 150, 300)]);
    expect(assurance(keys, 10)).toEqual({ seconds: 290 * DAY, ends_with: 'denominations' });
    keys.denominations[2].denoms.splice(2);
    expect(assurance(keys, 10), 'from day 100 to 150 nothing covers it').toMatchObject({ seconds: 90 * DAY });
    expect(assurance(keys, 100), 'the end is not in it any more').toMatchObject({ seconds: 0 });
    expect(assurance(keys, 150)).toMatchObject({ seconds: 150 * DAY });
  });

  test('ends with wire fees, of the method that ends first, or with global fees', () => {
    const wire = { iban: [fees(100, 250), fees(0, 100)], 'x-taler-bank': [fees(0, 200), fees(201, 400)] };
    const keys = (more: object) => modern(euro, [stamps(0, 300, 900)], more);
    expect(assurance(keys({ wire_fees: wire }), 10)).toEqual({ seconds: 190 * DAY, ends_with: 'wire_fees' });
    const global = [fees(0, 20), fees(20, 50)];
    expect(assurance(keys({ wire_fees: wire, global_fees: global }), 10)).toEqual({
      ...{ seconds: 40 * DAY, ends_with: 'global_fees' },
    });
    expect(assurance(keys({ wire_fees: { iban: [] }, global_fees: [] }), 10)).toMatchObject({ seconds: 290 * DAY });
    expect(evaluated(keys({ wire_fees: wire })).structure.fees).toMatchObject({
      ...{ wire: { least: 'EUR:0.1', most: 'EUR:0.1' }, closing: { least: 'EUR:0.2', most: 'EUR:0.2' } },
    });
  });

  test('is nothing while a value can only be withdrawn later', () => {
    const keys = modern(euro, [stamps(0, 300, 900)]);
    keys.denominations[1].denoms[0].stamp_start = { t_s: DEMO.start + 20 * DAY };
    const body = evaluated(keys, at(10));
    expect(body.structure.assurance.seconds).toBe(0);
    expect(body.advice.map(({ code }) => code)).toContain('not_assured');
  });

  test('is without end where everything is', () => {
    const keys = modern(euro);
    for (const { denoms } of keys.denominations)
      for (const key of denoms)
        key.stamp_expire_withdraw = key.stamp_expire_deposit = key.stamp_expire_legal = { t_s: 'never' };
    expect(assurance(keys, 10).seconds).toBeNull();
  });
});

describe('which keys count', () => {
  test('those that are lost do not, and those that can no longer be withdrawn do not', () => {
    const keys = modern(kudos, [stamps(0, 100, 300), stamps(100, 200, 400)]);
    keys.denominations[0].denoms[0].lost = true;
    keys.denominations[0].denoms[1].lost = true;
    const body = evaluated(keys, at(120));
    expect(body.keys).toEqual({ listed: 12, lost: 2, over: 5 });
    expect(body.denominations.map(({ value, keys: count }) => [value, count])).toEqual(
      ['10', '5', '2', '1', '0.1'].map((value) => [`KUDOS:${value}`, 1]),
    );
    expect(body.current).toBe(true);
  });

  test('a structure that is over is measured as it was, and says so', () => {
    const body = evaluated(modern(kudos), at(5_000));
    expect(body.current).toBe(false);
    expect(of(body, '10').change?.percent).toBe('1.3');
    expect(body.structure.assurance.seconds).toBe(0);
    expect(body.advice[0]?.code).toBe('not_current');
  });

  test('time slices of one denomination are one denomination', () => {
    const slices = Array.from({ length: 50 }, (_, i) => stamps(i * 10, i * 10 + 10, i * 10 + 210));
    const { denominations } = evaluated(modern(kudos, slices), at(0));
    expect(denominations.map(({ keys }) => keys)).toEqual(Array(6).fill(50));
  });
});

// REQ X8 X9 X10
describe('payments', () => {
  test('from one of the smallest coins to as many of the largest as one payment may take', () => {
    expect(evaluated(modern(kudos)).structure.spending).toEqual({
      ...{ least: 'KUDOS:0.1', most: 'KUDOS:256000', step: 'KUDOS:0.1', coins: 256 },
    });
    expect(evaluated(modern(kudos), { coins: 3 }).structure.spending.most).toBe('KUDOS:3000');
  });

  test('each by itself: a single coin is the cheapest and the dearest', () => {
    expect(evaluated(modern(kudos)).structure).toMatchObject({
      payments: {
        ...{ withdrawn: null, least: 'KUDOS:0.02', most: 'KUDOS:5.12' },
        least_percent: { percent: '0.002', at: 'KUDOS:1000' },
        most_percent: { percent: '20', at: 'KUDOS:0.1' },
      },
      merchant_percent: { least: '50', most: '50' },
    });
    expect(evaluated(modern(euro)).structure.payments).toMatchObject({
      least: 'EUR:0',
      least_percent: { percent: '0', at: 'EUR:0.01' },
    });
  });

  test('out of one sum that was withdrawn: with change for the rest of a coin', () => {
    // Of a coin of 10, s is paid: 0.01 to withdraw, 0.01 to deposit, and the change of 10 − s. With 9.9 left: 9.89 is
    // 5.01, 2 · 2.01, and 0.86 = 7 · 0.11 + 0.09: 0.01 + 10 · 0.01 + 0.09 = 0.20. With 0.1 left: 0.09 buys no coin.
    const tenKudos = evaluated(modern(kudos), { withdraw: 1_000_000_000n }).structure;
    expect(tenKudos.payments).toMatchObject({
      withdrawn: 'KUDOS:10',
      least: 'KUDOS:0.02', // all of it
      most_percent: { percent: '220', at: 'KUDOS:0.1' },
      least_percent: { percent: '0.2', at: 'KUDOS:10' },
    });
    expect(tenKudos.merchant_percent?.most).toBe('50');
  });

  test('out of a sum that coins cannot make up: the next amount above it', () => {
    const coins: Tariff['coins'] = [['3', '0', '0.5', '0', '0']];
    // 4 takes two coins of 3. Spending 3: one of them. There is nothing smaller than 3 to pay.
    expect(evaluated(modern({ currency: 'EUR', coins }), { withdraw: 400_000_000n }).structure.payments).toMatchObject({
      ...{ least: 'EUR:0.5', most: 'EUR:0.5' },
    });
  });

  test('the merchant may take over deposit fees only', () => {
    const coins: Tariff['coins'] = [
      ['10', '0.01', '0.03', '0', '0'],
      ['1', '0.02', '0.01', '0', '0'],
      ['0.5', '0', '0', '0', '0'],
    ];
    expect(evaluated(modern({ currency: 'EUR', coins })).structure.merchant_percent).toEqual({
      ...{ least: '33.33333333', most: '75' },
    });
  });
});

test('the table for people fits 80 columns, for the smallest and the dearest of coins, too', () => {
  const coins: Tariff['coins'] = [['0.00000001', '4503599627370496', '1', '1', '1']];
  for (const tariff of [{ currency: 'ABCDEFGHIJK', coins }, kudos, euro, template]) {
    const lines = feeTable(evaluated(modern(tariff), at(5_000)));
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
    expect(lines.join('\n')).not.toMatch(/undefined|NaN|Infinity/);
    expect(lines).toContain('fees known  not at this time (denominations)');
  }
});
