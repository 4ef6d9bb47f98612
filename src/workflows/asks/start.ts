import { and, count, eq, sql } from 'drizzle-orm';
import { availableOf } from '../../credits/index.ts';
import type { Db, Tx } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { sqlState } from '../../platform/http/failures.ts';
import { Problem } from '../../platform/http/problem.ts';
import { amount } from '../../platform/http/wire.ts';
import { newId } from '../../platform/ids.ts';
import type { Definition } from '../definitions.ts';
import type { Run } from '../runs.ts';
import { runs, services, workflows } from '../tables.ts';
import { asJson, tell } from '../tell.ts';
import { isQuoted, openAsk, type QuotedRun } from './open.ts';
import { chooseMode, type PaymentPolicy, type RunQuote } from './policy.ts';
import { type Ask, type AskView, findAsk, paymentRequired } from './read.ts';
import { type Asked, absorb, lockAsk, payFromCredits } from './settle.ts';
import { enterTab, isDemoted } from './tab.ts';
import { asks } from './tables.ts';

/**
 * Starts of runs that are paid by asks: upfront, from credits or later; afterwards; or part by part. One transaction each.
 * What is refused leaves nothing behind; what is to be paid first leaves a run that waits, and its ask.
 */

/** The order, as the client sent it. */
export interface TermsOrder {
  accountId: string;
  workflowId: string;
  key: string;
  requestHash: Buffer;
  expectedCost: bigint | null;
  payment?: 'upfront' | 'after' | undefined;
  /** Most that the customer will pay for all of it. */
  maxPrice?: bigint | undefined;
  /** It waits for a payment that is made for it, also where there are credits: it costs more than the customer wanted to pay. */
  isHeldBack?: boolean | undefined;
  /** After it nobody wants the run any more: its price holds no longer than that. */
  until?: Date | undefined;
}

/** `ask`: what has to be paid before the run begins. */
export interface Begun {
  run: Run;
  ask: AskView | null;
  replayed: boolean;
}

/** Runs of one account that wait for their first payment: each keeps a price for it. */
const MAX_WAITING = 100;

/** `again`: the definition has changed, or another request with the same key was faster. */
export async function startByTerms(
  { db, hasWallet }: { db: Db; hasWallet: boolean },
  order: TermsOrder,
  definition: Definition | undefined,
  input: { value: Record<string, unknown>; isFit: boolean },
): Promise<Begun | 'stale' | 'again' | 'input_invalid' | { plain: string }> {
  const begun = await db
    .transaction(async (tx) => {
      const known = await runOfKey(tx, order);
      if (known) return known.quote === null ? { plain: known.id } : resume(tx, known, order);
      const terms = await readTerms(tx, order);
      const { service, workflow } = terms;
      if (service.version !== definition?.serviceVersion || workflow.version !== definition.workflowVersion)
        return 'stale';
      if (!input.isFit) return 'input_invalid';
      checkPrice(order, terms);
      const done = await begin(tx, order, terms, input.value, hasWallet);
      await failpoint('workflows.ask.before_start_commit');
      return done;
    })
    .catch((fault) => {
      if (sqlState(fault)?.constraint === 'runs_key') return 'again' as const;
      throw fault;
    });
  await failpoint('workflows.ask.after_start');
  return begun;
}

async function runOfKey(tx: Tx, { accountId, key, requestHash }: TermsOrder): Promise<Run | undefined> {
  const [run] = await tx
    .select()
    .from(runs)
    .where(and(eq(runs.accountId, accountId), eq(runs.idempotencyKey, key)));
  if (run && !run.requestHash.equals(requestHash)) throw new Problem('idempotency_key_reused');
  return run;
}

interface Terms {
  workflow: typeof workflows.$inferSelect;
  service: Pick<typeof services.$inferSelect, 'id' | 'version' | 'deadlineS' | 'refundOnFailure' | 'active'> & {
    payment: PaymentPolicy;
  };
}

