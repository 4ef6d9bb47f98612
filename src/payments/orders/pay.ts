import { eq, sql } from 'drizzle-orm';
import { capture, hold } from '../../credits/index.ts';
import type { Challenge } from '../../identity/index.ts';
import type { Tx } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { Problem } from '../../platform/http/problem.ts';
import { amount } from '../../platform/http/wire.ts';
import { requireDeed } from './claim.ts';
import { lockOrder, type SeenOrder, tellOrder } from './read.ts';
import { bindSession } from './sessions.ts';
import { orders } from './tables.ts';

/**
 * Pays an order with the credits of an account, in one transaction with everything that follows: it is paid, and open to
 * the session that asked. Again is a replay; never twice. 402 when the credits do not suffice, and nothing has changed.
 */
export async function payWithCredits(
  tx: Tx,
  { orderUuid, accountId, sessionId }: { orderUuid: string; accountId: string; sessionId: string | null },
  challenge: Challenge,
): Promise<SeenOrder> {
  const order = await lockOrder(tx, orderUuid);
  await requireDeed(tx, order, challenge, { action: 'pay', sessionId });
  if (order.state === 'paid') return order;
  if (order.isExpired) throw new Problem('order_expired');
  const cause = { type: 'order', id: order.id };
  const held = await hold(tx, accountId, order.id, order.price, cause, cause);
  if (held.result === 'insufficient') throw tooLittle(order.price, held.available);
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
  await failpoint('payments.order.before_pay_commit');
  return { ...paid, isExpired: false };
}

function tooLittle(price: bigint, available: bigint): Problem {
  return new Problem('insufficient_credits', `The order costs ${price} credits, ${available} are available.`, {
    extra: { required: amount(price), available: amount(available), shortfall: amount(price - available) },
  });
}
