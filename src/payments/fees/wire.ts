import { z } from 'zod';
import { advices, feesAreMultiples, smallestFeesFit } from './advice.ts';
import { decimal, leastAndMost, percent } from './amounts.ts';
import type { Evaluation } from './evaluate.ts';
import type { Fees } from './keys.ts';
import { type Measured, percentPerYear, secondsOf } from './measure.ts';
import type { CostRange } from './spending.ts';

/** An evaluation as JSON, over HTTP and from the command line alike. */

const amount = z.string().describe('as in `/keys`: currency, colon, at most 8 decimals');
const percentage = z.string().describe('decimal, at most 8 places, the nearest');
const seconds = z.int().nullable().describe('null: without end');
const range = <T extends z.ZodType>(of: T) => z.object({ least: of, most: of });

const DenominationOut = z
  .object({
    value: amount,
    keys: z.int(),
    fees: z.object({ withdraw: amount, deposit: amount, refresh: amount, refund: amount }),
    reasonable: z.boolean().describe('the smallest, or a smaller one is at least a tenth of it'),
    reasonable_as_written: z.boolean().describe('by the letter of the draft, where a larger one will do, too'),
    direct: z.object({ cost: amount, percent: percentage }).describe('to withdraw it and to spend it'),
    change: z
      .object({
        coins: z.string().describe('a whole number'),
        cost: amount,
        percent: percentage,
        lost: amount.describe('too little for any coin'),
        cost_to_the_end: amount.describe('with what is lost, and the fees for spending all of it'),
        percent_to_the_end: percentage,
      })
      .nullable()
      .describe('to withdraw it and have it changed at once; null for the smallest'),
    refund: z.object({
      fair: z.boolean().describe('its fee is not above those for withdrawing and spending once more'),
      cost: amount.nullable().describe('with refreshing the coin, which it needs before it is of use again'),
      fair_with_refresh: z.boolean().nullable().describe('that is not above getting the money back elsewhere'),
    }),
    window_s: seconds.describe('shortest time between the end of withdrawing and the end of spending; null: no end'),
    upkeep: z.object({
      cost_per_cycle: amount,
      percent_per_cycle: percentage,
      cycle_s: seconds.describe('on average, from withdrawing to refreshing; null: never needed'),
      percent_per_year: percentage,
    }),
  })
  .meta({ id: 'DenominationFees' });

export const EvaluationOut = z
  .object({
    object: z.literal('fee_evaluation'),
    currency: z.string(),
    at: z.iso.datetime(),
    current: z.boolean().describe('false: all of it is over, and measured as it was'),
    keys: z.object({ listed: z.int(), lost: z.int(), over: z.int() }),
    structure: z.object({
      reasonable: z.boolean(),
      reasonable_as_written: z.boolean(),
      smallest_fees_fit: z.boolean().describe('each is nothing, or one smallest denomination'),
      fees_are_multiples: z.boolean().describe('of the smallest denomination'),
      window_s: seconds,
      upkeep: z.object({
        percent_per_year: percentage.describe('of one coin of each, weighted by value'),
        worst: z.object({ value: amount, percent_per_year: percentage }),
      }),
      assurance: z.object({
        seconds: seconds.describe('from `at`, for which all fees are known; null: without end'),
        ends_with: z.enum(['denominations', 'wire_fees', 'global_fees']),
      }),
      spending: range(amount).extend({ step: amount, coins: z.int() }),
      payments: range(amount).extend({
        withdrawn: amount.nullable().describe('the sum that all payments are made from; null: each by itself'),
        least_percent: z.object({ percent: percentage, at: amount }),
        most_percent: z.object({ percent: percentage, at: amount }),
      }),
      merchant_percent: range(percentage).nullable().describe('part of all fees that a merchant may take over'),
      fees: z.object({
        withdraw: range(amount),
        deposit: range(amount),
        refresh: range(amount),
        refund: range(amount),
        wire: range(amount).nullable(),
        closing: range(amount).nullable(),
      }),
    }),
    denominations: z.array(DenominationOut),
    advice: z.array(
      z.object({
        code: z.enum(Object.keys(advices) as [keyof typeof advices]),
        detail: z.string(),
        count: z.int().describe('of how many denominations it holds; 0: of the structure'),
        values: z.array(amount).describe('of the first ten'),
      }),
    ),
  })
  .meta({ id: 'FeeEvaluation' });
export type EvaluationBody = z.infer<typeof EvaluationOut>;

