import type { Measured } from './measure.ts';
import type { Denomination, Structure } from './structure.ts';

/**
 * X0: what an informed person would want to know before using the exchange. Nothing here forbids anything: whoever
 * knows of it may accept it.
 */

const MANY_VALUES = 32; // powers of two from a cent to ten million are 30; every further value divides the crowd
const NAMED = 10;

export const advices = {
  not_current: 'Nothing can be withdrawn any more: this is what the structure once was.',
  not_assured: 'Some part of the structure has no fees, or cannot be withdrawn, at this time.',
  gap_below: 'The next smaller denomination is less than a tenth of it: its change takes many coins.',
  smallest_fee_unlike_it: 'A fee of the smallest denomination is neither nothing nor just that denomination.',
  fee_cannot_be_paid_out: 'A fee is no multiple of the smallest denomination: what is left cannot be held in coins.',
  value_cannot_be_made_up: 'The value is no multiple of the smallest denomination.',
  fee_eats_coin: 'The fee for refreshing leaves nothing of the coin.',
  refund_dearer_than_paying_again: 'The fee for a refund is higher than those for withdrawing and spending once more.',
  many_denominations: `There are more than ${MANY_VALUES} values: the rarer a coin, the less it hides among others.`,
} as const;

export interface Advice {
  code: keyof typeof advices;
  /** Of how many denominations it holds; 0: of the structure. */
  count: number;
  /** Values of the first of them, in units of 10⁻⁸. */
  values: bigint[];
}

const feesOf = ({ withdraw, deposit, refresh, refund }: Denomination) => [withdraw, deposit, refresh, refund];

/** X1, F1b: fees of the smallest denomination can be paid with one coin of it, or are nothing. */
export const smallestFeesFit = ({ denominations, smallest }: Structure): boolean =>
  denominations.every((one) => one.value !== smallest || feesOf(one).every((fee) => fee === 0n || fee === smallest));

export const feesAreMultiples = ({ denominations, smallest }: Structure): boolean =>
  denominations.every((one) => feesOf(one).every((fee) => fee % smallest === 0n));

export function adviceOn(structure: Structure, measured: Measured[], isAssured: boolean): Advice[] {
  const { smallest, current, denominations } = structure;
  const values = new Set(denominations.map(({ value }) => value));
  const whole = (code: Advice['code'], holds: boolean): Advice[] => (holds ? [{ code, count: 0, values: [] }] : []);
  const some = (code: Advice['code'], holds: (one: Measured) => boolean): Advice[] => {
    const found = measured.filter(holds);
    return found.length > 0
      ? [{ code, count: found.length, values: found.slice(0, NAMED).map(({ one }) => one.value) }]
      : [];
  };
  return [
    ...whole('not_current', !current),
    ...whole('not_assured', current && !isAssured),
    ...some('gap_below', ({ reasonable }) => !reasonable),
    ...whole('smallest_fee_unlike_it', !smallestFeesFit(structure)),
    ...some('fee_cannot_be_paid_out', ({ one }) => feesOf(one).some((fee) => fee % smallest !== 0n)),
    ...some('value_cannot_be_made_up', ({ one }) => one.value % smallest !== 0n),
    ...some('fee_eats_coin', ({ one }) => one.refresh >= one.value),
    ...some('refund_dearer_than_paying_again', ({ refund }) => !refund.fairlySimple),
    ...whole('many_denominations', values.size > MANY_VALUES),
  ];
}
