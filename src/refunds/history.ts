import { asc, eq } from 'drizzle-orm';
import type { Db, Tx } from '../platform/database/clients.ts';
import { appendEvents } from '../platform/delivery/events.ts';
import { toWire } from '../platform/ids.ts';
import { history, type refunds } from './tables.ts';

export type Refund = typeof refunds.$inferSelect;

/** Who took a step: an account, the saga itself, or what was seen at the provider or in the chain. */
export type Actor = 'saga' | 'provider' | 'chain' | `account:${string}`;

/** Adds a step to the audit trail of a refund or a claw-back, in the transaction that takes it. */
export async function note(
  tx: Tx,
  refundId: string,
  step: { actor: Actor; what: string; detail?: Record<string, unknown> },
): Promise<void> {
  await tx.insert(history).values({ refundId, actor: step.actor, what: step.what, detail: step.detail ?? {} });
}

/** Everything that happened to a refund, in order. */
export const trailOf = (db: Db, refundId: string) =>
  db.select().from(history).where(eq(history.refundId, refundId)).orderBy(asc(history.seq));

/** Kinds of subjects by the names that ids go by. */
export const subjectKinds = {
  purchase: 'purchase',
  payment_request: 'paymentRequest',
  run: 'run',
  order: 'order',
} as const;

/** Tells the account of a refund's new state. The caller has just changed the row. */
export const tellRefund = (tx: Tx, refund: Refund): Promise<void> =>
  appendEvents(tx, [
    {
      accountId: refund.accountId,
      type: `refunds.refund_${refund.state}`,
      subjectId: refund.id,
      payload: {
        state: refund.state,
        subject: toWire(subjectKinds[refund.subjectType], refund.subjectId),
        credits: Number(refund.credits),
        amount: refund.amount,
        unit: refund.unit,
        rail: refund.rail,
        failure_code: refund.failureCode,
      },
    },
  ]);
