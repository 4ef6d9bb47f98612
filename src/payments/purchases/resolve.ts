import { eq } from 'drizzle-orm';
import { post } from '../../credits/index.ts';
import { audit } from '../../platform/audit-log.ts';
import type { Tx } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { Problem } from '../../platform/http/problem.ts';
import { settlePurchase } from '../arrivals/settle.ts';
import { closeDifferences } from '../differences.ts';
import { lockOrderOf, settleOrder } from '../orders/settle.ts';
import { claims, differences, purchases } from '../tables.ts';
import { note, type Purchase } from './history.ts';
import { move } from './move.ts';

/** Ends the review of a purchase by an operator's decision: its credits are granted whole, or it has failed. */
export async function resolveReview(
  tx: Tx,
  purchaseId: string,
  decision: { outcome: 'complete' | 'reject'; reason: string; operatorId: string; requestId: string },
): Promise<Purchase> {
  const [purchase] = await tx.select().from(purchases).where(eq(purchases.id, purchaseId)).for('update');
  if (!purchase) throw new Problem('not_found');
  if (purchase.state !== 'review') throw new Problem('conflict', `The purchase is ${purchase.state}, not in review.`);
  const actor = `account:${decision.operatorId}` as const;
  await note(tx, purchase.id, {
    actor,
    what: decision.outcome === 'complete' ? 'review_completed' : 'review_rejected',
    detail: { reason: decision.reason },
  });
  await audit(tx, {
    actor: decision.operatorId,
    action: 'payments.review_resolved',
    subjectId: purchase.id,
    detail: { outcome: decision.outcome, reason: decision.reason },
    requestId: decision.requestId,
  });
  await closeDifferences(tx, eq(differences.purchaseId, purchase.id));
  if (decision.outcome === 'reject') {
    return move(tx, purchase, 'failed', { failureCode: 'rejected_in_review', failureMessage: decision.reason });
  }
  await tx.insert(claims).values({
    rail: 'operator',
    reference: purchase.id,
    purchaseId: purchase.id,
    amount: purchase.price,
    currency: purchase.currency,
  });
  await failpoint('payments.resolve.after_claim');
  const waiting = await lockOrderOf(tx, purchase.orderId === null ? null : purchase.id);
  const outcome = await post(tx, 'purchase', purchase.accountId, purchase.credits, {
    type: 'purchase',
    id: purchase.id,
  });
  if (outcome.result !== 'posted') throw new Error(`the credit of a purchase was ${outcome.result}`);
  await failpoint('payments.resolve.after_post');
  const completed = await move(tx, purchase, 'completed', {});
  if (waiting) await settleOrder(tx, waiting, purchase.accountId);
  await settlePurchase(tx, purchase, { rail: 'operator', key: purchase.id, available: outcome.available });
  return completed;
}
