import { count, money } from '../../platform/http/words.ts';
import type { Json } from '../orders/contract.ts';
import type { Terms } from './purse.ts';
import { shown } from './terminal.ts';

/** What a contract asks for, by each rail that it may be paid by. */

export const RAILS = ['credits', 'omise', 'evm'] as const;
export type PayRail = (typeof RAILS)[number];

/** In the contract's own words; `undefined` when it has no price by that rail. */
export function priceOn(terms: Terms, rail: 'omise' | 'evm'): { [name: string]: Json } | undefined {
  const prices = Array.isArray(terms['prices']) ? terms['prices'] : [];
  return prices.find(
    (one): one is { [name: string]: Json } =>
      typeof one === 'object' && one !== null && !Array.isArray(one) && one['rail'] === rail,
  );
}

/** For people: `40 credits`, `฿20.00 for 40 credits`, or base units of an asset as CAIP-19 names it. */
export function priceBy(terms: Terms, rail: PayRail): string | undefined {
  const credits = count(BigInt(String(terms['amount']).slice('CREDITS:'.length)));
  if (rail === 'credits') return credits;
  const price = priceOn(terms, rail);
  if (price === undefined) return undefined;
  const { amount, currency, asset } = price;
  const isMoney = Number.isSafeInteger(amount) && /^[A-Z]{3}$/.test(String(currency));
  const due =
    rail === 'omise' && isMoney
      ? money(BigInt(Number(amount)), String(currency))
      : `${shown(amount)} base units of ${shown(asset ?? currency)}`;
  return `${due} for ${credits}`;
}
