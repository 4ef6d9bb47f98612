import { and, eq, inArray, ne, sql } from 'drizzle-orm';
import { post } from '../../credits/index.ts';
import type { Tx } from '../../platform/database/clients.ts';
import { toWire } from '../../platform/ids.ts';
import type { Charge } from '../rails/rail.ts';
import { charges, claims, differences, type PurchaseState, purchases } from '../tables.ts';
import { type Decision, decide } from './decide.ts';
import { type Actor, note, type Purchase, tellCharge, tellPurchase } from './history.ts';

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
  if (!claim) return { applied: await seenBefore(tx, attempt, purchase, charge, actor), purchase };
  const outcome = await post(tx, 'purchase', purchase.accountId, purchase.credits, {
    type: 'purchase',
    id: purchase.id,
  });
  if (outcome.result !== 'posted' || outcome.transferId === null)
    throw new Error(`the credit of a purchase was ${outcome.result}`);
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
  return { applied: 'credited', purchase: completed };
}

/**
 * This charge was credited already, or an operator has reviewed it and granted the credits; or the purchase was
 * completed by another charge: then somebody has paid twice.
 */
async function seenBefore(
  tx: Tx,
  attempt: Attempt,
  purchase: Purchase,
  charge: Charge,
  actor: Actor,
): Promise<Applied> {
  const [claim] = await tx.select().from(claims).where(eq(claims.purchaseId, purchase.id));
  if (claim?.rail === 'omise' && claim.reference === charge.id) return 'unchanged';
  const known = await tx.$count(
    differences,
    and(eq(differences.kind, 'paid_twice'), eq(differences.reference, charge.id)),
  );
  if (claim?.rail === 'operator' && attempt.state === 'review' && known === 0) return 'unchanged';
  await tx.update(charges).set({ state: 'review' }).where(eq(charges.attemptId, attempt.attemptId));
  const isNew = await differ(tx, 'paid_twice', charge.id, purchase.id, {
    amount: Number(charge.amount),
    currency: charge.currency,
  });
  if (!isNew) return 'unchanged';
  await note(tx, purchase.id, { actor, what: 'paid_twice', chargeId: charge.id });
  return 'review';
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

/** A purchase whose only attempt is over is over; a payment link lives on until its own end. */
export async function endPurchase(
  tx: Tx,
  purchase: Purchase,
  state: 'failed' | 'expired',
  failure: { code: string; message: string | null },
): Promise<Purchase> {
  if (purchase.state !== 'pending' || purchase.method === 'payment_link') return purchase;
  const live = await tx.$count(
    charges,
    and(eq(charges.purchaseId, purchase.id), inArray(charges.state, ['creating', 'pending'])),
  );
  if (live > 0) return purchase;
  return move(tx, purchase, state, { failureCode: failure.code, failureMessage: failure.message });
}

async function review(
  tx: Tx,
  attempt: Attempt,
  purchase: Purchase,
  charge: Charge,
  reason: string,
  actor: Actor,
): Promise<Outcome> {
  if (attempt.state === 'successful') {
    const detail = {
      amount: Number(charge.amount),
      refunded_amount: Number(charge.refundedAmount),
      voided: charge.voided,
      disputed: charge.hasOpenDispute,
    };
    return differAfterCredit(tx, purchase, charge, reason, detail, actor);
  }
  if (attempt.state === 'review') return { applied: 'unchanged', purchase };
  await differ(tx, reason, charge.id, purchase.id, {
    amount: Number(charge.amount),
    captured_amount: charge.capturedAmount === null ? null : Number(charge.capturedAmount),
    currency: charge.currency,
    livemode: charge.livemode,
    expected: Number(purchase.price),
  });
  await note(tx, purchase.id, { actor, what: 'review', chargeId: charge.id, detail: { reason } });
  return { applied: 'review', purchase: await putInReview(tx, purchase) };
}

/** Credited before; now the provider shows a refund, a void, a dispute or a reversal. The credits stay where they are. */
async function differAfterCredit(
  tx: Tx,
  purchase: Purchase,
  charge: Charge,
  what: string,
  detail: Record<string, unknown>,
  actor: Actor,
): Promise<Outcome> {
  const isNew = await differ(tx, `${what}_after_credit`, charge.id, purchase.id, detail);
  if (isNew) await note(tx, purchase.id, { actor, what: `${what}_after_credit`, chargeId: charge.id, detail });
  return { applied: isNew ? 'review' : 'unchanged', purchase };
}

/** Another charge carries the attempt's id: never credited by itself, and never forgotten when it is paid. */
async function tellSecond(tx: Tx, purchase: Purchase, charge: Charge, actor: Actor): Promise<Outcome> {
  if (charge.status !== 'successful') return { applied: 'unchanged', purchase };
  const detail = { amount: Number(charge.amount), currency: charge.currency, attempt_id: charge.attemptId };
  const isNew = await differ(tx, 'second_charge', charge.id, purchase.id, detail);
  if (!isNew) return { applied: 'unchanged', purchase };
  await note(tx, purchase.id, { actor, what: 'second_charge', chargeId: charge.id });
  return { applied: 'review', purchase: await putInReview(tx, purchase) };
}

/** A completed purchase stays so. */
const putInReview = async (tx: Tx, purchase: Purchase): Promise<Purchase> =>
  purchase.state === 'completed' || purchase.state === 'review' ? purchase : move(tx, purchase, 'review', {});

/** Puts a purchase into a state and tells of it. The caller holds its lock and has decided. */
export async function move(
  tx: Tx,
  purchase: Purchase,
  state: PurchaseState,
  more: { failureCode?: string | null; failureMessage?: string | null },
): Promise<Purchase> {
  const [moved] = await tx
    .update(purchases)
    .set({
      state,
      failureCode: null,
      failureMessage: null,
      ...more,
      ...(state === 'completed' ? { completedAt: sql`now()` } : {}),
    })
    .where(and(eq(purchases.id, purchase.id), ne(purchases.state, 'completed')))
    .returning();
  if (!moved) throw new Error('a completed purchase is not left');
  await tellPurchase(tx, moved);
  return moved;
}

/**
 * Writes down a difference between provider and ledger; false when it is known as it is. One that was dealt with and
 * has changed since, such as a second partial refund, is open again.
 */
export async function differ(
  tx: Tx,
  kind: string,
  reference: string,
  purchaseId: string | null,
  detail: Record<string, unknown>,
): Promise<boolean> {
  const [row] = await tx
    .insert(differences)
    .values({ kind, reference, purchaseId, detail })
    .onConflictDoUpdate({
      target: [differences.kind, differences.reference],
      set: { detail: sql`excluded.detail`, foundAt: sql`now()`, resolvedAt: null },
      setWhere: sql`${differences.detail} is distinct from excluded.detail`,
    })
    .returning();
  return row !== undefined;
}
