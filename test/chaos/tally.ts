import { seeded } from '../../sandbox/omise/faults/random.ts';

/** Draws of one actor: the same for the same seed, whatever the others do meanwhile. */
export interface Dice {
  below(n: number): number;
  between(from: number, to: number): number;
  chance(probability: number): boolean;
  pick<T>(from: readonly T[]): T;
  uuid(): string;
}

export function diceOf(seed: number, actor: number): Dice {
  const random = seeded(seed * 1_000 + actor);
  const below = (n: number) => Math.floor(random() * n);
  return {
    below,
    between: (from, to) => from + below(to - from + 1),
    chance: (probability) => random() < probability,
    pick: (from) => {
      const one = from[below(from.length)];
      if (one === undefined) throw new Error('nothing to pick from');
      return one;
    },
    uuid: () => {
      const hex = Array.from({ length: 32 }, () => below(16).toString(16)).join('');
      return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
    },
  };
}

/** Counts what was done and what came of it; and keeps what must never be. */
export class Tally {
  readonly faults: string[] = [];
  readonly #counts = new Map<string, Map<string, number>>();

  count(what: string, outcome: string): void {
    const row = this.#counts.get(what) ?? new Map<string, number>();
    row.set(outcome, (row.get(outcome) ?? 0) + 1);
    this.#counts.set(what, row);
  }

  fault(text: string): void {
    if (this.faults.length < 50) this.faults.push(text);
  }

  get steps(): number {
    return [...this.#counts.values()].flatMap((row) => [...row.values()]).reduce((sum, n) => sum + n, 0);
  }

  table(): string {
    const rows = [...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1));
    return rows
      .map(([what, row]) => {
        const outcomes = [...row].sort(([a], [b]) => (a < b ? -1 : 1)).map(([outcome, n]) => `${outcome} ${n}`);
        return `  ${what.padEnd(28)} ${outcomes.join(', ')}`;
      })
      .join('\n');
  }
}
