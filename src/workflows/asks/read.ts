import { and, asc, desc, eq, sql } from 'drizzle-orm';
import { z } from 'zod';
import { payWith } from '../../payments/index.ts';
import type { Db, Tx } from '../../platform/database/clients.ts';
import { appendEvents } from '../../platform/delivery/events.ts';
import type { Code } from '../../platform/http/codes.ts';
import { Problem } from '../../platform/http/problem.ts';
import { amount, amountOut, head, headOut, idOut, time, timeOrNull, timeOut } from '../../platform/http/wire.ts';
import { toWire } from '../../platform/ids.ts';
import type { Run } from '../runs.ts';
import { runs } from '../tables.ts';
import { isWanted } from './decide.ts';
import { fits, type RailTerms } from './policy.ts';
import { asks, settlements } from './tables.ts';

/** Asks as they are read, and the 402 that leads to one. */

export type Ask = typeof asks.$inferSelect;
export type Settlement = typeof settlements.$inferSelect;

/** A request that can be sent as it is. */
const WayOut = z.looseObject({ method: z.literal('POST'), href: z.string(), body: z.looseObject({}) });

export const AskOut = z
  .object({
    ...headOut('ask'),
    run_id: idOut('run'),
    service_id: idOut('service'),
    seq: z.int().describe('of the run: the milestone that it pays'),
    kind: z.enum(['start', 'part', 'result']),
    amount: amountOut.describe('credits'),
    received: amountOut.describe('of these, what is set aside or taken'),
    due: amountOut.describe('what is still wanted'),
    surplus: amountOut.describe("what came too much, too late or too little, and is the account's"),
    currency: z.literal('credit'),
    state: z.enum(['open', 'part_paid', 'paid', 'expired', 'written_off', 'released']),
    expires_at: timeOut,
    closed_at: timeOut.nullable(),
    pay_with: z.array(WayOut).describe('how to pay what is due; empty when nothing is'),
  })
  .meta({ id: 'Ask' });

export const SettlementOut = z.object({
  id: idOut('settlement'),
  rail: z.string(),
  credits: amountOut,
  taken: amountOut,
  released: amountOut.describe("the account's again"),
  returned: amountOut.describe('given back after it was taken'),
  created_at: timeOut,
});

/** With the rails of its run's quote. */
export interface AskView {
  ask: Ask;
  rails: RailTerms[];
}

export const dueOf = ({ state, amount: all, received }: Ask): bigint => (isWanted(state) ? all - received : 0n);

/** `hasWallet`: somebody makes invoices here. Without, Lightning leads to an ask only where it was made public, by a zap. */
export const renderAsk = ({ ask, rails }: AskView, hasWallet: boolean): z.infer<typeof AskOut> => ({
  ...head('ask', ask),
  run_id: toWire('run', ask.runId),
  service_id: toWire('service', ask.serviceId),
  seq: ask.seq,
  kind: ask.kind,
  amount: amount(ask.amount),
  received: amount(ask.received),
  due: amount(dueOf(ask)),
  surplus: amount(ask.surplus),
  currency: 'credit',
  state: ask.state,
  expires_at: time(ask.expiresAt),
  closed_at: timeOrNull(ask.closedAt),
  pay_with:
    dueOf(ask) === 0n
      ? []
      : rails
          .filter((rail) => fits(rail, dueOf(ask)))
          .filter(({ rail }) => rail !== 'lightning' || hasWallet)
          .map((rail) => wayOf(ask, rail)),
});

export const renderSettlement = (one: Settlement): z.infer<typeof SettlementOut> => ({
  id: toWire('settlement', one.id),
  rail: one.rail,
  credits: amount(one.credits),
  taken: amount(one.taken),
  released: amount(one.released),
  returned: amount(one.returned),
  created_at: time(one.createdAt),
});

