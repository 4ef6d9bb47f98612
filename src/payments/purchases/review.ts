import { and, eq } from 'drizzle-orm';
import type { Tx } from '../../platform/database/clients.ts';
import { differ } from '../differences.ts';
import type { Charge } from '../rails/rail.ts';
import { charges, claims, differences } from '../tables.ts';
import type { Applied, Attempt, Outcome } from './apply.ts';
import { type Actor, note, type Purchase } from './history.ts';
import { isPaid, move } from './move.ts';

/** Money that moved, or may have, but not as agreed: it is written down, and a person has to look. */

/** What can happen to a credited charge by the provider's own rules. */
const TAKEN_BACK = new Set(['refunded', 'voided', 'disputed']);

/** The provider shows something else than what was agreed, from the beginning or since the purchase was credited. */
export async function review(
  tx: Tx,
  attempt: Attempt,
  purchase: Purchase,
  charge: Charge,
  reason: string,
  actor: Actor,
): Promise<Outcome> {
  if (attempt.state === 'successful') {
    if (TAKEN_BACK.has(reason)) return { applied: 'unchanged', purchase }; // told by `tellTakenBack`
    const detail = { amount: Number(charge.amount), captured_amount: Number(charge.capturedAmount ?? charge.amount) };
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

/** Credited before; now the provider shows another amount, or a reversal. The credits stay where they are. */
export async function differAfterCredit(
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

/**
 * This charge was credited already, or an operator has reviewed it and granted the credits; or the purchase was
 * completed by another charge: then somebody has paid twice.
 */
export async function seenBefore(
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

/** Another charge carries the attempt's id: never credited by itself, and never forgotten when it is paid. */
export async function tellSecond(tx: Tx, purchase: Purchase, charge: Charge, actor: Actor): Promise<Outcome> {
  if (charge.status !== 'successful') return { applied: 'unchanged', purchase };
  const detail = { amount: Number(charge.amount), currency: charge.currency, attempt_id: charge.attemptId };
  const isNew = await differ(tx, 'second_charge', charge.id, purchase.id, detail);
  if (!isNew) return { applied: 'unchanged', purchase };
  await note(tx, purchase.id, { actor, what: 'second_charge', chargeId: charge.id });
  return { applied: 'review', purchase: await putInReview(tx, purchase) };
}

/** A completed purchase stays so. */
const putInReview = async (tx: Tx, purchase: Purchase): Promise<Purchase> =>
  isPaid(purchase) || purchase.state === 'review' ? purchase : move(tx, purchase, 'review', {});