/** In the order of the hot path's refusals. */
async function readTerms(tx: Tx, { accountId, workflowId }: TermsOrder): Promise<Terms> {
  const { id, version, deadlineS, refundOnFailure, active, payment } = services;
  const [terms] = await tx
    .select({ workflow: workflows, service: { id, version, deadlineS, refundOnFailure, active, payment } })
    .from(workflows)
    .innerJoin(services, eq(services.id, workflows.serviceId))
    .where(eq(workflows.id, workflowId));
  if (!terms || terms.workflow.deletedAt !== null) throw new Problem('workflow_not_found');
  if (terms.workflow.accountId !== accountId) throw new Problem('not_workflow_owner');
  if (!terms.service.active) throw new Problem('service_inactive');
  return terms;
}

function checkPrice({ expectedCost, maxPrice }: TermsOrder, { workflow }: Terms): void {
  const cost = workflow.creditCost;
  if (expectedCost !== null && expectedCost !== cost)
    throw new Problem('price_changed', `The workflow costs ${cost} credits.`, { extra: { cost: amount(cost) } });
  if (maxPrice !== undefined && maxPrice < cost)
    throw new Problem(
      'price_above_max',
      `The run costs ${cost} credits, more than the ${maxPrice} that you want to pay.`,
      {
        extra: {
          amount: amount(cost),
          currency: 'credit',
          max_price: amount(maxPrice),
          milestones: workflow.milestones,
        },
      },
    );
}

async function begin(
  tx: Tx,
  order: TermsOrder,
  terms: Terms,
  input: object,
  hasWallet: boolean,
): Promise<Begun | 'again'> {
  const { service, workflow } = terms;
  const owner = { accountId: order.accountId, serviceId: service.id };
  const { mode, info } = order.isHeldBack
    ? { mode: 'upfront' as const, info: 'It costs more than you wanted to pay.' }
    : chooseMode(service.payment, order.payment, await isDemoted(tx, owner));
  const quote = quoteOf(terms, mode, info, order.until);
  if (mode === 'after') {
    const isOnTab = await enterTab(tx, owner, workflow.creditCost, service.payment.after);
    if (!isOnTab) {
      // The room may have gone to this very key: another request with it was first, and this one waited for the tab.
      if ((await isDemoted(tx, owner)) || (await runOfKey(tx, order))) return 'again';
      return refuseCredit(tx, owner, workflow.creditCost, hasWallet);
    }
    const run = await insertRun(tx, order, terms, quote, input);
    await tell(tx, run, 'run_queued');
    return { run, ask: null, replayed: false };
  }
  const waiting = await insertRun(tx, order, terms, quote, input);
  const { run, ask } = await openAsk(tx, waiting, 'start');
  return payOrWait(tx, { run, ask, isLate: false }, order, true);
}

/** From credits when there are enough. Otherwise the run waits, and is told of. */
async function payOrWait(tx: Tx, asked: Asked, { isHeldBack }: TermsOrder, isNew: boolean): Promise<Begun> {
  const paid = isHeldBack ? undefined : await payFromCredits(tx, asked);
  const replayed = !isNew;
  if (paid && 'run' in paid) return { run: paid.run, ask: null, replayed };
  if (isNew) {
    await checkWaiting(tx, asked.run.accountId);
    await tell(tx, asked.run, 'run_awaiting_payment');
  }
  return { run: asked.run, ask: { ask: asked.ask, rails: asked.run.quote.rails }, replayed };
}

const quoteOf = (
  { service, workflow }: Terms,
  mode: RunQuote['mode'],
  info: string | null,
  until: Date | undefined,
): RunQuote => {
  const { unpaid_part, after, surplus, underpay, rails } = service.payment;
  const wantedForS = until === undefined ? Number.POSITIVE_INFINITY : Math.ceil((until.getTime() - Date.now()) / 1000);
  const quote_ttl_s = Math.max(1, Math.min(service.payment.quote_ttl_s, wantedForS));
  return {
    ...{
      version: service.version,
      mode,
      info,
      unpaid_part,
      quote_ttl_s,
      grace_s: after.grace_s,
      surplus,
      underpay,
      rails,
    },
    ...{ refund_on_failure: service.refundOnFailure, deadline_s: service.deadlineS },
    milestones: mode === 'after' ? null : workflow.milestones,
  };
};

