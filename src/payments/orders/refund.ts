import { and, eq, isNull, sql } from 'drizzle-orm';
import type { Db, Tx } from '../../platform/database/clients.ts';
import { Problem } from '../../platform/http/problem.ts';
import { findOwnOrder, isRevoked, lockOrder, type SeenOrder, tellOrder } from './read.ts';
import { orderSessions, orders } from './tables.ts';

/** What an order has to do with refunds: how much of it is spoken for, and who may read it no more. */

/** Locked; undefined when it is not paid. */
export async function lockPaidOrder(tx: Tx, id: string): Promise<SeenOrder | undefined> {
  const order = await lockOrder(tx, id);
  return order.state === 'paid' ? order : undefined;
}

/** A shop's own order by the name that it has there. */
export const orderOfShop = (on: Db | Tx, merchantId: string, orderId: string): Promise<SeenOrder | undefined> =>
  findOwnOrder(on, merchantId, orderId);

/** Speaks for credits of an order, or, negative, no more. */
export async function claimOfOrder(tx: Tx, id: string, credits: bigint): Promise<void> {
  const rows = await tx
    .update(orders)
    .set({ refundCredits: sql`${orders.refundCredits} + ${credits}::bigint` })
    .where(and(eq(orders.id, id), sql`${orders.refundCredits} + ${credits}::bigint between 0 and ${orders.price}`))
    .returning({ id: orders.id });
  if (rows.length === 0) throw new Problem('not_refundable', 'So much of the order is not left.');
}

/** Credits went back: whoever may not read any more for it loses the access in this very transaction. */
export async function noteOrderRefunded(tx: Tx, id: string, credits: bigint): Promise<void> {
  const [order] = await tx
    .update(orders)
    .set({
      refundedCredits: sql`${orders.refundedCredits} + ${credits}::bigint`,
      version: sql`${orders.version} + 1`,
    })
    .where(eq(orders.id, id))
    .returning();
  if (!order) throw new Error('an order that vanished');
  if (isRevoked(order)) {
    await tx
      .update(orderSessions)
      .set({ evictedAt: sql`now()` })
      .where(and(eq(orderSessions.orderId, id), isNull(orderSessions.evictedAt)));
  }
  await tellOrder(tx, order, 'refunded');
}
