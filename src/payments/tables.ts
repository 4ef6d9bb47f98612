import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
  index,
  integer,
  jsonb,
  pgSchema,
  primaryKey,
  text,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core';
import { amount, baseUnits, bytea, createdAt, moment } from '../platform/database/columns.ts';

/** Schema `payments`. */
export const paymentsSchema = pgSchema('payments');

export type PurchaseState =
  | 'pending'
  | 'completed'
  | 'failed'
  | 'expired'
  | 'cancelled'
  | 'review'
  | 'partially_refunded'
  | 'refunded';
export type ChargeState =
  | 'creating' // intent committed, the provider's answer is not known yet
  | 'pending'
  | 'successful'
  | 'failed'
  | 'expired'
  | 'reversed'
  | 'abandoned' // the provider never made it
  | 'review';

/** Credits sold at a price. Never edited in what it sells: a purchase copies both. */
export const packages = paymentsSchema.table('packages', {
  id: uuid('id').primaryKey(),
  name: text('name').notNull(),
  description: text('description').notNull().default(''),
  credits: amount('credits').notNull(),
  /** Minor units of `currency`. */
  price: amount('price').notNull(),
  currency: text('currency').notNull(),
  active: boolean('active').notNull().default(true),
  createdAt: createdAt(),
});

/** What a package costs in an asset of a chain, as the operator has set it. */
export const packagePrices = paymentsSchema.table(
  'package_prices',
  {
    packageId: uuid('package_id')
      .notNull()
      .references(() => packages.id),
    /** CAIP-19. */
    asset: text('asset').notNull(),
    amount: baseUnits('amount').notNull(),
  },
  (t) => [primaryKey({ name: 'package_prices_pkey', columns: [t.packageId, t.asset] })],
);

export const purchases = paymentsSchema.table(
  'purchases',
  {
    id: uuid('id').primaryKey(),
    accountId: uuid('account_id').notNull(),
    /** What is bought: a package, or exactly the credits that an order costs, or something of another context. */
    packageId: uuid('package_id').references(() => packages.id),
    orderId: uuid('order_id'),
    /** The browser session that is to be opened by it; orders only. */
    orderSession: text('order_session'),
    /** What the credits are set aside for when they come: opaque here. */
    forType: text('for_type'),
    forId: uuid('for_id'),
    packageName: text('package_name').notNull(),
    credits: amount('credits').notNull(),
    price: amount('price').notNull(),
    currency: text('currency').notNull(),
    livemode: boolean('livemode').notNull(),
    method: text('method').notNull(),
    state: text('state').$type<PurchaseState>().notNull().default('pending'),
    failureCode: text('failure_code'),
    failureMessage: text('failure_message'),
    /** Whoever knows it can see and pay the purchase: the address of its checkout page. */
    pageToken: text('page_token').notNull(),
    returnUri: text('return_uri'),
    createdAt: createdAt(),
    /** When an untouched purchase is given up; a charge's own life is the provider's. */
    expiresAt: moment('expires_at').notNull(),
    completedAt: moment('completed_at'),
    /** Spoken for by refunds, under way or done, and by what was clawed back. */
    refundCredits: amount('refund_credits').notNull().default(sql`0`),
    refundAmount: amount('refund_amount').notNull().default(sql`0`),
    /** Of these, what is done. */
    refundedCredits: amount('refunded_credits').notNull().default(sql`0`),
    refundedAmount: amount('refunded_amount').notNull().default(sql`0`),
  },
  (t) => [
    uniqueIndex('purchases_page_token').on(t.pageToken),
    index('purchases_account').on(t.accountId, t.createdAt, t.id),
    index('purchases_open').on(t.expiresAt).where(sql`state = 'pending'`),
    index('purchases_review').on(t.createdAt).where(sql`state = 'review'`),
    // Of one order no second way to pay while the first is open; another wallet that takes it has a way of its own.
    uniqueIndex('purchases_order').on(t.orderId, t.accountId).where(sql`state = 'pending' and order_id is not null`),
    // Nor of anything else; of invoices, which nobody can take back, one for each amount.
    uniqueIndex('purchases_purposes')
      .on(t.forType, t.forId, sql`(case when method = 'lightning' then credits else 0 end)`)
      .where(sql`state = 'pending' and for_id is not null`),
    index('purchases_for').on(t.forId).where(sql`for_id is not null`),
  ],
);

