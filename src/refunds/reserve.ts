import { reserveRefund } from '../credits/index.ts';
import type { Tx } from '../platform/database/clients.ts';
import { failpoint } from '../platform/failpoints.ts';
import { completeCredits, takesCredits, undo } from './end.ts';
import type { Actor, Refund } from './history.ts';
import { move } from './move.ts';
import { subjectOf } from './subjects.ts';

/**
 * Sets the credits of a locked refund aside, under the account's lock; a spend and a refund of the last credits are never
 * both. What gives credits is completed at once. The rails that a person pays then wait for that person.
 */
export async function reserve(tx: Tx, refund: Refund, actor: Actor, change: object = {}): Promise<Refund> {
  if (refund.rail === 'credits') return completeCredits(tx, refund, actor, change);
  if (takesCredits(refund)) {
    const left = await subjectOf(refund).left(tx, refund);
    const { result } = await reserveRefund(tx, refund.accountId, refund.id, refund.credits, left);
    if (result === 'insufficient') {
      const message = 'The credits were spent in the meantime.';
      return undo(tx, refund, 'failed', { actor, code: 'credits_spent', message });
    }
    if (result !== 'posted') throw new Error(`the reservation of a refund was ${result}`);
  }
  await failpoint('refunds.reserve.after_hold');
  const reserved = await move(tx, refund, 'reserved', {
    actor,
    change,
    stepInS: refund.rail === 'omise' ? 0 : null,
  });
  await failpoint('refunds.reserve.before_commit');
  return reserved;
}
