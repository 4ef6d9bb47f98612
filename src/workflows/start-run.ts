import { readFileSync } from 'node:fs';
import type { Balances } from '../credits/index.ts';
import { payWith } from '../payments/index.ts';
import type { Db, Sql } from '../platform/database/clients.ts';
import { runHot, type Statement } from '../platform/database/statement.ts';
import { sqlState } from '../platform/http/failures.ts';
import { Problem } from '../platform/http/problem.ts';
import { amount } from '../platform/http/wire.ts';
import { newId } from '../platform/ids.ts';
import type { Definitions } from './definitions.ts';
import { type AcceptedRun, acceptedBefore, isKeyTaken } from './runs.ts';

/** The order to run a workflow, as the client sent it. */
export interface RunOrder {
  accountId: string;
  workflowId: string;
  key: string;
  requestHash: Buffer;
  input: Record<string, unknown>;
  expectedCost: bigint | null;
}

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

/** The hot statement, as it stands in start-run.sql. */
const startRunStatement: Statement<
  [string, string, string, string, Buffer, string, bigint | null, number, number, boolean],
  Answer
> = {
  text: readFileSync(new URL('./start-run.sql', import.meta.url), 'utf8'),
  parse: ([row]) => ({
    verdict: row?.['verdict'] as Verdict,
    spend: row?.['result'] as Answer['spend'],
    knownRun: row?.['known_run'] as string | null,
    cost: row?.['credit_cost'] as bigint | null,
    balance: {
      available: (row?.['available'] as bigint | null) ?? 0n,
      held: (row?.['held'] as bigint | null) ?? 0n,
      debt: (row?.['debt'] as bigint | null) ?? 0n,
    },
    serviceId: row?.['service_id'] as string,
    priceVersion: row?.['price_version'] as number,
    input: row?.['input'],
    createdAt: row?.['created_at'] as Date,
    deadlineAt: row?.['deadline_at'] as Date,
  }),
};

const NO_VERSION = 0; // versions begin at 1

/** Tries after the first: a definition that was just changed, or a key that another request is using. */
const RETRIES = 3;

/** Deducts and starts, or refuses and leaves everything as it was. The same key always leads to the same run. */
export async function startRun(
  deps: { sql: Sql; db: Db; definitions: Definitions },
  order: RunOrder,
): Promise<Accepted> {
  for (let tries = 0; ; tries += 1) {
    const answer = await attempt(deps, order);
    if (answer !== 'again') return answer;
    if (tries === RETRIES) throw new Problem('request_in_flight', undefined, { headers: { 'retry-after': '1' } });
  }
}

async function attempt(
  { sql, db, definitions }: { sql: Sql; db: Db; definitions: Definitions },
  order: RunOrder,
): Promise<Accepted | 'again'> {
  const definition = await definitions.find(order.workflowId);
  const input = { ...definition?.inputDefaults, ...order.input };
  const errors = definition?.check(input) ?? [];
  const runId = newId();
  const answer = await runHot(sql, startRunStatement, [
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
  ]).catch((fault) => {
    if (sqlState(fault)?.constraint === 'runs_key') return 'again' as const;
    throw fault;
  });
  if (answer === 'again') return 'again';
  if (answer.verdict === 'stale') {
    definitions.forget(order.workflowId);
    return 'again';
  }
  if (answer.verdict === 'replay' && answer.knownRun) {
    return { ...(await acceptedBefore(db, order.accountId, answer.knownRun)), replayed: true };
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
