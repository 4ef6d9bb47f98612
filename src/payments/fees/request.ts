import { z } from 'zod';
import { invalidField } from '../../platform/http/problem.ts';
import { AmountIn } from './amounts.ts';
import { type Evaluation, evaluate, usualOptions } from './evaluate.ts';
import { KeysIn } from './keys.ts';

/** What is evaluated, and how. */

const MAX_COINS = 10_000;

export const EvaluateIn = z.strictObject({
  keys: KeysIn.describe("the exchange's `/keys`, as it is; what is not about fees is ignored"),
  at: z.iso
    .datetime({ offset: true, error: 'must be a time such as 2026-01-31T00:00:00Z' })
    .nullable()
    .default(null)
    .describe('now, if it is not said'),
  coins: z.int().min(1).max(MAX_COINS).nullable().default(null).describe('that one payment may take; usually 256'),
  change_into: z
    .enum(['greedy', 'next'])
    .default('greedy')
    .describe('all smaller denominations, or the next one alone'),
  elsewhere: AmountIn.nullable()
    .default(null)
    .describe('what getting money back by another way costs; usually nothing'),
  withdraw: AmountIn.nullable()
    .default(null)
    .describe('price the payments out of one such sum, with change, and not each one by itself'),
});

/** A 422 where the options do not fit the structure. */
export function evaluateRequest({ keys, ...asked }: z.output<typeof EvaluateIn>): Evaluation {
  for (const name of ['elsewhere', 'withdraw'] as const) {
    const { currency } = asked[name] ?? keys;
    if (currency !== keys.currency) throw invalidField(`/${name}`, `must be in ${keys.currency}`);
  }
  const usual = usualOptions(asked.at === null ? Date.now() : Date.parse(asked.at));
  const result = evaluate(keys, {
    at: usual.at,
    coins: asked.coins ?? usual.coins,
    changeInto: asked.change_into,
    elsewhere: asked.elsewhere?.units ?? usual.elsewhere,
    withdraw: asked.withdraw?.units ?? usual.withdraw,
  });
  if (result === 'all_keys_lost') throw invalidField('/keys', 'holds no key that is not lost');
  if (result === 'withdraw_out_of_range')
    throw invalidField(
      '/withdraw',
      'must be 1 to 10 000 times the smallest denomination, and few enough coins to pay with',
    );
  return result;
}
