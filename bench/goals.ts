import { perSecond, type Results, type Sample } from './rounds.ts';
import { ratiosOf, type Spread, spreadOf } from './statistics.ts';

/** What is promised: ratios, because they mean the same on every machine. */
export interface Goal {
  about: string;
  of: string;
  /** Speed of `of` in terms of this one's; without it, flushes to disk per operation of `of`. */
  to?: string;
  atLeast?: number;
  atMost?: number;
}

const goals: Goal[] = [
  {
    about: 'hot statement through the driver : the same in pgbench',
    of: 'driver-32',
    to: 'pgbench-10',
    atLeast: 0.7,
  },
  { about: 'group committer, 32 in flight : pgbench', of: 'committer-32', to: 'pgbench-10', atLeast: 1.2 },
  { about: 'group committer, 128 in flight : pgbench', of: 'committer-128', to: 'pgbench-10', atLeast: 1.6 },
  { about: 'one hot account : many, 32 in flight', of: 'committer-hot-32', to: 'committer-32', atLeast: 0.8 },
  { about: 'one hot account : many, 128 in flight', of: 'committer-hot-128', to: 'committer-128', atLeast: 0.8 },
  { about: 'one hot account : pgbench on one account', of: 'committer-hot-32', to: 'pgbench-hot-10', atLeast: 3 },
  { about: 'flushes to disk per spend, 32 in flight', of: 'committer-32', atMost: 0.15 },
  { about: 'POST run : Fastify hello world', of: 'run', to: 'hello', atLeast: 0.1 },
  { about: 'POST run : pgbench', of: 'run', to: 'pgbench-10', atLeast: 1 },
  { about: 'GET balance : Fastify hello world', of: 'balance', to: 'hello', atLeast: 0.17 },
  { about: 'POST run of one customer : of many', of: 'run-hot', to: 'run', atLeast: 0.8 },
  { about: 'POST run of a replica without workers : Fastify hello world', of: 'run-api-only', to: 'hello' },
  {
    about: 'POST run of a replica without workers : without the group committer',
    of: 'run-api-only',
    to: 'run-ungrouped',
  },
  { about: 'POST run while the books are audited : not', of: 'run-audited', to: 'run', atLeast: 0.8 },
  { about: 'spend on an old ledger : on a young one', of: 'spend-old', to: 'spend-young', atLeast: 0.8 },
  { about: 'history page of an old ledger : of a young one', of: 'page-old', to: 'page-young', atLeast: 0.7 },
  {
    about: 'spend and dispatch : transfer of pgledger to one account, both in pgbench',
    of: 'pgbench-32',
    to: 'pgledger-one-32',
    atLeast: 4,
  },
  {
    about: 'spend and dispatch : transfer of pgledger between many accounts, both in pgbench',
    of: 'pgbench-32',
    to: 'pgledger-many-32',
  },
  { about: 'spend and dispatch through the committer : pg-boss send', of: 'committer-32', to: 'pg-boss-32' },
  { about: 'spend and dispatch in pgbench : graphile-worker add_job', of: 'pgbench-32', to: 'graphile-worker-32' },
  { about: 'spend and dispatch through the committer : DBOS enqueue', of: 'committer-32', to: 'dbos-32' },
];

/** Neighbours on the machine move a ratio by so much; what lies within is not called a miss. */
const TOLERANCE = 0.15;

export type Verdict = 'met' | 'within tolerance' | 'missed' | 'for information';

export interface Reached extends Goal {
  spread: Spread;
  rounds: number[];
  verdict: Verdict;
}

/** Goals whose subjects had their turns. */
export const reachedBy = (results: Results): Reached[] =>
  goals.flatMap((goal) => {
    const of = results.get(goal.of) ?? [];
    const to = goal.to === undefined ? undefined : (results.get(goal.to) ?? []);
    const rounds = to ? ratiosOf(of.map(perSecond), to.map(perSecond)) : flushesOf(of);
    if (rounds.length === 0) return [];
    const spread = spreadOf(rounds);
    return [{ ...goal, spread, rounds, verdict: judge(goal, spread.median) }];
  });

const flushesOf = (samples: readonly Sample[]) =>
  samples.flatMap(({ fsyncs }) => (fsyncs === undefined ? [] : [fsyncs]));

function judge({ atLeast, atMost }: Goal, value: number): Verdict {
  if (atLeast === undefined && atMost === undefined) return 'for information';
  const isMet = (slack: number) =>
    value >= (atLeast ?? Number.NEGATIVE_INFINITY) * (1 - slack) &&
    value <= (atMost ?? Number.POSITIVE_INFINITY) * (1 + slack);
  if (isMet(0)) return 'met';
  return isMet(TOLERANCE) ? 'within tolerance' : 'missed';
}