/** One attempt to pay a purchase at the provider. Committed before the provider is asked. */
export const charges = paymentsSchema.table(
  'charges',
  {
    /** Random and secret: it goes into the provider's metadata, and only we can have put it there. */
    attemptId: uuid('attempt_id').primaryKey(),
    purchaseId: uuid('purchase_id')
      .notNull()
      .references(() => purchases.id),
    method: text('method').notNull(),
    state: text('state').$type<ChargeState>().notNull().default('creating'),
    /** The provider's id (`chrg_…`), known once it has answered or the charge was found. */
    chargeId: text('charge_id'),
    authorizeUri: text('authorize_uri'),
    /** Where the QR image lies at the provider; customers see our copy. */
    qrUri: text('qr_uri'),
    failureCode: text('failure_code'),
    failureMessage: text('failure_message'),
    createdAt: createdAt(),
    expiresAt: moment('expires_at'),
    /** The reconciler looks again then; null when there is nothing left to learn. */
    nextCheckAt: moment('next_check_at'),
    checks: integer('checks').notNull().default(0),
    /** What was seen going back after the charge was credited, in one line; told when it changes. */
    takenBack: text('taken_back'),
  },
  (t) => [
    uniqueIndex('charges_charge_id').on(t.chargeId),
    index('charges_purchase').on(t.purchaseId),
    index('charges_due').on(t.nextCheckAt).where(sql`next_check_at is not null`),
  ],
);

/** Money that was booked, by its rail's own reference: the one place that says "once" across all accounts. */
export const claims = paymentsSchema.table(
  'claims',
  {
    rail: text('rail').notNull(),
    reference: text('reference').notNull(),
    purchaseId: uuid('purchase_id')
      .notNull()
      .references(() => purchases.id),
    amount: amount('amount').notNull(),
    currency: text('currency').notNull(),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ name: 'claims_pkey', columns: [t.rail, t.reference] }),
    uniqueIndex('claims_purchase').on(t.purchaseId),
    index('claims_made').on(t.createdAt),
  ],
);

/** Notifications as they came in, by the provider's event id. Only the charge id in them is used. */
export const webhookInbox = paymentsSchema.table(
  'webhook_inbox',
  {
    eventId: text('event_id').primaryKey(),
    key: text('key').notNull(),
    chargeId: text('charge_id'),
    /** What the body claimed, for comparison with what the provider says when asked. */
    claimedStatus: text('claimed_status'),
    bodyHash: bytea('body_hash').notNull(),
    state: text('state').$type<'received' | 'done' | 'ignored'>().notNull().default('received'),
    outcome: text('outcome'),
    attempts: integer('attempts').notNull().default(0),
    receivedAt: moment('received_at').notNull().default(sql`now()`),
    nextAttemptAt: moment('next_attempt_at').notNull().default(sql`now()`),
  },
  (t) => [
    index('webhook_inbox_due').on(t.nextAttemptAt).where(sql`state = 'received'`),
    index('webhook_inbox_charge').on(t.chargeId, t.receivedAt),
  ],
);

/** Every step of every purchase: the audit trail of a payment. Append-only. */
export const history = paymentsSchema.table(
  'history',
  {
    seq: bigint('seq', { mode: 'bigint' }).primaryKey().generatedAlwaysAsIdentity(),
    purchaseId: uuid('purchase_id')
      .notNull()
      .references(() => purchases.id),
    at: moment('at').notNull().default(sql`now()`),
    /** Account id, or `webhook`, `reconciler`, `page`. */
    actor: text('actor').notNull(),
    what: text('what').notNull(),
    chargeId: text('charge_id'),
    detail: jsonb('detail').notNull().default({}),
  },
  (t) => [index('history_purchase').on(t.purchaseId, t.seq)],
);

/** What the provider and the ledger disagree on; an operator closes each. */
export const differences = paymentsSchema.table(
  'differences',
  {
    kind: text('kind').notNull(),
    reference: text('reference').notNull(),
    purchaseId: uuid('purchase_id').references(() => purchases.id),
    detail: jsonb('detail').notNull().default({}),
    foundAt: moment('found_at').notNull().default(sql`now()`),
    resolvedAt: moment('resolved_at'),
  },
  (t) => [
    primaryKey({ name: 'differences_pkey', columns: [t.kind, t.reference] }),
    index('differences_open').on(t.foundAt).where(sql`resolved_at is null`),
    index('differences_found').on(t.foundAt),
  ],
);

/** How far the reconciler has read the provider's lists. */
export const watermarks = paymentsSchema.table('watermarks', {
  name: text('name').primaryKey(),
  at: moment('at').notNull(),
});
