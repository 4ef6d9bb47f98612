import type { Reached } from './goals.ts';
import { perSecond, type Results, type Subject } from './rounds.ts';
import { median, type Spread, spreadOf } from './statistics.ts';

/** What a benchmark found, as JSON keeps it. */
export interface Report {
  at: string;
  options: Record<string, unknown>;
  machine: Record<string, unknown>;
  versions: Record<string, string>;
  settings: Record<string, string>;
  goals: Reached[];
  subjects: Measured[];
  /** Peers that are not here, and why. */
  absent: string[];
  /** Empty, or the benchmark has failed. */
  faults: string[];
}

export interface Measured {
  name: string;
  about: string;
  perSecond: Spread;
  p50Ms?: number;
  p99Ms?: number;
  cpuUs?: number;
  fsyncs?: number;
  notes: Record<string, number>;
  rounds: number[];
}

export const measured = (subjects: readonly Subject[], results: Results): Measured[] =>
  subjects.flatMap(({ name, about }) => {
    const samples = results.get(name) ?? [];
    if (samples.length === 0) return [];
    const rates = samples.map(perSecond);
    const middle = (key: 'p50Ms' | 'p99Ms' | 'cpuUs' | 'fsyncs') => {
      const values = samples.flatMap((sample) => sample[key] ?? []);
      return values.length === 0 ? {} : { [key]: median(values) };
    };
    const noted = [...new Set(samples.flatMap((sample) => Object.keys(sample.notes ?? {})))];
    return [
      {
        ...{ name, about, perSecond: spreadOf(rates), rounds: rates },
        ...{ ...middle('p50Ms'), ...middle('p99Ms'), ...middle('cpuUs'), ...middle('fsyncs') },
        notes: Object.fromEntries(
          noted.map((note) => [note, median(samples.flatMap((sample) => sample.notes?.[note] ?? []))]),
        ),
      },
    ];
  });

const number = (value: number) => (value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3));
const spread = ({ median: middle, min, max }: Spread) => `${number(middle)} (${number(min)}–${number(max)})`;
const targetOf = ({ atLeast, atMost }: Reached) =>
  atLeast !== undefined ? `≥ ${atLeast}` : atMost !== undefined ? `≤ ${atMost}` : '';

export const goalLines = (goals: readonly Reached[], isJudged: boolean): string[] =>
  goals.map((goal) => {
    const verdict = isJudged ? `${goal.verdict.padEnd(16)} ${targetOf(goal).padEnd(7)} ` : '';
    return `${verdict}${spread(goal.spread).padEnd(22)} ${goal.about}`;
  });

/** docs/benchmarks.md. */
export function markdownOf(report: Report): string {
  const { goals, subjects, machine, versions, settings, options, faults, absent } = report;
  return `# Benchmarks

Made by \`npm run bench\` on ${report.at.slice(0, 10)}; do not edit. Only ratios travel from one machine to another: both sides of each
were measured in turns (A B C, A B C, …) on the same machine, and what is given is the median of the ratios of
${options['rounds']} rounds, with the least and the greatest.

${table(
  ['', 'target', 'measured', ''],
  goals.map((goal) => [goal.about, targetOf(goal), spread(goal.spread), goal.verdict]),
)}

After the last round the books were checked: balances, numbers and hash chains recomputed from the transfers, one spend for
every run and one run for every spend, nothing below zero. ${faults.length === 0 ? 'Everything added up.' : `**It did not add up:** ${faults.join('; ')}`}

\`\`\`
${chart(goals)}
\`\`\`

## Each on its own

${table(
  ['', 'what', 'per second', 'p50 ms', 'p99 ms', 'Node µs each', 'flushes each', ''],
  subjects.map((one) => [
    `\`${one.name}\``,
    one.about,
    spread(one.perSecond),
    ...[one.p50Ms, one.p99Ms, one.cpuUs, one.fsyncs].map((value) => (value === undefined ? '' : number(value))),
    notesOf(one),
  ]),
)}
${absent.length === 0 ? '' : `\nNot measured: ${absent.join('; ')}.\n`}
## Where

${table(
  ['', ''],
  Object.entries({ ...machine, ...versions, ...settings }).map(([name, value]) => [name, String(value)]),
)}

## How

- \`npm run bench\` makes a PostgreSQL of its own (or takes \`--database URL\`), applies the product's migrations and fills in
  ${options['accounts']} accounts with credits and workflows. \`npm run bench -- --help\` tells the rest.
- **The hot statement** is \`src/workflows/start-run.sql\`, the file that the server loads. pgbench runs it as it stands: comments
  are left out, and its \`$n\` become pgbench's variables. It checks key, owner, price and version, spends in the
  hash-chained ledger, records and queues the run, and tells it as an event.
- **POST run** goes to \`src/main.ts\` in a process of its own: log on, workers on, default pool; only rate limits are raised.
  The executor never answers, so the queue grows throughout; nothing is deleted between rounds.
- **Latency at 80 %** is taken by a generator that sends at a constant rate and counts from when a request was due.
- Load generator, servers and PostgreSQL share the machine.
`;
}

const notesOf = ({ notes }: Measured) =>
  Object.entries(notes)
    .map(([name, value]) => `${name} ${number(value)}`)
    .join(', ');

const table = (head: string[], rows: string[][]) =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');

const TARGET_AT = 20; // characters
const WIDEST = 50;

/** How far each goal was reached; the line is the target. */
function chart(goals: readonly Reached[]): string {
  const wanted = goals.filter(({ atLeast }) => atLeast !== undefined);
  return wanted
    .map(({ about, spread: { median: value }, atLeast = 1 }) => {
      const length = Math.min(WIDEST, Math.max(1, Math.round((value / atLeast) * TARGET_AT)));
      const bar = [...'█'.repeat(length).padEnd(TARGET_AT + 1)].map((sign, at) => (at === TARGET_AT ? '│' : sign));
      return `${bar.join('').padEnd(WIDEST)} ${number(value).padStart(5)} ${about}`;
    })
    .join('\n');
}
