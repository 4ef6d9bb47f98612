import { and, eq, sql } from 'drizzle-orm';
import type { Tx } from '../../platform/database/clients.ts';
import { newId } from '../../platform/ids.ts';
import type { Run } from '../runs.ts';
import { runs } from '../tables.ts';
import type { RunQuote } from './policy.ts';
import { type Ask, tellAsk } from './read.ts';
import { type AskKind, asks } from './tables.ts';

/** How a run comes to ask for money. The caller holds the run's lock, and no other ask of it is open. */

/** A run that is paid by asks. */
export interface QuotedRun extends Run {
  quote: RunQuote;
}

export const isQuoted = (run: Run): run is QuotedRun => run.quote !== null;

/** Its milestones, where it is paid part by part. */
export const milestonesOf = ({ quote }: Run): number[] | null => quote?.milestones ?? null;

/** Whether something of it is still to be asked for. */
export const hasUnpaidParts = (run: Run): boolean => run.paidParts < (milestonesOf(run)?.length ?? 0);

/** Asks for the next part of a run, or for all of it. */
export async function openAsk(tx: Tx, run: QuotedRun, kind: AskKind): Promise<{ run: QuotedRun; ask: Ask }> {
  const { accountId, quote } = run;
  const milestone = quote.milestones?.[run.paidParts];
  const ttl = kind === 'result' ? quote.grace_s : quote.quote_ttl_s;
  const [ask] = await tx
    .insert(asks)
    .values({
      ...{ accountId, id: newId(), runId: run.id, serviceId: run.serviceId, seq: run.paidParts + 1, kind },
      amount: milestone === undefined ? run.cost : BigInt(milestone),
      expiresAt: sql`now() + make_interval(secs => ${ttl})`,
    })
    .returning();
  if (!ask) throw new Error('nothing was asked for');
  const asking = await changeRun(tx, run, { askId: ask.id, due: ask.amount, paymentState: 'open' });
  await tellAsk(tx, ask, 'opened');
  return { run: asking, ask };
}

/** Changes a run that is locked. */
export async function changeRun(tx: Tx, run: Run, change: object): Promise<QuotedRun> {
  const [changed] = await tx
    .update(runs)
    .set(change)
    .where(and(eq(runs.accountId, run.accountId), eq(runs.id, run.id)))
    .returning();
  if (!changed || !isQuoted(changed)) throw new Error('a run that vanished');
  return changed;
}

/** Changes an ask whose run is locked. */
export async function changeAsk(tx: Tx, ask: Ask, change: object): Promise<Ask> {
  const [changed] = await tx
    .update(asks)
    .set(change)
    .where(and(eq(asks.accountId, ask.accountId), eq(asks.id, ask.id)))
    .returning();
  if (!changed) throw new Error('an ask that vanished');
  return changed;
}
