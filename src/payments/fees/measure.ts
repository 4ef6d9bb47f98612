import { percent, quotient } from './amounts.ts';
import type { ChangeInto, Changer } from './change.ts';
import type { Denomination, Structure } from './structure.ts';

/** What is told of one denomination. Amounts and percentages are units of 10⁻⁸, times are seconds. */
export interface Measured {
  one: Denomination;
  /** X1: the smallest, or there is a smaller one of at least a tenth of it. */
  reasonable: boolean;
  /** The same by the letter of the draft, where a larger one will do, too. */
  reasonableAsWritten: boolean;
  /** X2: to withdraw it and to spend it. */
  direct: bigint;
  /** X3: to withdraw it and to have it changed at once; of the smallest there is no change. */
  change: { coins: bigint; cost: bigint; lost: bigint; toTheEnd: bigint } | null;
  /** X4: what getting it back costs: by itself, and until it is of use again. */
  refund: { fairlySimple: boolean; cost: bigint | null; fairlyStrict: boolean | null };
  /** X5: the shortest time between the end of withdrawing and the end of spending; `null`: without end. */
  windowS: number | null;
  upkeep: Upkeep;
}

/** X6: what it costs to keep a coin that is not spent: it has to be refreshed before it expires, again and again. */
interface Upkeep {
  cost: bigint;
  /** On average, from withdrawing it to refreshing it; `null`: it never expires. */
  cycleS: number | null;
  /** Of 10⁻¹⁶ of its value a year. */
  perYear: bigint;
}

export interface MeasureOptions {
  changeInto: ChangeInto;
  /** What it would cost the merchant's customer to get the money back by another way, in units. */
  elsewhere: bigint;
}

/** X1 to X6 of each denomination, in their order. */
export const measure = (structure: Structure, change: Changer, options: MeasureOptions): Measured[] =>
  structure.denominations.map((one) => ({
    one,
    ...reasonable(structure, one),
    direct: one.withdraw + one.deposit,
    ...changed(structure, one, change, options),
    windowS: secondsOf(Math.min(...one.keys.map(windowOf))),
    upkeep: upkeep(one, change),
  }));

/** Exchanges should have gaps of ten at most between their denominations: else change costs many coins. */
function reasonable({ denominations, smallest }: Structure, { value, below }: Denomination) {
  const next = denominations[below]?.value ?? 0n;
  const isReasonable = value === smallest || 10n * next >= value;
  const isLargest = denominations[0]?.value === value;
  return { reasonable: isReasonable, reasonableAsWritten: isReasonable || !isLargest };
}

function changed(
  { denominations }: Structure,
  one: Denomination,
  change: Changer,
  { changeInto, elsewhere }: MeasureOptions,
): Pick<Measured, 'change' | 'refund'> {
  const fairlySimple = one.refund <= one.withdraw + one.deposit;
  if (one.below === denominations.length)
    return { change: null, refund: { fairlySimple, cost: null, fairlyStrict: null } };
  const got = change.refresh(one, one.value, one.below, changeInto);
  const cost = one.withdraw + got.refresh + got.withdraw;
  const back = one.refund + got.refresh + got.withdraw + got.lost;
  return {
    change: { coins: got.coins, cost, lost: got.lost, toTheEnd: cost + got.lost + got.deposit },
    refund: { fairlySimple, cost: back, fairlyStrict: back <= one.withdraw + elsewhere },
  };
}

const windowOf = ({ expireWithdraw, expireDeposit }: { expireWithdraw: number; expireDeposit: number }) =>
  expireDeposit === Number.POSITIVE_INFINITY ? expireDeposit : expireDeposit - expireWithdraw;

/** Whole seconds of milliseconds; `null` for never. */
export const secondsOf = (ms: number): number | null => (Number.isFinite(ms) ? Math.floor(ms / 1000) : null);

const YEAR_MS = 31_536_000_000n; // 365 days
const PER_YEAR = 10n ** 16n; // so that thousands of rounded shares still add up exactly to eight decimals

/**
 * Into coins of the same value or less: what the exchange offers today it is taken to offer then. Withdrawn at any time
 * of the withdrawal period and refreshed, as wallets do, halfway between its end and that of the coin, it lives on
 * average half of the time from start to end.
 */
function upkeep(one: Denomination, change: Changer): Upkeep {
  const { refresh, withdraw, lost } = change.refresh(one, one.value, one.ofValue);
  const cost = refresh + withdraw + lost;
  const lives = one.keys.map(({ start, expireDeposit }) => expireDeposit - start);
  if (!lives.every(Number.isFinite)) return { cost, cycleS: null, perYear: 0n };
  const twice = lives.reduce((sum, life) => sum + BigInt(life), 0n);
  const count = BigInt(lives.length);
  return {
    cost,
    cycleS: Number(twice / (2n * count * 1000n)),
    perYear: quotient(cost * PER_YEAR * YEAR_MS * 2n * count, one.value * twice),
  };
}

/** Units of 10⁻⁸ percent. */
export const percentPerYear = (perYear: bigint): bigint => percent(perYear, PER_YEAR);

/** X6 of a wallet that holds one of each: the mean weighted by value, and the worst of all. */
export function upkeepOfAll(all: Measured[]): { mean: bigint; worst: Measured } | undefined {
  const [first, ...others] = all;
  if (!first) return undefined;
  const value = all.reduce((sum, { one }) => sum + one.value, 0n);
  const weighted = all.reduce((sum, { one, upkeep: { perYear } }) => sum + one.value * perYear, 0n);
  const worst = others.reduce((most, next) => (next.upkeep.perYear > most.upkeep.perYear ? next : most), first);
  return { mean: quotient(weighted, value), worst };
}
