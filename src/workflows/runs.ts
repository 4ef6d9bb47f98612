import { and, desc, eq, sql } from 'drizzle-orm';
import { z } from 'zod';
import { type Balances, spendOf } from '../credits/index.ts';
import type { Db } from '../platform/database/clients.ts';
import { prepared } from '../platform/database/statement.ts';
import { amount, amountOut, head, headOut, idOut, timeOrNull, timeOut } from '../platform/http/wire.ts';
import { toWire } from '../platform/ids.ts';
import { canBeRead } from './asks/advance.ts';
import type { RunQuote } from './asks/policy.ts';
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
    state: z.enum([
      ...(['awaiting_payment', 'queued', 'running', 'paused'] as const),
      ...(['succeeded', 'failed', 'cancelled', 'expired'] as const),
    ]),
    cost: amountOut.describe('credits'),
    returned: amountOut.describe('credits given back'),
    payment: z.object({
      mode: z.enum(['upfront', 'after']),
      state: z.enum(['none', 'open', 'part_paid', 'paid', 'expired', 'written_off', 'released']),
      paid: amountOut.describe('credits taken for it'),
      due: amountOut.describe('credits that are to be paid now'),
      ask_id: idOut('ask').nullable().describe('the latest: what is due, or was'),
      parts: z
        .object({ paid: z.int(), of: z.int() })
        .nullable()
        .describe('of a run that is paid part by part: parts up to `paid` can be read'),
      info: z.string().nullable().describe('why it is not paid as was wished'),
    }),
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
  payment: {
    ...{ mode: 'upfront', state: 'paid', paid: amount(run.cost) },
    ...{ due: 0, ask_id: null, parts: null, info: null },
  },
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
  ...(run.quote === null ? {} : { payment: paymentOf(run, run.quote) }),
  output: run.state === 'succeeded' ? run.output : null, // it is there before, where the last part is not paid
  failure: run.failureCode === null ? null : { code: run.failureCode, message: run.failureMessage },
  progress: run.progress as z.infer<typeof RunOut>['progress'],
  attempt: run.attempt,
  started_at: timeOrNull(run.startedAt),
  finished_at: timeOrNull(run.finishedAt),
});

const paymentOf = (run: Run, quote: RunQuote): z.infer<typeof RunOut>['payment'] => ({
  mode: quote.mode,
  state: run.paymentState,
  paid: amount(run.paid),
  due: amount(run.due),
  ask_id: run.askId === null ? null : toWire('ask', run.askId),
  parts: quote.milestones && { paid: run.paidParts, of: quote.milestones.length },
  info: quote.info,
});

export const isOver = (state: RunState): boolean =>
  state === 'succeeded' || state === 'failed' || state === 'cancelled' || state === 'expired';

/** The first reply to a run, rebuilt from the run and its spend; `undefined` for a run that is paid by asks. */
export async function acceptedBefore(
  db: Db,
  accountId: string,
  runId: string,
): Promise<{ run: AcceptedRun; balance: Balances } | undefined> {
  const [run, balance] = await Promise.all([findRun(db, accountId, runId), spendOf(db, accountId, runId)]);
  if (run && run.quote !== null) return undefined;
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

const LAST_PART = 10_000;
const isShown = (run: Run) => {
  const last = canBeRead(run, LAST_PART) ? LAST_PART : run.paidParts;
  return and(eq(parts.accountId, run.accountId), eq(parts.runId, run.id), sql`${parts.number} <= ${last}`);
};

export type Part = Pick<typeof parts.$inferSelect, 'number' | 'content' | 'createdAt'>;
const shown = { number: parts.number, content: parts.content, createdAt: parts.createdAt };

/** Partial results that can be read, in the order of their numbers, after the number given. */
export const listParts = (db: Db, run: Run, after: number, limit: number): Promise<Part[]> =>
  db
    .select(shown)
    .from(parts)
    .where(and(isShown(run), sql`${parts.number} > ${after}`))
    .orderBy(parts.number)
    .limit(limit);

export async function findPart(db: Db, run: Run, number: number): Promise<Part | undefined> {
  const [part] = await db
    .select(shown)
    .from(parts)
    .where(and(isShown(run), eq(parts.number, number)));
  return part;
}
