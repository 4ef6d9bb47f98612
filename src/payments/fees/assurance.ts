import type { ExchangeKeys } from './keys.ts';
import type { Structure } from './structure.ts';

/** X7: for how long the fees are known. */
export interface Assurance {
  /** In milliseconds since 1970; `Infinity`: for ever; the time asked about when nothing is assured. */
  until: number;
  /** What ends first. */
  endsWith: 'denominations' | 'wire_fees' | 'global_fees';
}

/**
 * Everything that has a fee must be covered from `at` on without a gap: each value by keys that can be withdrawn, each
 * wire method by its fees, and the global fees, where the list tells those. A value that can only be withdrawn later is
 * not covered now: then nothing is assured.
 */
export function assurance({ wireFees, globalFees }: ExchangeKeys, structure: Structure, at: number): Assurance {
  const keys = structure.denominations.flatMap(({ value, keys: all }) =>
    all.map(({ start, expireWithdraw: end }) => ({ value, start, end })),
  );
  const ends = [
    ...[...Map.groupBy(keys, ({ value }) => value).values()].map((all) => ending('denominations', all)),
    ...[...Map.groupBy(wireFees, ({ method }) => method).values()].map((all) => ending('wire_fees', all)),
    ...(globalFees.length > 0 ? [ending('global_fees', globalFees)] : []),
  ];
  function ending(endsWith: Assurance['endsWith'], periods: { start: number; end: number }[]): Assurance {
    return { endsWith, until: coveredUntil(periods, at) };
  }
  return ends.reduce((first, next) => (next.until < first.until ? next : first));
}

/** End of what the periods cover from `at` on, without a gap; `at` where that is nothing. */
function coveredUntil(periods: { start: number; end: number }[], at: number): number {
  const sorted = periods.toSorted((a, b) => a.start - b.start);
  return sorted.reduce((until, { start, end }) => (start <= until && end > until ? end : until), at);
}
