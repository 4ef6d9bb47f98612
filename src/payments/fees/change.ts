import { leastAndMost } from './amounts.ts';
import type { Denomination, Structure } from './structure.ts';

/** Some pieces of one kind: its place in the list, and how many. */
export interface Pieces {
  at: number;
  count: bigint;
}

/** Makes up an amount, from place `from` on; `rest` is what no piece is small enough for. */
export type MakeUp = (amount: bigint, from: number) => { pieces: Pieces[]; rest: bigint };

/**
 * Greedily, first come first taken, as wallets do. Each step finds the next piece that is not too dear in a tree of least
 * costs and takes what is left modulo its cost, which is less than half of it: n log n for a whole list, whatever the costs.
 */
export function greedy(costs: bigint[]): MakeUp {
  const { length } = costs;
  const size = 2 ** Math.ceil(Math.log2(Math.max(1, length)));
  const tree: (bigint | undefined)[] = [...Array<undefined>(size), ...costs];
  const fits = (node: number, amount: bigint) => {
    const cost = tree[node];
    return cost !== undefined && cost <= amount;
  };
  for (let node = size - 1; node > 0; node -= 1) {
    const [left, right] = [tree[2 * node], tree[2 * node + 1]];
    tree[node] = left === undefined || (right !== undefined && right < left) ? right : left;
  }
  const firstThatFits = (from: number, amount: bigint): number => {
    let node = from + size;
    while (!fits(node, amount)) {
      while (node % 2 === 1) node = (node - 1) / 2; // the right one of a pair: nothing is beside it
      if (node === 0) return length;
      node += 1;
    }
    while (node < size) node = 2 * node + (fits(2 * node, amount) ? 0 : 1);
    return node - size;
  };
  return (amount, from) => {
    const pieces: Pieces[] = [];
    let rest = amount;
    for (let at = from; at < length; at += 1) {
      at = firstThatFits(at, rest);
      const cost = costs[at];
      if (cost === undefined) break;
      pieces.push({ at, count: rest / cost });
      rest %= cost;
    }
    return { pieces, rest };
  };
}

/** What comes of a coin, or the rest of one, that is refreshed. */
export interface Change {
  /** For refreshing; never more than there was. */
  refresh: bigint;
  coins: bigint;
  /** For withdrawing the new coins. */
  withdraw: bigint;
  /** For spending them all. */
  deposit: bigint;
  /** Too little for any coin. */
  lost: bigint;
}

/** `greedy`: into all smaller coins. `next`: into those of the next smaller value alone. */
export type ChangeInto = 'greedy' | 'next';

export interface Changer {
  /** Refreshes `amount` of a coin into the denominations from place `from` on. */
  refresh(coin: Denomination, amount: bigint, from: number, into?: ChangeInto): Change;
  /** Makes up an amount of whole coins, as if they were free. */
  makeUp: MakeUp;
}

export function changer({ denominations }: Structure): Changer {
  const withdrawing = greedy(denominations.map(({ value, withdraw }) => value + withdraw));
  const onlyNext = (amount: bigint, at: number): ReturnType<MakeUp> => {
    const next = denominations[at];
    const cost = next ? next.value + next.withdraw : 0n;
    return cost > 0n && cost <= amount
      ? { pieces: [{ at, count: amount / cost }], rest: amount % cost }
      : { pieces: [], rest: amount };
  };
  const total = (pieces: Pieces[], fee: (one: Denomination) => bigint) =>
    pieces.reduce((sum, { at, count }) => sum + count * fee(denominations[at] as Denomination), 0n);
  return {
    makeUp: greedy(denominations.map(({ value }) => value)),
    refresh: (coin, amount, from, into = 'greedy') => {
      const { least: refresh } = leastAndMost([coin.refresh, amount]);
      const { pieces, rest } = (into === 'next' ? onlyNext : withdrawing)(amount - refresh, from);
      return {
        refresh,
        coins: total(pieces, () => 1n),
        withdraw: total(pieces, ({ withdraw }) => withdraw),
        deposit: total(pieces, ({ deposit }) => deposit),
        lost: rest,
      };
    },
  };
}