function wayOf(ask: Ask, terms: RailTerms): z.infer<typeof WayOut> {
  const due = dueOf(ask);
  const request = { method: 'POST', href: `/v1/asks/${toWire('ask', ask.id)}/pay` } as const;
  switch (terms.rail) {
    case 'credits':
      return { rail: 'credits', amount: amount(due), ...request, body: { rail: 'credits' } };
    case 'omise':
      return {
        ...{ rail: 'omise', amount: amount(due * BigInt(terms.price_per_credit)), currency: terms.currency },
        ...request,
        body: { rail: 'omise' },
      };
    case 'evm':
      return {
        ...{ rail: 'evm', amount: String(due * BigInt(terms.price_per_credit)), asset: terms.asset },
        ...request,
        body: { rail: 'evm', asset: terms.asset },
      };
    case 'lightning':
      return {
        ...{ rail: 'lightning', amount_msat: String(due * BigInt(terms.price_per_credit)) },
        ...request,
        body: { rail: 'lightning' },
      };
  }
}

/**
 * 402 that leads to an ask. `pay_with`: how to pay it, and packages that bring the credits which `available` lacks.
 * Repeating the request that was answered so pays it as soon as there are enough.
 */
export async function paymentRequired(
  on: Db | Tx,
  code: Extract<Code, 'payment_required' | 'credit_limit_reached'>,
  view: AskView,
  available: bigint,
  hasWallet: boolean,
): Promise<Problem> {
  const { ask } = view;
  const due = dueOf(ask);
  const shortfall = due > available ? due - available : 0n;
  const detail = code === 'payment_required' ? `${due} credits are to be paid, ${available} are available.` : undefined;
  return new Problem(code, detail, {
    extra: {
      ask_id: toWire('ask', ask.id),
      run_id: toWire('run', ask.runId),
      amount: amount(due),
      currency: 'credit',
      state: ask.state,
      expires_at: time(ask.expiresAt),
      available: amount(available),
      shortfall: amount(shortfall),
      pay_with: [...renderAsk(view, hasWallet).pay_with, ...(shortfall > 0n ? await payWith(on, shortfall) : [])],
    },
  });
}

const viewed = (on: Db | Tx) =>
  on
    .select({ ask: asks, quote: runs.quote })
    .from(asks)
    .innerJoin(runs, and(eq(runs.accountId, asks.accountId), eq(runs.id, asks.runId)));

const viewOf = ({ ask, quote }: { ask: Ask; quote: Run['quote'] }): AskView => ({ ask, rails: quote?.rails ?? [] });

/** An ask of the account. */
export async function findAsk(on: Db | Tx, accountId: string, id: string): Promise<AskView | undefined> {
  const [row] = await viewed(on).where(and(eq(asks.accountId, accountId), eq(asks.id, id)));
  return row && viewOf(row);
}

export const settlementsOf = (on: Db | Tx, { accountId, id }: Pick<Ask, 'accountId' | 'id'>): Promise<Settlement[]> =>
  on
    .select()
    .from(settlements)
    .where(and(eq(settlements.accountId, accountId), eq(settlements.askId, id)))
    .orderBy(asc(settlements.createdAt), asc(settlements.id));

/** Newest first; `after` is the id of the last one seen. */
export async function listAsks(
  db: Db,
  accountId: string,
  filter: { runId?: string | undefined; state?: Ask['state'] | undefined },
  after: string | null,
  limit: number,
): Promise<AskView[]> {
  const rows = await viewed(db)
    .where(
      and(
        eq(asks.accountId, accountId),
        filter.runId === undefined ? undefined : eq(asks.runId, filter.runId),
        filter.state === undefined ? undefined : eq(asks.state, filter.state),
        after === null
          ? undefined
          : sql`(${asks.createdAt}, ${asks.id}) < (select created_at, id from ${asks} where account_id = ${accountId}::uuid and id = ${after}::uuid)`,
      ),
    )
    .orderBy(desc(asks.createdAt), desc(asks.id))
    .limit(limit);
  return rows.map(viewOf);
}

/** Tells of an ask whose row the caller has just changed. */
export const tellAsk = (tx: Tx, ask: Ask, what: string, more: Record<string, unknown> = {}): Promise<void> =>
  appendEvents(tx, [
    {
      accountId: ask.accountId,
      type: `workflows.ask_${what}`,
      subjectId: ask.id,
      payload: {
        run_id: toWire('run', ask.runId),
        seq: ask.seq,
        state: ask.state,
        amount: Number(ask.amount),
        received: Number(ask.received),
        due: Number(dueOf(ask)),
        surplus: Number(ask.surplus),
        expires_at: time(ask.expiresAt),
        ...more,
      },
      inward: true,
    },
  ]);
