import { leastAndMost, percent } from './amounts.ts';
import type { Changer } from './change.ts';
import type { Denomination, Structure } from './structure.ts';

/** Coins that one payment may take: each has to be signed, sent and looked at. */
export const USUAL_COINS = 256;
/** Amounts that are tried one by one when a sum to withdraw is given. */
const MAX_STEPS = 10_000n;

/** X8: amounts are multiples of the smallest denomination, up to so many of the largest. Fees not deducted. */
export const spendingRange = ({ denominations, smallest }: Structure, coins: number) => ({
  least: smallest,
  most: BigInt(coins) * (denominations[0]?.value ?? 0n),
});

/** What a payment costs from end to end, and which part of it are deposit fees, which a merchant may take over. */
interface Cost {
  spent: bigint;
  total: bigint;
  deposit: bigint;
}

export interface CostRange {
  /** `null`: one payment after the other was priced for as much as is withdrawn for it. */
  withdrawn: bigint | null;
  least: bigint;
  most: bigint;
  /** Of the amount spent, in units of 10⁻⁸ percent, and an amount for which it is so. */
  leastPercent: { percent: bigint; at: bigint };
  mostPercent: { percent: bigint; at: bigint };
  /** X10: deposit fees as a part of all fees; `null`: there are no fees. */
  merchant: { least: bigint; most: bigint } | null;
}

/**
 * X9 and X10 for payments of what coins make up exactly, each with coins that are withdrawn for it. Coins add up and so
 * do their fees, so no mix of them has a smaller or larger part of fees than its cheapest or dearest coin: single coins
 * hold the extremes (of one value the first one, which is what is withdrawn). `most` is the dearest fee of a coin for as many as may be paid with, which nothing exceeds; it is
 * reached where the largest coin is the dearest.
 */
export function costOfExactPayments({ denominations }: Structure, coins: number): CostRange {
  const withdrawn = denominations.filter(({ ofValue }, at) => ofValue === at);
  const costs = withdrawn.map(({ value, withdraw, deposit }) => ({
    ...{ spent: value, total: withdraw + deposit, deposit },
  }));
  const range = rangeOf(costs);
  return { ...range, withdrawn: null, most: range.most * BigInt(coins) };
}

/** Whether one amount after the other can be tried for a sum of that size, and all of it be paid at once. */
export function isTriable({ smallest }: Structure, change: Changer, withdrawn: bigint, coins: number): boolean {
  if (withdrawn < smallest || withdrawn / smallest > MAX_STEPS) return false;
  const { pieces, rest } = change.makeUp(withdrawn, 0);
  return pieces.reduce((sum, { count }) => sum + count, rest > 0n ? 1n : 0n) <= BigInt(coins);
}

/** X9 and X10 for all payments out of one sum that is withdrawn at once: one coin of each is spent partly, and changed. */
export function costOfPaymentsFrom(structure: Structure, change: Changer, withdrawn: bigint): CostRange {
  const steps = Number(withdrawn / structure.smallest);
  const spend = payments(structure, change, withdrawn);
  return { ...rangeOf(Array.from({ length: steps }, (_, i) => spend(BigInt(i + 1) * structure.smallest))), withdrawn };
}

/** What payments cost out of coins for `withdrawn`, or the next amount above it that coins can make up. */
export function payments({ denominations }: Structure, change: Changer, withdrawn: bigint): (spent: bigint) => Cost {
  const { pieces, rest } = change.makeUp(withdrawn, 0);
  const held = pieces.map(({ at, count }) => ({ coin: denominations[at] as Denomination, count }));
  const smallest = denominations.at(-1);
  if (rest > 0n && smallest) held.push({ coin: smallest, count: 1n });
  const withdraw = held.reduce((sum, { coin, count }) => sum + count * coin.withdraw, 0n);
  return (spent) => {
    let left = spent;
    let deposit = 0n;
    let partly: Denomination | undefined;
    for (const { coin, count } of held) {
      const { least: used } = leastAndMost([left / coin.value, count]);
      left -= used * coin.value;
      deposit += used * coin.deposit;
      if (used < count) partly = coin; // the smallest one that is not spent: worth more than what is left to pay
    }
    const total = withdraw + deposit;
    if (left === 0n || !partly) return { spent, total, deposit };
    const got = change.refresh(partly, partly.value - left, partly.below);
    return {
      spent,
      total: total + partly.deposit + got.refresh + got.withdraw + got.lost,
      deposit: deposit + partly.deposit,
    };
  };
}

function rangeOf(costs: Cost[]): CostRange {
  const [first, ...others] = costs;
  if (!first) throw new Error('nothing can be paid');
  const dearer = (a: Cost, b: Cost) => a.total * b.spent > b.total * a.spent;
  const cheapest = others.reduce((least, next) => (dearer(least, next) ? next : least), first);
  const dearest = others.reduce((most, next) => (dearer(next, most) ? next : most), first);
  return {
    withdrawn: null,
    ...leastAndMost(costs.map(({ total }) => total)),
    leastPercent: { percent: percent(cheapest.total, cheapest.spent), at: cheapest.spent },
    mostPercent: { percent: percent(dearest.total, dearest.spent), at: dearest.spent },
    merchant: merchantShare(costs),
  };
}

function merchantShare(costs: Cost[]): CostRange['merchant'] {
  const shares = costs.filter(({ total }) => total > 0n).map(({ deposit, total }) => percent(deposit, total));
  return shares.length > 0 ? leastAndMost(shares) : null;
}
