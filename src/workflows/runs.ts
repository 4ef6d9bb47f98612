import { and, desc, eq, sql } from 'drizzle-orm';
import { z } from 'zod';
import { type Balances, spendOf } from '../credits/index.ts';
import type { Db } from '../platform/database/clients.ts';
import { prepared } from '../platform/database/statement.ts';
import { amount, amountOut, head, headOut, idOut, timeOrNull, timeOut } from '../platform/http/wire.ts';
import { toWire } from '../platform/ids.ts';
import { parts, type RunState, runs } from './tables.ts';

export type Run = typeof runs.$inferSelect;

/** A run as it is the moment it was accepted: what the first reply shows, whenever it is asked for again. */
export type AcceptedRun = Pick<
  Run,
  'id' | 'workflowId' | 'serviceId' | 'cost' | 'priceVersion' | 'createdAt' | 'deadlineAt'
> & {
  input: unknown;
};

export const RunOut = z
  .object({
    ...headOut('run'),
    workflow_id: idOut('workflow'),
    service_id: idOut('service'),
    state: z.enum(['queued', 'running', 'succeeded', 'failed', 'cancelled']),
    cost: amountOut.describe('credits'),
    returned: amountOut.describe('credits given back'),
    price_version: z.int(),
    input: z.unknown(),
    output: z.unknown(),
    failure: z.object({ code: z.string(), message: z.string().nullable() }).nullable(),
    progress: z.object({ percent: z.int().nullable(), message: z.string().nullable() }).nullable(),
    attempt: z.int().describe('how often the executor was called'),
    deadline_at: timeOut,
    started_at: timeOut.nullable(),
    finished_at: timeOut.nullable(),
  })
  .meta({ id: 'Run' });

export const renderAccepted = (run: AcceptedRun): z.infer<typeof RunOut> => ({
  ...head('run', run),
  workflow_id: toWire('workflow', run.workflowId),
  service_id: toWire('service', run.serviceId),
  state: 'queued',
  cost: amount(run.cost),
  returned: 0,
  price_version: run.priceVersion,
  input: run.input,
  output: null,
  failure: null,
  progress: null,
  attempt: 0,
  deadline_at: run.deadlineAt.toISOString(),
  started_at: null,
  finished_at: null,
});

export const renderRun = (run: Run): z.infer<typeof RunOut> => ({
  ...renderAccepted(run),
  state: run.state,
  returned: amount(run.returned),
  output: run.output,
  failure: run.failureCode === null ? null : { code: run.failureCode, message: run.failureMessage },
  progress: run.progress as z.infer<typeof RunOut>['progress'],
  attempt: run.attempt,
  started_at: timeOrNull(run.startedAt),
  finished_at: timeOrNull(run.finishedAt),
});

export const isOver = (state: RunState): boolean =>
  state === 'succeeded' || state === 'failed' || state === 'cancelled';

/** The first reply to a run, rebuilt from the run and its spend. */
export async function acceptedBefore(
  db: Db,
  accountId: string,
  runId: string,
): Promise<{ run: AcceptedRun; balance: Balances }> {
  const [run, balance] = await Promise.all([findRun(db, accountId, runId), spendOf(db, accountId, runId)]);
  if (!run || !balance) throw new Error('a run without its spend');
  return { run, balance };
}

const runByKey = prepared((db) =>
  db
    .select({ id: runs.id })
    .from(runs)
    .where(and(eq(runs.accountId, sql.placeholder('accountId')), eq(runs.idempotencyKey, sql.placeholder('key'))))
    .prepare('run_by_key'),
);

/** Whether a run of the account was started with this key. */
export async function isKeyTaken(db: Db, accountId: string, key: string): Promise<boolean> {
  const [run] = await runByKey(db).execute({ accountId, key });
  return run !== undefined;
}

const runById = prepared((db) =>
  db
    .select()
    .from(runs)
    .where(and(eq(runs.accountId, sql.placeholder('accountId')), eq(runs.id, sql.placeholder('runId'))))
    .prepare('run_by_id'),
);

/** A run of the account. */
export async function findRun(db: Db, accountId: string, runId: string): Promise<Run | undefined> {
  const [run] = await runById(db).execute({ accountId, runId });
  return run;
}

/** Newest first; `after` is the id of the last one seen. */
export const listRuns = (
  db: Db,
  accountId: string,
  filter: { workflowId?: string | undefined; state?: RunState | undefined },
  after: string | null,
  limit: number,
): Promise<Run[]> =>
  db
    .select()
    .from(runs)
    .where(
      and(
        eq(runs.accountId, accountId),
        filter.workflowId === undefined ? undefined : eq(runs.workflowId, filter.workflowId),
        filter.state === undefined ? undefined : eq(runs.state, filter.state),
        after === null
          ? undefined
          : sql`(${runs.createdAt}, ${runs.id}) < (select created_at, id from ${runs} where account_id = ${accountId}::uuid and id = ${after}::uuid)`,
      ),
    )
    .orderBy(desc(runs.createdAt), desc(runs.id))
    .limit(limit);

/** Partial results in the order of their numbers, after the number given. */
export const listParts = (db: Db, accountId: string, runId: string, after: number, limit: number) =>
  db
    .select({ number: parts.number, content: parts.content, createdAt: parts.createdAt })
    .from(parts)
    .where(and(eq(parts.accountId, accountId), eq(parts.runId, runId), sql`${parts.number} > ${after}`))
    .orderBy(parts.number)
    .limit(limit);
