import { createHmac, timingSafeEqual } from 'node:crypto';
import { and, desc, eq, isNull, ne, sql } from 'drizzle-orm';
import type { Db, Tx } from '../../platform/database/clients.ts';
import { appendEvents } from '../../platform/delivery/events.ts';
import type { Visit } from './outcome.ts';
import { orderSessions, orders } from './tables.ts';

/** Orders as they are read: who may see what of them is decided in `outcome.ts`. */

export type Order = typeof orders.$inferSelect;

/** Its present time is the database's. */
export interface SeenOrder extends Order {
  isExpired: boolean;
}

const isExpired = sql<boolean>`${orders.state} <> 'paid' and ${orders.payDeadline} <= now()`;

async function findWhere(on: Db | Tx, condition: ReturnType<typeof and>): Promise<SeenOrder | undefined> {
  const [row] = await on.select({ order: orders, isExpired }).from(orders).where(condition);
  return row && { ...row.order, isExpired: row.isExpired };
}

export const findOrder = (on: Db | Tx, orderId: string): Promise<SeenOrder | undefined> =>
  findWhere(on, eq(orders.orderId, orderId));

/** The shop's own. */
export const findOwnOrder = (on: Db | Tx, merchantId: string, orderId: string): Promise<SeenOrder | undefined> =>
  findWhere(on, and(eq(orders.orderId, orderId), eq(orders.merchantId, merchantId)));

/** Locked until the end of the transaction. Orders are locked before whatever pays them. */
export async function lockOrder(tx: Tx, id: string): Promise<SeenOrder> {
  await tx.execute(sql`select from ${orders} where ${orders.id} = ${id} for update`);
  const order = await findWhere(tx, eq(orders.id, id));
  if (!order) throw new Error('an order that vanished');
  return order;
}

/** So much went back that it opens nothing any more. */
export const isRevoked = ({ refundPolicy, refundedCredits, price }: Order): boolean =>
  refundPolicy === 'revoke_on_any' ? refundedCredits > 0n : refundedCredits >= price;

const isAlive = isNull(orderSessions.evictedAt);

export async function isProven(on: Db | Tx, { id }: Order, sessionId: string): Promise<boolean> {
  const own = and(eq(orderSessions.orderId, id), eq(orderSessions.sessionId, sessionId), isAlive);
  return (await on.$count(orderSessions, own)) > 0;
}

/** Whether it has ever been open to this session. */
export async function wasProven(on: Db | Tx, { id }: Order, sessionId: string): Promise<boolean> {
  return (
    (await on.$count(orderSessions, and(eq(orderSessions.orderId, id), eq(orderSessions.sessionId, sessionId)))) > 0
  );
}

const isNotRevoked = sql`case ${orders.refundPolicy} when 'revoke_on_any' then ${orders.refundedCredits} = 0
  else ${orders.refundedCredits} < ${orders.price} end`;

/** The newest order of the shop that this session may read: of an address, or of a resource. */
export async function findOpenTo(
  on: Db | Tx,
  sessionId: string,
  { merchantId, fulfillmentUrl, resource }: { merchantId: string; fulfillmentUrl?: string; resource?: string },
): Promise<Order | undefined> {
  const [found] = await on
    .select({ order: orders })
    .from(orderSessions)
    .innerJoin(orders, eq(orders.id, orderSessions.orderId))
    .where(
      and(
        ...[eq(orderSessions.sessionId, sessionId), isAlive, eq(orders.merchantId, merchantId)],
        ...[eq(orders.state, 'paid'), isNotRevoked],
        fulfillmentUrl === undefined ? undefined : eq(orders.fulfillmentUrl, fulfillmentUrl),
        resource === undefined ? undefined : eq(orders.resource, resource),
      ),
    )
    .orderBy(desc(orders.paidAt))
    .limit(1);
  return found?.order;
}

/** An order that opens the same address, and that this session may read: then there is nothing to pay. */
export async function boughtBefore(on: Db | Tx, order: Order, sessionId: string | null): Promise<Order | undefined> {
  const { id, merchantId, fulfillmentUrl } = order;
  if (sessionId === null || fulfillmentUrl === null) return undefined;
  const found = await findOpenTo(on, sessionId, { merchantId, fulfillmentUrl });
  return found?.id === id ? undefined : found;
}

/** An order for the same address that the same wallet has paid. */
export async function paidByWallet(on: Db | Tx, order: Order, did: string): Promise<Order | undefined> {
  if (order.fulfillmentUrl === null) return undefined;
  const same = and(
    ...[eq(orders.merchantId, order.merchantId), eq(orders.fulfillmentUrl, order.fulfillmentUrl)],
    ...[eq(orders.claimDid, did), eq(orders.state, 'paid'), isNotRevoked, ne(orders.id, order.id)],
  );
  const [found] = await on.select().from(orders).where(same).orderBy(desc(orders.paidAt)).limit(1);
  return found;
}

/** 128 bits, made from the order's id by a key that stays here: it can be told again, and lies nowhere. */
export const claimTokenOf = (key: Buffer, { id, hasToken }: Pick<Order, 'id' | 'hasToken'>): string | null =>
  hasToken ? createHmac('sha256', key).update(id).digest().subarray(0, 16).toString('base64url') : null;

export function isSameText(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}

/** What somebody shows of an order, judged in constant time. */
export const shownOf = (
  key: Buffer,
  order: Order,
  { token, hContract }: { token: string | undefined; hContract: string | undefined },
): Pick<Visit, 'token' | 'hash'> => {
  const right = claimTokenOf(key, order);
  return {
    token: right === null ? 'right' : token === undefined ? 'none' : isSameText(token, right) ? 'right' : 'wrong',
    hash: hContract === undefined ? 'none' : isSameText(hContract, order.hContract ?? '') ? 'right' : 'wrong',
  };
};

export type Happening = 'created' | 'claimed' | 'unclaimed' | 'paid' | 'session_proven' | 'bought_before' | 'refunded';

/** Tells the shop, and whoever waits at the order's page. */
export const tellOrder = (tx: Tx, order: Order, what: Happening): Promise<void> =>
  appendEvents(tx, [
    {
      accountId: order.merchantId,
      type: `payments.order_${what}`,
      subjectId: order.id,
      payload: { order_id: order.orderId, resource: order.resource, state: order.state },
    },
  ]);
