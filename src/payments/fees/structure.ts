import { compare } from './amounts.ts';
import type { CoinKey, ExchangeKeys, Fees } from './keys.ts';

/** Keys that are worth the same and cost the same: to a person they are one coin, whatever signs it. */
export interface Denomination extends Fees {
  value: bigint;
  keys: CoinKey[];
  /** Place of the first denomination of this value, and of the first one that is worth less. */
  ofValue: number;
  below: number;
}

/** What an exchange offers at a time. */
export interface Structure {
  /** Largest first; of one value the cheapest first. */
  denominations: Denomination[];
  smallest: bigint;
  /** Whether anything can still be withdrawn. If not, the structure is what once was. */
  current: boolean;
  keys: { listed: number; lost: number; over: number };
}

/**
 * The structure at a time: of the keys that are not lost, those that can be withdrawn then or later. A list of which all
 * is over counts as a whole, so that old lists can be measured. `undefined`: every key is lost.
 */
export function structureAt({ coins }: ExchangeKeys, at: number): Structure | undefined {
  const usable = coins.filter(({ lost }) => !lost);
  const offered = usable.filter(({ expireWithdraw }) => expireWithdraw > at);
  const current = offered.length > 0;
  const denominations = collapse(current ? offered : usable);
  const last = denominations.at(-1);
  if (!last) return undefined;
  const keys = { listed: coins.length, lost: coins.length - usable.length, over: usable.length - offered.length };
  return { denominations, smallest: last.value, current, keys };
}

const FIELDS = ['value', 'withdraw', 'deposit', 'refresh', 'refund'] as const;

function collapse(coins: CoinKey[]): Denomination[] {
  const kinds = [...Map.groupBy(coins, (key) => FIELDS.map((field) => key[field]).join()).values()];
  const sorted = kinds
    .flatMap(([first, ...others]) =>
      first ? [{ ...feesOf(first), value: first.value, keys: [first, ...others] }] : [],
    )
    .sort((a, b) => compare(b.value, a.value) || byFees(a, b));
  const places = Map.groupBy(sorted.keys(), (at) => sorted[at]?.value);
  return sorted.map((one) => {
    const ofValue = places.get(one.value)?.[0] ?? 0;
    return { ...one, ofValue, below: ofValue + (places.get(one.value)?.length ?? 0) };
  });
}

const feesOf = ({ withdraw, deposit, refresh, refund }: Fees): Fees => ({ withdraw, deposit, refresh, refund });
const byFees = (a: Fees, b: Fees) =>
  compare(a.withdraw, b.withdraw) ||
  compare(a.deposit, b.deposit) ||
  compare(a.refresh, b.refresh) ||
  compare(a.refund, b.refund);
