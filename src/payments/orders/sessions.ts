import { and, asc, eq, isNull, ne, notInArray, sql } from 'drizzle-orm';
import type { Challenge } from '../../identity/index.ts';
import type { Tx } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { Problem, retryLater } from '../../platform/http/problem.ts';
import { requireDeed } from './claim.ts';
import { isProven, isRevoked, lockOrder, type Order, type SeenOrder, tellOrder } from './read.ts';
import { orderSessions, orders } from './tables.ts';

/** Which browser sessions may read what an order has paid: as many as the shop allows, the newest ones. */

/** A wallet that moves from browser to browser more often lends it out. */
const REBINDS_PER_HOUR = 10;
const isLately = sql`${orderSessions.provenAt} > now() - interval '1 hour'`;

/** The wallet that has paid shows so for a session. 402 when it is not paid; what was given back opens nothing, and says so. */
export async function proveOrder(
  tx: Tx,
  { orderUuid, sessionId }: { orderUuid: string; sessionId: string },
  challenge: Challenge,
): Promise<SeenOrder> {
  const order = await lockOrder(tx, orderUuid);
  if (order.state !== 'paid') throw new Problem('order_not_paid');
  await requireDeed(tx, order, challenge, { action: 'prove', sessionId });
  if (!isRevoked(order)) await bindSession(tx, order, sessionId);
  await failpoint('payments.order.before_prove_commit');
  return order;
}

/** Opens a locked, paid order to a session; the oldest ones lose it when there are too many. 429 when it moves too often. */
export async function bindSession(tx: Tx, order: Order, sessionId: string): Promise<void> {
  if (await isProven(tx, order, sessionId)) return;
  const ofOrder = eq(orderSessions.orderId, order.id);
  const [lately] = await tx
    .select({ moves: sql<number>`coalesce(sum(${orderSessions.moves}), 0)::int` })
    .from(orderSessions)
    .where(and(ofOrder, isLately));
  if ((lately?.moves ?? 0) >= REBINDS_PER_HOUR) throw retryLater('rate_limited', 3_600);
  await letIn(tx, order, sessionId);
}

/**
 * A browser that was let in under a name of ours (`visitors.ts`) comes to its shop, which knows it by its own. False when
 * the order opens nothing to it, or it has come before: a code is good once.
 */
export async function moveSession(
  tx: Tx,
  orderUuid: string,
  { from, to }: { from: string; to: string },
): Promise<boolean> {
  const order = await lockOrder(tx, orderUuid);
  if (order.state !== 'paid' || isRevoked(order) || !(await isProven(tx, order, from))) return false;
  await tx
    .update(orderSessions)
    .set({ evictedAt: sql`now()` })
    .where(and(eq(orderSessions.orderId, order.id), eq(orderSessions.sessionId, from)));
  await letIn(tx, order, to);
  await failpoint('payments.order.before_move_commit');
  return true;
}

async function letIn(tx: Tx, order: Order, sessionId: string): Promise<void> {
  const { id, maxSessions } = order;
  const ofOrder = eq(orderSessions.orderId, id);
  await tx
    .insert(orderSessions)
    .values({ orderId: id, sessionId })
    .onConflictDoUpdate({
      target: [orderSessions.orderId, orderSessions.sessionId],
      set: {
        ...{ provenAt: sql`clock_timestamp()`, evictedAt: null },
        moves: sql`case when ${isLately} then ${orderSessions.moves} + 1 else 1 end`,
      },
    });
  const newest = tx
    .select({ sessionId: orderSessions.sessionId })
    .from(orderSessions)
    .where(and(ofOrder, isNull(orderSessions.evictedAt)))
    .orderBy(sql`${orderSessions.sessionId} = ${sessionId} desc`, sql`${orderSessions.provenAt} desc`)
    .limit(maxSessions);
  await tx
    .update(orderSessions)
    .set({ evictedAt: sql`now()` })
    .where(and(ofOrder, isNull(orderSessions.evictedAt), notInArray(orderSessions.sessionId, newest)));
  const [changed] = await tx
    .update(orders)
    .set({ version: sql`${orders.version} + 1` })
    .where(eq(orders.id, id))
    .returning();
  if (!changed) throw new Error('an order that vanished');
  await tellOrder(tx, changed, 'session_proven');
  await tellWaiting(tx, changed, sessionId);
}

/** Other orders of the session for the same address need not be paid any more: whoever waits at their pages hears of it. */
async function tellWaiting(tx: Tx, { id, merchantId, fulfillmentUrl }: Order, sessionId: string): Promise<void> {
  if (fulfillmentUrl === null) return;
  const waiting = await tx
    .select()
    .from(orders)
    .where(
      and(
        ...[eq(orders.sessionId, sessionId), eq(orders.merchantId, merchantId), ne(orders.state, 'paid')],
        ...[eq(orders.fulfillmentUrl, fulfillmentUrl), ne(orders.id, id)],
      ),
    )
    .orderBy(asc(orders.id));
  for (const order of waiting) await tellOrder(tx, order, 'bought_before');
}
