import { readFileSync } from 'node:fs';
import type { Balances } from '../credits/index.ts';
import { payWith } from '../payments/index.ts';
import type { Db, Sql } from '../platform/database/clients.ts';
import { createGroupCommitter, type GroupCommitter, type Order } from '../platform/database/group-committer.ts';
import { runHot, type Statement } from '../platform/database/statement.ts';
import { failpoint } from '../platform/failpoints.ts';
import { sqlState } from '../platform/http/failures.ts';
import { type FieldError, Problem } from '../platform/http/problem.ts';
import { amount } from '../platform/http/wire.ts';
import { newId } from '../platform/ids.ts';
import type { Log } from '../platform/log.ts';
import type { Metrics } from '../platform/metrics.ts';
import { type Begun, startByTerms } from './asks/start.ts';
import type { Definition, Definitions } from './definitions.ts';
import { type AcceptedRun, acceptedBefore, isKeyTaken } from './runs.ts';

/** The order to run a workflow, as the client sent it. */
export interface RunOrder {
  accountId: string;
  workflowId: string;
  key: string;
  requestHash: Buffer;
  input: Record<string, unknown>;
  expectedCost: bigint | null;
  /** What the client says of its payment: then the run is paid by an ask. */
  payment?: 'upfront' | 'after' | undefined;
  maxPrice?: bigint | undefined;
  /** See `TermsOrder`. */
  isHeldBack?: boolean | undefined;
  until?: Date | undefined;
  /** It is paid by an ask, also where nothing is said of its payment. */
  isAsked?: boolean | undefined;
}

/** Paid by one statement, or by an ask. */
export type Started = Accepted | Begun;

export interface Accepted {
  run: AcceptedRun;
  balance: Balances;
  replayed: boolean;
}

type Verdict =
  | 'runnable'
  | 'replay'
  | 'key_reused'
  | 'not_found'
  | 'not_owner'
  | 'inactive'
  | 'stale'
  | 'input_invalid'
  | 'price_changed';

interface Answer {
  verdict: Verdict;
  spend: 'posted' | 'insufficient' | null;
  knownRun: string | null;
  cost: bigint | null;
  balance: Balances;
  serviceId: string;
  priceVersion: number;
  /** As it is kept, so that the first reply and its replays are the same bytes. */
  input: unknown;
  createdAt: Date;
  deadlineAt: Date;
}

const sqlFile = (name: string) => readFileSync(new URL(name, import.meta.url), 'utf8');

/** The parameters of start-run.sql, in their order. */
type Row = [
  accountId: string,
  runId: string,
  workflowId: string,
  key: string,
  requestHash: Buffer,
  input: string,
  expectedCost: bigint | null,
  serviceVersion: number,
  workflowVersion: number,
  fits: boolean,
];

const one: Statement<Row, Answer> = { text: sqlFile('./start-run.sql'), parse: ([row]) => answerOf(row ?? {}) };

const many: Statement<(readonly unknown[])[], (Answer | 'busy')[]> = {
  text: sqlFile('./start-runs.sql'),
  parse: (rows) => rows.map((row) => (row['result'] === 'busy' ? 'busy' : answerOf(row))),
};

const answerOf = (row: Record<string, unknown>): Answer => ({
  verdict: row['verdict'] as Verdict,
  spend: row['result'] as Answer['spend'],
  knownRun: row['known_run'] as string | null,
  cost: row['credit_cost'] as bigint | null,
  balance: {
    available: (row['available'] as bigint | null) ?? 0n,
    held: (row['held'] as bigint | null) ?? 0n,
    debt: (row['debt'] as bigint | null) ?? 0n,
  },
  serviceId: row['service_id'] as string,
  priceVersion: row['price_version'] as number,
  input: row['input'],
  createdAt: row['created_at'] as Date,
  deadlineAt: row['deadline_at'] as Date,
});

/** An array for each parameter. (The driver takes an array of bigints or booleans for a single one.) */
const columnsOf = (rows: readonly Row[]) => [
  rows.map(([accountId]) => accountId),
  rows.map(([, runId]) => runId),
  rows.map(([, , workflowId]) => workflowId),
  rows.map(([, , , key]) => key),
  rows.map(([, , , , requestHash]) => requestHash.toString('hex')),
  rows.map(([, , , , , input]) => input),
  rows.map(([, , , , , , expectedCost]) => expectedCost?.toString() ?? null),
  rows.map(([, , , , , , , serviceVersion]) => serviceVersion),
  rows.map(([, , , , , , , , workflowVersion]) => workflowVersion),
  rows.map(([, , , , , , , , , fits]) => Number(fits)),
];

interface Start extends Order {
  row: Row;
}
export type RunCommitter = GroupCommitter<Start, Answer>;

/** Starts of runs, many to a commit; those of one account in the order of their arrival. */
export const createRunCommitter = (sql: Sql, about: { pool: number; metrics: Metrics; log: Log }): RunCommitter =>
  createGroupCommitter<Start, Answer>({
    one: async ({ row }) => {
      await failpoint('workflows.start.before_statement');
      const answer = await runHot(sql, one, row);
      await failpoint('workflows.start.after_commit');
      return answer;
    },
    many: async (starts) => {
      await failpoint('workflows.start.before_group');
      const answers = await runHot(sql, many, columnsOf(starts.map(({ row }) => row)));
      await failpoint('workflows.start.after_group');
      return answers;
    },
    groups: GROUPS,
    alone: Math.max(1, Math.floor((about.pool - GROUPS) / 2)), // reads find a connection, too
    observe: (size) => about.metrics.commitSize.observe(size),
    regroup: (fault) => about.log.warn({ err: fault }, 'a group of runs was refused; they go one by one'),
  });

