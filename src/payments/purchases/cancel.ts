import { eq } from 'drizzle-orm';
import { failpoint } from '../../platform/failpoints.ts';
import { Problem, retryLater } from '../../platform/http/problem.ts';
import { charges, purchases } from '../tables.ts';
import { liveAttempt } from './charge.ts';
import { type ConvergeDeps, converge, settleCharge } from './converge.ts';
import { note, type Purchase } from './history.ts';
import { move } from './move.ts';

/**
 * Cancels an unpaid purchase. What the provider could still be paid for is ended there first; whether it was paid a
 * moment before, the provider decides, and then the purchase is completed instead (409).
 */
export async function cancelPurchase(deps: ConvergeDeps, purchase: Purchase): Promise<void> {
  if (purchase.state === 'cancelled') return;
  if (!isUnpaid(purchase)) throw refuse(purchase);
  await failpoint('payments.cancel.before_expire');
  await endAtProvider(deps, purchase);
  const isMoved = await deps.db.transaction(async (tx) => {
    const [locked] = await tx.select().from(purchases).where(eq(purchases.id, purchase.id)).for('update');
    if (!locked) throw new Problem('not_found');
    if (locked.state === 'cancelled') return false;
    if (!isUnpaid(locked)) throw refuse(locked);
    if (await liveAttempt(tx, purchase.id)) throw retryLater('provider_unavailable', 5);
    await move(tx, locked, 'cancelled', {});
    await note(tx, purchase.id, { actor: `account:${purchase.accountId}`, what: 'purchase_cancelled' });
    await failpoint('payments.cancel.before_commit');
    return true;
  });
  await failpoint('payments.cancel.after_commit');
  if (isMoved) deps.metrics.purchases.inc({ state: 'cancelled' });
}

/** Expired, too: as a rule by a cancellation whose answer was lost. */
const isUnpaid = ({ state }: Purchase) => state === 'pending' || state === 'expired';

const refuse = ({ state }: Purchase) =>
  new Problem('conflict', `The purchase is ${state}.`, { extra: { status: state } });

async function endAtProvider(deps: ConvergeDeps, purchase: Purchase): Promise<void> {
  const open = await deps.db.select().from(charges).where(eq(charges.purchaseId, purchase.id));
  for (const attempt of open) {
    if (attempt.state === 'creating') throw retryLater('request_in_flight', 5);
    if (attempt.state !== 'pending' || attempt.chargeId === null) continue;
    const answer = await deps.rail.expire(attempt.chargeId);
    await failpoint('payments.cancel.after_expire');
    const actor = `account:${purchase.accountId}` as const;
    if (answer.outcome === 'ok') await settleCharge(deps, answer.value, actor);
    else {
      // Refused: as a rule it is over already, one way or the other. Unknown: reading it back tells.
      const { result } = await converge(deps, attempt.chargeId, actor);
      if (result === 'pending' && answer.outcome === 'rejected') {
        throw new Problem('conflict', 'The provider does not let go of this payment; it ends by itself.');
      }
    }
  }
}
