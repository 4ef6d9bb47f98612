import { sql } from 'drizzle-orm';
import { boolean, index, integer, jsonb, primaryKey, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import { amount, createdAt, moment } from '../../platform/database/columns.ts';
import { paymentsSchema } from '../tables.ts';

/** `claimed`: one wallet has taken it, and its terms are frozen. Past its end an order that is not paid is expired, whatever its state says. */
export type OrderState = 'unpaid' | 'claimed' | 'paid';

/** What it costs by another rail than credits: minor units of a currency, or base units of an asset (CAIP-19). */
export type RailPrice =
  | { rail: 'omise'; amount: number; currency: string }
  | { rail: 'evm'; asset: string; amount: string };

/** Whether a refund of a part takes the access away, or only one of all that was paid. */
export type RefundPolicy = 'revoke_on_any' | 'revoke_on_full';

/** Something that a shop sells at an address, bound to the sessions that have proved its payment. */
export const orders = paymentsSchema.table(
  'orders',
  {
    id: uuid('id').primaryKey(),
    /** In addresses: the shop's own name for it, or ours. */
    orderId: text('order_id').notNull(),
    /** The shop's account. */
    merchantId: uuid('merchant_id').notNull(),
    /** What it opens; an order opens nothing else. */
    resource: text('resource').notNull(),
    summary: text('summary').notNull(),
    /** In credits. */
    price: amount('price').notNull(),
    prices: jsonb('prices').$type<RailPrice[]>().notNull().default([]),
    fulfillmentUrl: text('fulfillment_url'),
    fulfillmentMessage: text('fulfillment_message'),
    publicReorderUrl: text('public_reorder_url'),
    /** Handed through to the shop's own eyes. */
    extra: jsonb('extra'),
    maxSessions: integer('max_sessions').notNull(),
    refundPolicy: text('refund_policy').$type<RefundPolicy>().notNull(),
    /** Whether a claim token is needed to see and claim it. */
    hasToken: boolean('has_token').notNull(),
    /** The browser session for which it was made. */
    sessionId: text('session_id'),
    /** What was asked for, so that the same again is a repeat: SHA-256 in hex. */
    proposalHash: text('proposal_hash').notNull(),
    state: text('state').$type<OrderState>().notNull().default('unpaid'),
    createdAt: createdAt(),
    payDeadline: moment('pay_deadline').notNull(),
    refundDeadline: moment('refund_deadline').notNull(),
    /** Another one has taken its place for its session. */
    supersededAt: moment('superseded_at'),
    claimedAt: moment('claimed_at'),
    claimDid: text('claim_did'),
    nonce: text('nonce'),
    /** The frozen terms in their one spelling, and their hash. */
    contract: text('contract'),
    hContract: text('h_contract'),
    paidAt: moment('paid_at'),
    /** Whose credits have paid it. */
    payerId: uuid('payer_id'),
    /** Spoken for by refunds, under way or done; and of these what is done. */
    refundCredits: amount('refund_credits').notNull().default(sql`0`),
    refundedCredits: amount('refunded_credits').notNull().default(sql`0`),
    /** Raised by everything that changes who may read it. */
    version: integer('version').notNull().default(1),
  },
  (t) => [
    uniqueIndex('orders_order_id').on(t.orderId),
    uniqueIndex('orders_h_contract').on(t.hContract),
    // Two tabs of one session wait for the same order.
    uniqueIndex('orders_open')
      .on(t.merchantId, t.sessionId, t.resource)
      .where(sql`state <> 'paid' and superseded_at is null and session_id is not null`),
    index('orders_merchant').on(t.merchantId, t.createdAt, t.id),
    index('orders_bought').on(t.merchantId, t.fulfillmentUrl, t.claimDid).where(sql`state = 'paid'`),
    index('orders_waiting').on(t.sessionId).where(sql`state <> 'paid' and session_id is not null`),
  ],
);

/** Sessions that have proved the payment of an order. */
export const orderSessions = paymentsSchema.table(
  'order_sessions',
  {
    orderId: uuid('order_id')
      .notNull()
      .references(() => orders.id),
    /** The public id of a browser session; its secret is the shop's. */
    sessionId: text('session_id').notNull(),
    provenAt: moment('proven_at').notNull().default(sql`now()`),
    /** So often it was moved here, each time within the hour after the time before. */
    moves: integer('moves').notNull().default(1),
    /** Set when it may not read any more: another one has taken its place, or the money went back. */
    evictedAt: moment('evicted_at'),
  },
  (t) => [
    primaryKey({ name: 'order_sessions_pkey', columns: [t.orderId, t.sessionId] }),
    index('order_sessions_alive').on(t.sessionId).where(sql`evicted_at is null`),
  ],
);
