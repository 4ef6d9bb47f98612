import { and, eq, inArray, notInArray, sql } from 'drizzle-orm';
import type { Tx } from '../../platform/database/clients.ts';
import { charges, type PurchaseState, purchases } from '../tables.ts';
import { type Purchase, tellPurchase } from './history.ts';

/** States of a purchase whose credits were granted. What follows one of them is another one of them (`refund.ts`). */
const PAID: PurchaseState[] = ['completed', 'partially_refunded', 'refunded'];
export const isPaid = ({ state }: Pick<Purchase, 'state'>): boolean => PAID.includes(state);

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
    .where(and(eq(purchases.id, purchase.id), notInArray(purchases.state, PAID)))
    .returning();
  if (!moved) throw new Error('a completed purchase is not left');
  await tellPurchase(tx, moved);
  return moved;
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
