import { eq, sql } from 'drizzle-orm';
import { capture, hold } from '../../credits/index.ts';
import { accountIdOf } from '../../identity/index.ts';
import type { Tx } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { Problem } from '../../platform/http/problem.ts';
import { amount } from '../../platform/http/wire.ts';
import { purchases } from '../tables.ts';
import { boughtBefore, lockOrder, type SeenOrder, tellOrder } from './read.ts';
import { bindSession } from './sessions.ts';
import { orders } from './tables.ts';

/** How an order becomes paid: its price is taken from an account, in one transaction with everything that follows. */

/** Takes the price of a locked order. `undefined` when there are not so many credits, and nothing has changed. */
export async function takePrice(
  tx: Tx,
  order: SeenOrder,
  { accountId, sessionId }: { accountId: string; sessionId: string | null },
): Promise<{ paid: SeenOrder } | { available: bigint }> {
  const cause = { type: 'order', id: order.id };
  const held = await hold(tx, accountId, order.id, order.price, cause, cause);
  if (held.result === 'insufficient') return { available: held.available };
  if (held.result !== 'posted') throw new Error(`the credits of an order were ${held.result}`);
  await failpoint('payments.order.after_hold');
  const taken = await capture(tx, accountId, order.id, order.price, cause);
  if (taken.result !== 'posted') throw new Error(`the credits of an order were ${taken.result} when they were taken`);
  const [paid] = await tx
    .update(orders)
    .set({ state: 'paid', paidAt: sql`now()`, payerId: accountId, version: sql`${orders.version} + 1` })
    .where(eq(orders.id, order.id))
    .returning();
  if (!paid) throw new Error('an order that vanished');
  await tellOrder(tx, paid, 'paid');
  if (sessionId !== null) await bindSession(tx, paid, sessionId);
  return { paid: { ...paid, isExpired: false } };
}

/** 402 of a payment from an account that has not enough. */
export function tooLittle(price: bigint, available: bigint): Problem {
  return new Problem('insufficient_credits', `The order costs ${price} credits, ${available} are available.`, {
    extra: { required: amount(price), available: amount(available), shortfall: amount(price - available) },
  });
}

/** The order that a purchase is for, locked: before the account whose credits are to be moved. */
export async function lockOrderOf(
  tx: Tx,
  purchaseId: string | null,
): Promise<{ order: SeenOrder; sessionId: string | null } | undefined> {
  if (purchaseId === null) return undefined;
  const [purchase] = await tx
    .select({ orderId: purchases.orderId, sessionId: purchases.orderSession })
    .from(purchases)
    .where(eq(purchases.id, purchaseId));
  if (!purchase?.orderId) return undefined;
  return { order: await lockOrder(tx, purchase.orderId), sessionId: purchase.sessionId };
}

/**
 * Credits that were bought for an order have just come: they pay it, if it still waits. Otherwise (it is paid by another
 * rail, it has ended, another wallet has taken it since, another order has opened the same to the session, or an old debt
 * has eaten them) they stay on the account of whoever paid, to be spent or given back like any others.
 */
export async function settleOrder(
  tx: Tx,
  { order, sessionId }: { order: SeenOrder; sessionId: string | null },
  accountId: string,
): Promise<void> {
  if (order.state !== 'claimed' || order.isExpired || order.claimDid === null) return;
  if ((await accountIdOf(tx, order.claimDid)) !== accountId) return;
  if (await boughtBefore(tx, order, sessionId)) return;
  await takePrice(tx, order, { accountId, sessionId });
  await failpoint('payments.order.before_settle_commit');
}
