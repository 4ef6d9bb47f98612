import { z } from 'zod';

/**
 * Amounts as GNU Taler writes them (`KUDOS:1.25`: a currency and at most eight decimals), kept as whole units of 10⁻⁸.
 * Percentages are kept the same way. No fee is ever a floating-point number.
 */

const DECIMALS = 8;
/** Units in one of the currency. */
const ONE = 10n ** BigInt(DECIMALS);
const MAX_WHOLE = 2n ** 52n; // Taler's own bound for what stands before the point
const HUNDRED_PERCENT = 100n * ONE;

export interface Amount {
  currency: string;
  units: bigint;
}

const AMOUNT = /^([A-Za-z]{1,11}):(\d{1,16})(?:\.(\d{1,8}))?$/;
const MESSAGE = 'must be an amount such as EUR:1.25, with at most 8 decimals';

/** `CUR:1.25` → amount. */
export const AmountIn = z
  .string(MESSAGE)
  .regex(AMOUNT, MESSAGE)
  .transform((text, context): Amount => {
    const [, currency = '', whole = '0', fraction = ''] = AMOUNT.exec(text) ?? [];
    if (BigInt(whole) > MAX_WHOLE) context.addIssue({ code: 'custom', message: 'must be at most 2^52' });
    return { currency, units: BigInt(whole) * ONE + BigInt(fraction.padEnd(DECIMALS, '0')) };
  });

/** The shortest decimal of units of 10⁻⁸: `13000000` is `0.13`. */
export function decimal(units: bigint): string {
  const fraction = String(units % ONE).padStart(DECIMALS, '0');
  return `${units / ONE}.${fraction}`.replace(/\.?0+$/, '');
}

/** The nearest whole number to a quotient that is not negative; a half goes up. */
export const quotient = (dividend: bigint, divisor: bigint): bigint => (2n * dividend + divisor) / (2n * divisor);

/** 100 · part / whole in units of 10⁻⁸ percent. */
export const percent = (part: bigint, whole: bigint): bigint => quotient(part * HUNDRED_PERCENT, whole);

export const compare = (a: bigint, b: bigint): number => Number(a > b) - Number(a < b);

/** Of at least one. */
export function leastAndMost(units: bigint[]): { least: bigint; most: bigint } {
  const [least = 0n, ...others] = units.toSorted(compare);
  return { least, most: others.at(-1) ?? least };
}