export function renderEvaluation(evaluation: Evaluation): EvaluationBody {
  const { keys, options, structure, measured, upkeep, assurance, spending, payments, advice } = evaluation;
  const money = (units: bigint) => `${keys.currency}:${decimal(units)}`;
  const windows = measured.map(({ windowS }) => windowS ?? Number.POSITIVE_INFINITY);
  const shortest = windows.reduce((a, b) => Math.min(a, b));
  return {
    object: 'fee_evaluation',
    currency: keys.currency,
    at: new Date(options.at).toISOString(),
    current: structure.current,
    keys: structure.keys,
    structure: {
      reasonable: measured.every(({ reasonable }) => reasonable),
      reasonable_as_written: measured.every(({ reasonableAsWritten }) => reasonableAsWritten),
      smallest_fees_fit: smallestFeesFit(structure),
      fees_are_multiples: feesAreMultiples(structure),
      window_s: Number.isFinite(shortest) ? shortest : null,
      upkeep: {
        percent_per_year: decimal(percentPerYear(upkeep.mean)),
        worst: {
          value: money(upkeep.worst.one.value),
          percent_per_year: decimal(percentPerYear(upkeep.worst.upkeep.perYear)),
        },
      },
      assurance: { seconds: secondsOf(assurance.until - options.at), ends_with: assurance.endsWith },
      spending: {
        ...{ least: money(spending.least), most: money(spending.most) },
        ...{ step: money(structure.smallest), coins: options.coins },
      },
      ...renderPayments(payments, money),
      fees: feeRanges(evaluation, money),
    },
    denominations: measured.map((one) => renderDenomination(one, money)),
    advice: advice.map(({ code, count, values }) => ({
      ...{ code, detail: advices[code], count, values: values.map(money) },
    })),
  };
}

type Money = (units: bigint) => string;

function renderPayments({ withdrawn, least, most, leastPercent, mostPercent, merchant }: CostRange, money: Money) {
  const share = (one: CostRange['leastPercent']) => ({ percent: decimal(one.percent), at: money(one.at) });
  return {
    payments: {
      ...{ withdrawn: withdrawn === null ? null : money(withdrawn), least: money(least), most: money(most) },
      ...{ least_percent: share(leastPercent), most_percent: share(mostPercent) },
    },
    merchant_percent: merchant && { least: decimal(merchant.least), most: decimal(merchant.most) },
  };
}

function feeRanges({ keys, measured }: Evaluation, money: Money) {
  const spread = (fees: bigint[]) => {
    const { least, most } = leastAndMost(fees);
    return { least: money(least), most: money(most) };
  };
  const ofCoins = (fee: keyof Fees) => spread(measured.map(({ one }) => one[fee]));
  const ofWires = (fee: 'wire' | 'closing') =>
    keys.wireFees.length > 0 ? spread(keys.wireFees.map((one) => one[fee])) : null;
  return {
    ...{ withdraw: ofCoins('withdraw'), deposit: ofCoins('deposit'), refresh: ofCoins('refresh') },
    ...{ refund: ofCoins('refund'), wire: ofWires('wire'), closing: ofWires('closing') },
  };
}

function renderDenomination(measured: Measured, money: Money): z.infer<typeof DenominationOut> {
  const { one, direct, change, refund, upkeep } = measured;
  const share = (part: bigint) => decimal(percent(part, one.value));
  return {
    value: money(one.value),
    keys: one.keys.length,
    fees: {
      ...{ withdraw: money(one.withdraw), deposit: money(one.deposit) },
      ...{ refresh: money(one.refresh), refund: money(one.refund) },
    },
    reasonable: measured.reasonable,
    reasonable_as_written: measured.reasonableAsWritten,
    direct: { cost: money(direct), percent: share(direct) },
    change: change && {
      ...{ coins: String(change.coins), cost: money(change.cost), percent: share(change.cost) },
      lost: money(change.lost),
      ...{ cost_to_the_end: money(change.toTheEnd), percent_to_the_end: share(change.toTheEnd) },
    },
    refund: {
      fair: refund.fairlySimple,
      cost: refund.cost === null ? null : money(refund.cost),
      fair_with_refresh: refund.fairlyStrict,
    },
    window_s: measured.windowS,
    upkeep: {
      ...{ cost_per_cycle: money(upkeep.cost), percent_per_cycle: share(upkeep.cost), cycle_s: upkeep.cycleS },
      percent_per_year: decimal(percentPerYear(upkeep.perYear)),
    },
  };
}
