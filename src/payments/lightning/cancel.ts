import { Problem } from '../../platform/http/problem.ts';
import { note, type Purchase } from '../purchases/history.ts';
import { move } from '../purchases/move.ts';
import { lockPurchase } from './open.ts';
import { lookAtInvoices, type WatchDeps } from './watch.ts';

/**
 * Cancels an unpaid purchase. No wallet takes an invoice back: whether it was paid a moment before is looked at first
 * (409 then), and what comes until its end completes the purchase after all.
 */
export async function cancelInvoice(deps: WatchDeps, { id, accountId }: Purchase): Promise<void> {
  const actor = `account:${accountId}` as const;
  await lookAtInvoices(deps, id, actor);
  const isMoved = await deps.db.transaction(async (tx) => {
    const purchase = await lockPurchase(tx, id);
    if (purchase.state === 'cancelled') return false;
    if (purchase.state !== 'pending' && purchase.state !== 'expired')
      throw new Problem('conflict', `The purchase is ${purchase.state}.`, { extra: { status: purchase.state } });
    await move(tx, purchase, 'cancelled', {});
    await note(tx, id, { actor, what: 'purchase_cancelled' });
    return true;
  });
  if (isMoved) deps.metrics.purchases.inc({ state: 'cancelled' });
}
