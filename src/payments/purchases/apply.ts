import { eq, sql } from 'drizzle-orm';
import { post } from '../../credits/index.ts';
import type { Tx } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { toWire } from '../../platform/ids.ts';
import { settlePurchase } from '../arrivals/settle.ts';
import { lockOrderOf, settleOrder } from '../orders/settle.ts';
import type { Charge } from '../rails/rail.ts';
import { charges, claims, purchases } from '../tables.ts';
import { type Decision, decide } from './decide.ts';
import { type Actor, note, type Purchase, tellCharge } from './history.ts';
import { endPurchase, move } from './move.ts';
import { tellTakenBack } from './refund.ts';
import { differAfterCredit, review, seenBefore, tellSecond } from './review.ts';

/** What reading a charge changed. `review`: something new that a person has to look at. */
export type Applied = 'credited' | 'pending' | 'ended' | 'review' | 'unchanged';

export interface Outcome {
  applied: Applied;
  /** As it is now. */
  purchase: Purchase;
}

export type Attempt = typeof charges.$inferSelect;

/** A pending charge is looked at again when its attempt has these ages, then every hour until the provider says that it is over. */
const CHECK_AT_S = [15, 60, 300, 900];
const CHECK_EVERY_S = 3600;

/**
 * Applies a charge that was read back to its purchase, under the purchase's lock. The same charge again changes
 * nothing; a paid purchase is never left because of another charge or a late report.
 */
export async function applyCharge(
  tx: Tx,
  attemptId: string,
  charge: Charge,
  actor: Actor,
): Promise<Outcome & { isMoved: boolean }> {
  const { attempt, purchase } = await lockAttempt(tx, attemptId);
  const outcome =
    attempt.chargeId === null || attempt.chargeId === charge.id
      ? await applyLocked(tx, attempt, purchase, charge, actor)
      : await tellSecond(tx, purchase, charge, actor);
  return { ...outcome, isMoved: outcome.purchase.state !== purchase.state };
}

async function applyLocked(
  tx: Tx,
  attempt: Attempt,
  purchase: Purchase,
  charge: Charge,
  actor: Actor,
): Promise<Outcome> {
  const decision = decide(charge, purchase);
  // A charge that is over does not open again: this reading is older than the one that was applied.
  if (decision.verdict === 'pending' && isOver(attempt)) return { applied: 'unchanged', purchase };
  await recordCharge(tx, attempt, charge, decision);
  if (attempt.state === 'successful') await tellTakenBack(tx, attempt, purchase, charge);
  await failpoint('payments.apply.after_record');
  switch (decision.verdict) {
    case 'credit':
      return credit(tx, attempt, purchase, charge, actor);
    case 'pending':
      if (attempt.chargeId === null) {
        await note(tx, purchase.id, { actor, what: 'charge_opened', chargeId: charge.id });
        await tellCharge(tx, purchase, 'charge_opened');
      }
      return { applied: 'pending', purchase };
    case 'ended':
      return end(tx, attempt, purchase, charge, decision, actor);
    case 'review':
      return review(tx, attempt, purchase, charge, decision.reason, actor);
  }
}

/** Locks the purchase first, then the attempt: the order everywhere. */
async function lockAttempt(tx: Tx, attemptId: string): Promise<{ attempt: Attempt; purchase: Purchase }> {
  const owner = tx.select({ id: charges.purchaseId }).from(charges).where(eq(charges.attemptId, attemptId));
  const [purchase] = await tx.select().from(purchases).where(eq(purchases.id, owner)).for('update');
  const [attempt] = await tx.select().from(charges).where(eq(charges.attemptId, attemptId)).for('update');
  if (!purchase || !attempt) throw new Error('an attempt without its purchase');
  return { attempt, purchase };
}

const isOver = ({ chargeId, state }: Attempt) =>
  chargeId !== null && !['creating', 'pending', 'abandoned'].includes(state);

/** By the attempt's age, so that reading a charge often does not put off the next look at it. */
const nextCheck = sql`coalesce(
  (select min(${charges.createdAt} + make_interval(secs => age)) from unnest(array[${sql.raw(CHECK_AT_S.join(', '))}]) as age
   where ${charges.createdAt} + make_interval(secs => age) > now()),
  now() + make_interval(secs => ${sql.raw(String(CHECK_EVERY_S))}))`;

/** Keeps what the provider says of the charge, and when to look again. */
async function recordCharge(tx: Tx, attempt: Attempt, charge: Charge, decision: Decision): Promise<void> {
  const state = {
    credit: 'successful' as const,
    pending: 'pending' as const,
    review: 'review' as const,
    ended: decision.verdict === 'ended' ? decision.state : ('failed' as const),
  }[decision.verdict];
  await tx
    .update(charges)
    .set({
      chargeId: charge.id,
      // A charge that was credited stays so here; what happens to it later is a difference, not a step back.
      state: attempt.state === 'successful' ? 'successful' : state,
      authorizeUri: charge.authorizeUri,
      qrUri: charge.qrUri,
      failureCode: charge.failureCode,
      failureMessage: charge.failureMessage,
      expiresAt: charge.expiresAt,
      nextCheckAt: decision.verdict === 'pending' ? nextCheck : null,
      checks: attempt.checks + 1,
    })
    .where(eq(charges.attemptId, attempt.attemptId));
}

async function credit(tx: Tx, attempt: Attempt, purchase: Purchase, charge: Charge, actor: Actor): Promise<Outcome> {
  const [claim] = await tx
    .insert(claims)
    .values({
      rail: 'omise',
      reference: charge.id,
      purchaseId: purchase.id,
      amount: charge.amount,
      currency: charge.currency,
    })
    .onConflictDoNothing()
    .returning();
  await failpoint('payments.apply.after_claim');
  if (!claim) return { applied: await seenBefore(tx, attempt, purchase, charge, actor), purchase };
  const waiting = await lockOrderOf(tx, purchase.orderId === null ? null : purchase.id);
  const outcome = await post(tx, 'purchase', purchase.accountId, purchase.credits, {
    type: 'purchase',
    id: purchase.id,
  });
  if (outcome.result !== 'posted' || outcome.transferId === null)
    throw new Error(`the credit of a purchase was ${outcome.result}`);
  await failpoint('payments.apply.after_post');
  const completed = await move(tx, purchase, 'completed', {});
  await note(tx, purchase.id, {
    actor,
    what: 'purchase_completed',
    chargeId: charge.id,
    detail: {
      from: purchase.state,
      transfer_id: toWire('transfer', outcome.transferId),
      credits: Number(purchase.credits),
    },
  });
  if (waiting) await settleOrder(tx, waiting, purchase.accountId);
  await settlePurchase(tx, purchase, { rail: 'omise', key: charge.id, available: outcome.available });
  return { applied: 'credited', purchase: completed };
}

async function end(
  tx: Tx,
  attempt: Attempt,
  purchase: Purchase,
  charge: Charge,
  { state, code, message }: Extract<Decision, { verdict: 'ended' }>,
  actor: Actor,
): Promise<Outcome> {
  if (attempt.state === 'successful') {
    return differAfterCredit(tx, purchase, charge, 'reversed', { status: charge.status }, actor);
  }
  if (attempt.state === state && attempt.chargeId !== null) return { applied: 'unchanged', purchase };
  await note(tx, purchase.id, { actor, what: `charge_${state}`, chargeId: charge.id, detail: { code } });
  const ended = await endPurchase(tx, purchase, state === 'expired' ? 'expired' : 'failed', { code, message });
  if (ended.state === 'pending') await tellCharge(tx, ended, 'charge_ended');
  return { applied: 'ended', purchase: ended };
}
