import { and, eq, ne, sql } from 'drizzle-orm';
import type { Tx } from '../../platform/database/clients.ts';
import { note, type Purchase, tellPurchase } from '../purchases/history.ts';
import { type PurchaseState, purchases } from '../tables.ts';
import type { PaymentRequest } from './history.ts';
import type { RequestState } from './tables.ts';

/** A purchase that is paid on chain stands where its payment request stands. */

const standing: Record<RequestState, PurchaseState> = {
  ...{
    pending: 'pending',
    authenticated: 'pending',
    submitted: 'pending',
    confirming: 'pending',
    underpaid: 'pending',
  },
  ...{ completed: 'completed', late: 'expired', expired: 'expired', cancelled: 'cancelled' },
};

const NOT_PAID = { failureCode: 'not_paid', failureMessage: 'The purchase was not paid in time.' };
const NO_FAILURE = { failureCode: null, failureMessage: null };

/**
 * Puts the purchase of a request there, too. The request is locked, always before its purchase. Unlike one that is paid
 * at the provider, it can be left again: by a reorganisation that takes the payment away.
 */
export async function followRequest(tx: Tx, { purchaseId, state: requestState }: PaymentRequest): Promise<void> {
  if (purchaseId === null) return;
  const [purchase] = await tx.select().from(purchases).where(eq(purchases.id, purchaseId)).for('update');
  if (!purchase) throw new Error('a payment request for a purchase that is not there');
  const state = await standOf(tx, purchase, standing[requestState]);
  if (purchase.state === state) return;
  const [moved] = await tx
    .update(purchases)
    .set({
      ...{ state, completedAt: state === 'completed' ? sql`now()` : null },
      ...(state === 'expired' ? NOT_PAID : NO_FAILURE),
    })
    .where(eq(purchases.id, purchaseId))
    .returning();
  if (!moved) throw new Error('a purchase that vanished');
  await note(tx, purchaseId, { actor: 'chain', what: `purchase_${state}`, detail: { payment_request: requestState } });
  await tellPurchase(tx, moved);
}

/**
 * It had ended, and what it was for is bought in another way: of an order, or a purpose (`arrivals/buy.ts`), one such payment
 * is open at a time. So it stays over until it is completed after all.
 */
async function standOf(tx: Tx, purchase: Purchase, wanted: PurchaseState): Promise<PurchaseState> {
  const { id, accountId, state, orderId, forType, forId } = purchase;
  if (wanted !== 'pending' || state === 'pending') return wanted;
  const isForOrder =
    orderId === null ? undefined : and(eq(purchases.orderId, orderId), eq(purchases.accountId, accountId));
  const isForThing =
    forType === null || forId === null ? undefined : and(eq(purchases.forType, forType), eq(purchases.forId, forId));
  const isForSame = isForOrder ?? isForThing;
  if (!isForSame) return wanted;
  const isOpen = and(eq(purchases.state, 'pending'), ne(purchases.method, 'lightning'));
  if ((await tx.$count(purchases, and(isForSame, isOpen, ne(purchases.id, id)))) === 0) return wanted;
  return state === 'cancelled' ? 'cancelled' : 'expired';
}
