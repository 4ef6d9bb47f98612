import { type Advice, adviceOn } from './advice.ts';
import { type Assurance, assurance } from './assurance.ts';
import { type ChangeInto, changer } from './change.ts';
import type { ExchangeKeys } from './keys.ts';
import { type Measured, measure, upkeepOfAll } from './measure.ts';
import {
  type CostRange,
  costOfExactPayments,
  costOfPaymentsFrom,
  isTriable,
  spendingRange,
  USUAL_COINS,
} from './spending.ts';
import { type Structure, structureAt } from './structure.ts';

/** The metrics of a fee structure: what an exchange's `/keys` mean for whoever withdraws, spends and keeps coins of it. */

export interface EvaluateOptions {
  /** Milliseconds since 1970. */
  at: number;
  /** Coins that one payment may take. */
  coins: number;
  changeInto: ChangeInto;
  /** What getting money back by another way costs, in units of 10⁻⁸. */
  elsewhere: bigint;
  /** Price the payments out of one sum, in units of 10⁻⁸; `null`: each one by itself. */
  withdraw: bigint | null;
}

export const usualOptions = (at: number): EvaluateOptions => ({
  ...{ at, coins: USUAL_COINS, changeInto: 'greedy', elsewhere: 0n, withdraw: null },
});

export interface Evaluation {
  keys: ExchangeKeys;
  options: EvaluateOptions;
  structure: Structure;
  measured: Measured[];
  upkeep: { mean: bigint; worst: Measured };
  assurance: Assurance;
  spending: { least: bigint; most: bigint };
  payments: CostRange;
  advice: Advice[];
}

/** Why a structure, or one with these options, cannot be evaluated. */
export type Unfit = 'all_keys_lost' | 'withdraw_out_of_range';

/** Pure, and n log n in the number of keys. */
export function evaluate(keys: ExchangeKeys, options: EvaluateOptions): Evaluation | Unfit {
  const structure = structureAt(keys, options.at);
  if (!structure) return 'all_keys_lost';
  const change = changer(structure);
  const { withdraw, coins } = options;
  if (withdraw !== null && !isTriable(structure, change, withdraw, coins)) return 'withdraw_out_of_range';
  const measured = measure(structure, change, options);
  const upkeep = upkeepOfAll(measured);
  if (!upkeep) throw new Error('a structure without denominations');
  const assured = assurance(keys, structure, options.at);
  return {
    ...{ keys, options, structure, measured, upkeep, assurance: assured },
    spending: spendingRange(structure, coins),
    payments:
      withdraw === null ? costOfExactPayments(structure, coins) : costOfPaymentsFrom(structure, change, withdraw),
    advice: adviceOn(structure, measured, assured.until > options.at),
  };
}
