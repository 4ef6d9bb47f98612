import { createHash } from 'node:crypto';
import { and, eq, isNull, ne, sql } from 'drizzle-orm';
import type { Db, Tx } from '../../platform/database/clients.ts';
import { Problem } from '../../platform/http/problem.ts';
import { newId, toWire } from '../../platform/ids.ts';
import { newToken } from '../../platform/secrets.ts';
import { type Json, spell } from './contract.ts';
import { findOwnOrder, type SeenOrder, tellOrder } from './read.ts';
import { orders, type RailPrice, type RefundPolicy } from './tables.ts';

/** What a shop asks for. */
export interface Proposal {
  merchantId: string;
  orderId: string | null;
  resource: string;
  summary: string;
  price: bigint;
  prices: RailPrice[];
  fulfillmentUrl: string | null;
  fulfillmentMessage: string | null;
  publicReorderUrl: string | null;
  extra: Json;
  maxSessions: number;
  refundPolicy: RefundPolicy;
  hasToken: boolean;
  sessionId: string | null;
  /** Seconds from now, or a moment. */
  payIn: number | Date;
  refundIn: number | Date;
}

/** Characters of base64url: 132 bits. */
export const UNGUESSABLE_LENGTH = 22;

/**
 * Makes an order. The same order id with the same proposal finds the order that it made, with another one it is refused
 * (409). Of one session and resource only one order is open: a new one takes the place of the former.
 */
export async function createOrder(tx: Tx, proposal: Proposal): Promise<{ order: SeenOrder; replayed: boolean }> {
  const { merchantId, orderId, sessionId, resource } = proposal;
  const proposalHash = hashOf(proposal);
  if (orderId !== null) {
    await lockName(tx, `order ${orderId}`);
    const known = await findOwnOrder(tx, merchantId, orderId);
    if (known?.proposalHash === proposalHash) return { order: known, replayed: true };
    if (known || (await tx.$count(orders, eq(orders.orderId, orderId))) > 0) throw new Problem('order_exists');
  }
  if (sessionId !== null) {
    await lockSession(tx, proposal);
    await tx
      .update(orders)
      .set({ supersededAt: sql`now()` })
      .where(isOpenFor(merchantId, sessionId, resource));
  }
  return { order: await insert(tx, proposal, proposalHash), replayed: false };
}

/** The order of a session that is open, or a new one: two tabs at once get the same. */
export async function openOrderFor(
  tx: Tx,
  proposal: Proposal & { sessionId: string },
  isStillGood: (order: SeenOrder) => boolean,
): Promise<SeenOrder> {
  await lockSession(tx, proposal);
  const { merchantId, sessionId, resource } = proposal;
  const [row] = await tx
    .select({ orderId: orders.orderId })
    .from(orders)
    .where(isOpenFor(merchantId, sessionId, resource));
  const open = row && (await findOwnOrder(tx, merchantId, row.orderId));
  if (open && isStillGood(open)) return open;
  return (await createOrder(tx, proposal)).order;
}

const lockName = (tx: Db | Tx, name: string) =>
  tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${`payments.orders ${name}`}, 0))`);

const lockSession = (tx: Tx, { merchantId, sessionId, resource }: Proposal) =>
  lockName(tx, `${merchantId} ${sessionId} ${resource}`);

const isOpenFor = (merchantId: string, sessionId: string, resource: string) =>
  and(
    ...[eq(orders.merchantId, merchantId), eq(orders.sessionId, sessionId), eq(orders.resource, resource)],
    ...[ne(orders.state, 'paid'), isNull(orders.supersededAt)],
  );

const momentOf = (value: number | Date) =>
  typeof value === 'number' ? sql`now() + make_interval(secs => ${value})` : value;

/** Without a claim token the name is what nobody must guess: then it is all chance, and no time. */
const nameOf = (id: string, { hasToken }: Proposal): string =>
  hasToken ? toWire('order', id) : `ord_${newToken().slice(0, UNGUESSABLE_LENGTH)}`;

async function insert(tx: Tx, proposal: Proposal, proposalHash: string): Promise<SeenOrder> {
  const { payIn, refundIn, orderId, ...rest } = proposal;
  const id = newId();
  const [order] = await tx
    .insert(orders)
    .values({
      ...{ ...rest, id, orderId: orderId ?? nameOf(id, proposal), proposalHash },
      ...{ payDeadline: momentOf(payIn), refundDeadline: momentOf(refundIn) },
    })
    .returning();
  if (!order) throw new Error('no order was made');
  await tellOrder(tx, order, 'created');
  return { ...order, isExpired: false };
}

const hashOf = ({ price, payIn, refundIn, ...rest }: Proposal): string =>
  createHash('sha256')
    .update(
      spell({
        ...rest,
        prices: rest.prices as unknown as Json,
        price: String(price),
        payIn: String(payIn),
        refundIn: String(refundIn),
      }),
    )
    .digest('hex');
