import { and, eq, sql } from 'drizzle-orm';
import type { Tx } from '../../platform/database/clients.ts';
import { appendEvents } from '../../platform/delivery/events.ts';
import { Problem } from '../../platform/http/problem.ts';
import type { Charge } from '../rails/rail.ts';
import { charges, claims, purchases } from '../tables.ts';
import type { Attempt } from './apply.ts';
import { note, type Purchase, tellPurchase } from './history.ts';
import { isPaid } from './move.ts';

/**
 * What a purchase has to do with refunds: how much of it is left, and what is spoken for. Who gives it back, and how, is
 * the business of whoever asks.
 */

export interface PaidPurchase {
  purchase: Purchase;
  /** The provider's charge that paid it; null when an operator has decided that it is paid. */
  chargeId: string | null;
  /** Credits and minor units that nothing speaks for yet. */
  left: Share;
}

/** A part of a purchase. */
export interface Share {
  credits: bigint;
  amount: bigint;
}

/** Locks a purchase that was paid; 404 for those of others than `accountId`, 409 when it was not paid. */
export async function lockPaidPurchase(tx: Tx, id: string, accountId?: string): Promise<PaidPurchase> {
  const [purchase] = await tx.select().from(purchases).where(eq(purchases.id, id)).for('update');
  if (!purchase || (accountId !== undefined && purchase.accountId !== accountId)) throw new Problem('not_found');
  if (!isPaid(purchase)) throw new Problem('not_refundable', `The purchase is ${purchase.state}.`);
  const [claim] = await tx.select().from(claims).where(eq(claims.purchaseId, id));
  return {
    purchase,
    chargeId: claim?.rail === 'omise' ? claim.reference : null,
    left: {
      credits: purchase.credits - purchase.refundCredits,
      amount: purchase.price - purchase.refundAmount,
    },
  };
}

/** Money for credits of a purchase: rounded down, so that parts are never more than the whole. */
export const moneyFor = ({ price, credits: all }: Purchase, credits: bigint): bigint => (price * credits) / all;

/** Speaks for a part. False when there is not so much left. */
export async function claimShare(tx: Tx, id: string, { credits, amount }: Share): Promise<boolean> {
  const rows = await tx
    .update(purchases)
    .set({
      refundCredits: sql`${purchases.refundCredits} + ${credits}::bigint`,
      refundAmount: sql`${purchases.refundAmount} + ${amount}::bigint`,
    })
    .where(
      and(
        eq(purchases.id, id),
        sql`${purchases.refundCredits} + ${credits}::bigint <= ${purchases.credits}`,
        sql`${purchases.refundAmount} + ${amount}::bigint <= ${purchases.price}`,
      ),
    )
    .returning({ id: purchases.id });
  return rows.length === 1;
}

/** It came to nothing: the part is free again. */
export async function dropShare(tx: Tx, id: string, { credits, amount }: Share): Promise<void> {
  await tx
    .update(purchases)
    .set({
      refundCredits: sql`${purchases.refundCredits} - ${credits}::bigint`,
      refundAmount: sql`${purchases.refundAmount} - ${amount}::bigint`,
    })
    .where(eq(purchases.id, id));
}

/** A part that was spoken for has gone back (or, negative, has come again): the purchase says so, and is told of. */
export async function settleShare(tx: Tx, id: string, { credits, amount }: Share): Promise<Purchase> {
  const done = sql`${purchases.refundedAmount} + ${amount}::bigint`;
  const doneCredits = sql`${purchases.refundedCredits} + ${credits}::bigint`;
  const [settled] = await tx
    .update(purchases)
    .set({
      refundedCredits: doneCredits,
      refundedAmount: done,
      state: sql`case when ${done} = 0 then 'completed'
        when ${done} = ${purchases.price} or ${doneCredits} = ${purchases.credits} then 'refunded'
        else 'partially_refunded' end`,
    })
    .where(eq(purchases.id, id))
    .returning();
  if (!settled) throw new Error('a purchase that vanished');
  const detail = { credits: Number(credits), amount: Number(amount) };
  await note(tx, id, { actor: 'refund', what: amount < 0n ? 'refund_undone' : settled.state, detail });
  if (settled.state !== 'completed') await tellPurchase(tx, settled); // it was completed once, long ago
  return settled;
}

/**
 * Tells, once for each change, that a credited charge shows money going back: a refund, a void, a dispute. Whose doing it
 * was is for others to find out, who hear of it after the commit.
 */
export async function tellTakenBack(tx: Tx, attempt: Attempt, purchase: Purchase, charge: Charge): Promise<void> {
  const { refundedAmount, voided, dispute } = charge;
  const shown = [
    ...(refundedAmount > 0n ? [`refunded ${refundedAmount}`] : []),
    ...(voided ? ['voided'] : []),
    ...(dispute ? [`dispute ${dispute.id} ${dispute.status}`] : []),
  ].join(', ');
  if (shown === (attempt.takenBack ?? '')) return;
  await tx
    .update(charges)
    .set({ takenBack: shown === '' ? null : shown })
    .where(eq(charges.attemptId, attempt.attemptId));
  await appendEvents(tx, [
    { accountId: null, type: 'payments.charge_taken_back', subjectId: purchase.id, payload: { charge_id: charge.id } },
  ]);
}
