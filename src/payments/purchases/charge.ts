import { randomUUID } from 'node:crypto';
import { and, eq, inArray, sql } from 'drizzle-orm';
import type { Tx } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { retryLater } from '../../platform/http/problem.ts';
import { toWire } from '../../platform/ids.ts';
import type { ChargeMethod } from '../rails/rail.ts';
import { type ChargeState, charges, purchases } from '../tables.ts';
import { type Attempt, applyCharge } from './apply.ts';
import { type ConvergeDeps, tellOutcome } from './converge.ts';
import { type Actor, note, type Purchase } from './history.ts';
import { endPurchase } from './move.ts';

/**
 * An attempt to pay: its intent is committed, then the provider is asked, then its answer is written down. What was
 * asked is never asked again blindly: an answer that was lost is looked for by the attempt's id.
 */

export interface ChargeDeps extends ConvergeDeps {
  publicUrl: string;
  /** How long one call may take: until then nobody else looks for its charge. */
  deadlineMs: number;
}

const RECOVER_AFTER_DEADLINE_S = 5;
const UNAVAILABLE_RETRY_S = 5;

/** Commits the intent to charge. The caller holds the purchase's lock and has made sure that no other attempt lives. */
export async function intend(
  tx: Tx,
  deps: ChargeDeps,
  purchase: Purchase,
  method: ChargeMethod['type'],
  actor: Actor,
): Promise<Attempt> {
  const [attempt] = await tx
    .insert(charges)
    .values({
      attemptId: randomUUID(),
      purchaseId: purchase.id,
      method,
      nextCheckAt: sql`now() + make_interval(secs => ${deps.deadlineMs / 1000 + RECOVER_AFTER_DEADLINE_S})`,
    })
    .returning();
  if (!attempt) throw new Error('no attempt was made');
  await note(tx, purchase.id, { actor, what: 'charge_intended', detail: { attempt_id: attempt.attemptId, method } });
  return attempt;
}

/** States of an attempt that is neither over nor given up. */
export const LIVE: ChargeState[] = ['creating', 'pending', 'successful', 'review'];

/** A purchase's attempt that is in one of them. */
export async function liveAttempt(tx: Tx, purchaseId: string): Promise<Attempt | undefined> {
  const [attempt] = await tx
    .select()
    .from(charges)
    .where(and(eq(charges.purchaseId, purchaseId), inArray(charges.state, LIVE)));
  return attempt;
}

/**
 * Asks the provider for the charge of an attempt and writes its answer down. A 503 problem when the provider cannot be
 * reached: then the attempt is given up, and the next request with the same key makes another. When the answer is
 * unknown, the attempt stays `creating` and the reconciler finds out.
 */
export async function openCharge(
  deps: ChargeDeps,
  purchase: Purchase,
  attempt: Attempt,
  method: ChargeMethod,
  actor: Actor,
): Promise<void> {
  const { db, rail } = deps;
  await failpoint('payments.charge.before_create');
  const answer = await rail.start({
    attemptId: attempt.attemptId,
    purchaseId: toWire('purchase', purchase.id),
    amount: purchase.price,
    currency: purchase.currency,
    description: purchase.packageName,
    method,
    returnUri: `${deps.publicUrl}/checkout/${purchase.pageToken}/return`,
  });
  await failpoint('payments.charge.after_create');
  switch (answer.outcome) {
    case 'ok': {
      // Not credited from here, however successful it looks: only a charge that is read back is (E2.5). That is done
      // as soon as somebody gets to it.
      const isPaid = answer.value.status === 'successful';
      const charge = isPaid ? { ...answer.value, status: 'pending' as const } : answer.value;
      const outcome = await db.transaction(async (tx) => {
        const applied = await applyCharge(tx, attempt.attemptId, charge, actor);
        if (isPaid) await lookNow(tx, attempt);
        await failpoint('payments.charge.before_commit');
        return applied;
      });
      await failpoint('payments.charge.after_commit');
      tellOutcome(deps, outcome, charge, actor);
      return;
    }
    case 'rejected': {
      const isFailed = await db.transaction((tx) => reject(tx, purchase, attempt, answer, actor));
      if (isFailed) deps.metrics.purchases.inc({ state: 'failed' });
      return;
    }
    case 'unavailable':
      await db.transaction((tx) => abandon(tx, attempt, answer.reason, actor));
      throw retryLater('provider_unavailable', UNAVAILABLE_RETRY_S);
    case 'unknown':
      await db.transaction((tx) =>
        note(tx, purchase.id, { actor, what: 'charge_unknown', detail: { reason: answer.reason } }),
      );
  }
}

const lookNow = (tx: Tx, { attemptId }: Attempt) =>
  tx
    .update(charges)
    .set({ nextCheckAt: sql`now()` })
    .where(and(eq(charges.attemptId, attemptId), eq(charges.state, 'pending')));

/** The provider refused to make a charge: there is none, and for this method there will be none. True when the purchase ends with it. */
async function reject(
  tx: Tx,
  purchase: Purchase,
  attempt: Attempt,
  refusal: { code: string; message: string },
  actor: Actor,
): Promise<boolean> {
  const [locked] = await tx.select().from(purchases).where(eq(purchases.id, purchase.id)).for('update');
  const [failed] = await tx
    .update(charges)
    .set({ state: 'failed', failureCode: refusal.code, failureMessage: refusal.message, nextCheckAt: null })
    .where(and(eq(charges.attemptId, attempt.attemptId), eq(charges.state, 'creating')))
    .returning();
  if (!failed || !locked) return false;
  const { code, message } = refusal;
  await note(tx, purchase.id, { actor, what: 'charge_rejected', detail: { code, message } });
  const ended = await endPurchase(tx, locked, 'failed', { code, message });
  await failpoint('payments.charge.reject_before_commit');
  return ended.state !== locked.state;
}

/** No charge was made, as far as can be known; should one turn up after all, it still counts. */
export async function abandon(tx: Tx, attempt: Attempt, reason: string, actor: Actor): Promise<void> {
  await tx.select({ id: purchases.id }).from(purchases).where(eq(purchases.id, attempt.purchaseId)).for('update');
  const [given] = await tx
    .update(charges)
    .set({ state: 'abandoned', nextCheckAt: null })
    .where(and(eq(charges.attemptId, attempt.attemptId), eq(charges.state, 'creating')))
    .returning();
  if (given) await note(tx, attempt.purchaseId, { actor, what: 'charge_abandoned', detail: { reason } });
  await failpoint('payments.charge.abandon_before_commit');
}