/** While one waits for the disk, the other works. */
const GROUPS = 2;

const NO_VERSION = 0; // versions begin at 1

/** Tries after the first: a definition that was just changed, or a key that another request is using. */
const RETRIES = 3;

export interface StartRunDeps {
  commits: RunCommitter;
  db: Db;
  definitions: Definitions;
  /** For what a refusal offers. */
  hasWallet: boolean;
}

/** Deducts and starts, or refuses and leaves everything as it was. The same key always leads to the same run. */
export async function startRun(deps: StartRunDeps, order: RunOrder): Promise<Started> {
  for (let tries = 0; ; tries += 1) {
    const answer = await attempt(deps, order);
    if (answer !== 'again') return answer;
    if (tries === RETRIES) throw new Problem('request_in_flight', undefined, { headers: { 'retry-after': '1' } });
  }
}

async function attempt(deps: StartRunDeps, order: RunOrder): Promise<Started | 'again'> {
  const { commits, db, definitions } = deps;
  const definition = await definitions.find(order.workflowId);
  const input = { ...definition?.inputDefaults, ...order.input };
  const errors = definition?.check(input) ?? [];
  const { payment, maxPrice, isAsked } = order;
  if (isAsked || payment !== undefined || maxPrice !== undefined || definition?.isPlain === false)
    return byTerms(deps, order, definition, { value: input, errors });
  const runId = newId();
  const row: Row = [
    order.accountId,
    runId,
    order.workflowId,
    order.key,
    order.requestHash,
    JSON.stringify(input),
    order.expectedCost,
    definition?.serviceVersion ?? NO_VERSION,
    definition?.workflowVersion ?? NO_VERSION,
    errors.length === 0,
  ];
  const answer = await commits.commit({ lane: order.accountId, key: order.key, row }).catch((fault) => {
    if (sqlState(fault)?.constraint === 'runs_key') return 'again' as const;
    throw fault;
  });
  if (answer === 'again') return 'again';
  await failpoint('workflows.start.before_answer');
  if (answer.verdict === 'stale') {
    definitions.forget(order.workflowId);
    return 'again';
  }
  if (answer.verdict === 'replay' && answer.knownRun) {
    const before = await acceptedBefore(db, order.accountId, answer.knownRun);
    // Without a spend it is of a time when the service was paid otherwise.
    return before ? { ...before, replayed: true } : byTerms(deps, order, definition, { value: input, errors });
  }
  if (answer.verdict === 'input_invalid') throw new Problem('input_invalid', undefined, { errors });
  if (answer.verdict !== 'runnable') throw refusal(answer);
  if (answer.spend !== 'posted') {
    // The credits may have gone to this very key: another request with it was first, and this one waited for its lock.
    if (await isKeyTaken(db, order.accountId, order.key)) return 'again';
    throw await paymentRequired(db, answer);
  }
  const { serviceId, priceVersion, createdAt, deadlineAt } = answer;
  const run = {
    id: runId,
    workflowId: order.workflowId,
    serviceId,
    cost: answer.cost ?? 0n,
    priceVersion,
    input: answer.input,
    createdAt,
    deadlineAt,
  };
  return { run, balance: answer.balance, replayed: false };
}

async function byTerms(
  deps: StartRunDeps,
  order: RunOrder,
  definition: Definition | undefined,
  { value, errors }: { value: Record<string, unknown>; errors: FieldError[] },
): Promise<Started | 'again'> {
  const { db, definitions } = deps;
  const begun = await startByTerms(deps, order, definition, { value, isFit: errors.length === 0 });
  if (begun === 'input_invalid') throw new Problem('input_invalid', undefined, { errors });
  if (begun === 'stale') definitions.forget(order.workflowId);
  if (begun === 'stale' || begun === 'again') return 'again';
  if (!('plain' in begun)) return begun;
  const before = await acceptedBefore(db, order.accountId, begun.plain);
  if (!before) throw new Error('a run without its spend');
  return { ...before, replayed: true };
}

function refusal(answer: Answer): Problem {
  switch (answer.verdict) {
    case 'key_reused':
      return new Problem('idempotency_key_reused');
    case 'not_owner':
      return new Problem('not_workflow_owner');
    case 'inactive':
      return new Problem('service_inactive');
    case 'price_changed':
      return new Problem('price_changed', `The workflow costs ${answer.cost} credits.`, {
        extra: { cost: amount(answer.cost ?? 0n) },
      });
    default:
      return new Problem('workflow_not_found');
  }
}

/** 402 that tells how to pay: repeat the request with the same key once the credits are there. */
async function paymentRequired(db: Db, answer: Answer): Promise<Problem> {
  const required = answer.cost ?? 0n;
  const { available } = answer.balance;
  const shortfall = required - available;
  return new Problem('insufficient_credits', `The run costs ${required} credits, ${available} are available.`, {
    extra: {
      required: amount(required),
      available: amount(available),
      shortfall: amount(shortfall),
      currency: 'credit',
      pay_with: await payWith(db, shortfall),
    },
  });
}