async function insertRun(
  tx: Tx,
  { accountId, key, requestHash }: TermsOrder,
  { workflow }: Terms,
  quote: RunQuote,
  input: object,
): Promise<QuotedRun> {
  const { id: workflowId, serviceId, creditCost: cost, priceVersion } = workflow;
  const [run] = await tx
    .insert(runs)
    .values({
      ...{ accountId, id: newId(), workflowId, serviceId, cost, priceVersion },
      ...{ input: asJson(input), idempotencyKey: key, requestHash },
      state: quote.mode === 'after' ? 'queued' : 'awaiting_payment',
      deadlineAt: sql`now() + make_interval(secs => ${quote.deadline_s})`,
      ...{ quote, paymentState: 'none' },
    })
    .returning();
  if (!run || !isQuoted(run)) throw new Error('no run was recorded');
  return run;
}

/** With this one; one at a time, so that the count holds. */
async function checkWaiting(tx: Tx, accountId: string): Promise<void> {
  await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${`workflows.waiting ${accountId}`}, 0))`);
  const [row] = await tx
    .select({ n: count() })
    .from(asks)
    .where(and(eq(asks.accountId, accountId), eq(asks.kind, 'start'), sql`${asks.state} in ('open', 'part_paid')`));
  if ((row?.n ?? 0) > MAX_WAITING)
    throw new Problem('too_many_unpaid', `An account may have ${MAX_WAITING} runs that wait for their payment.`);
}

/** The oldest debt is what has to be paid; there is none yet when the runs that it will be for are under way. */
async function refuseCredit(
  tx: Tx,
  owner: { accountId: string; serviceId: string },
  cost: bigint,
  hasWallet: boolean,
): Promise<never> {
  const { accountId, serviceId } = owner;
  const [oldest] = await tx
    .select({ id: asks.id })
    .from(asks)
    .where(
      and(
        eq(asks.accountId, accountId),
        eq(asks.serviceId, serviceId),
        eq(asks.kind, 'result'),
        sql`${asks.state} in ('open', 'part_paid')`,
      ),
    )
    .orderBy(asks.createdAt)
    .limit(1);
  const view = oldest && (await findAsk(tx, accountId, oldest.id));
  if (view) {
    const available = await availableOf(tx, accountId);
    throw await paymentRequired(tx, 'credit_limit_reached', view, available, hasWallet);
  }
  throw new Problem('credit_limit_reached', 'Runs that are to be paid afterwards are under way.', {
    extra: { ask_id: null, amount: amount(cost), currency: 'credit', pay_with: [] },
  });
}

/** The same order again: it is paid from credits if it still waits and they are there by now; otherwise the run as it is. */
async function resume(tx: Tx, known: Run, order: TermsOrder): Promise<Begun> {
  const asked = known.askId === null ? undefined : await lockAsk(tx, known.askId, known.accountId);
  if (!asked) return { run: known, ask: null, replayed: true };
  const now = await absorb(tx, asked);
  if (now.run.state === 'awaiting_payment') {
    if (now.isLate) throw new Problem('ask_expired');
    return payOrWait(tx, now, order, false);
  }
  if (now.run.paidParts === 0 && now.run.quote.mode === 'upfront') throw whyNever(now.ask);
  return { run: now.run, ask: null, replayed: true };
}

/** It has ended before anything of it was paid. */
const whyNever = ({ state }: Ask): Problem =>
  state === 'expired'
    ? new Problem('ask_expired')
    : new Problem('run_finished', 'The run was cancelled before it was paid.');
