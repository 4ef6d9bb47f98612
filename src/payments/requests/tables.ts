import { sql } from 'drizzle-orm';
import { bigint, boolean, index, integer, jsonb, primaryKey, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import { amount, baseUnits, createdAt, moment } from '../../platform/database/columns.ts';
import { paymentsSchema, purchases } from '../tables.ts';

/** `authenticated`: the payer has agreed. `confirming`: all of it is in the chain, and not final yet. */
export type RequestState =
  | 'pending'
  | 'authenticated'
  | 'submitted'
  | 'confirming'
  | 'underpaid'
  | 'completed'
  | 'late'
  | 'expired'
  | 'cancelled';

export type Late = 'accepted' | 'refundable';

/** A merchant asks the holder of a DID for an amount of an asset. Its terms are frozen: what is signed is what is checked. */
export const paymentRequests = paymentsSchema.table(
  'payment_requests',
  {
    id: uuid('id').primaryKey(),
    /** The account that asks; null when it is the house, for a purchase. */
    merchantId: uuid('merchant_id'),
    /** The purchase that is paid by it. */
    purchaseId: uuid('purchase_id').references(() => purchases.id),
    payerDid: text('payer_did').notNull(),
    /** The account that the payer's DID opens; known once the payer has agreed. */
    payerAccountId: uuid('payer_account_id'),
    /** CAIP-2, CAIP-19, CAIP-10. */
    chain: text('chain').notNull(),
    asset: text('asset').notNull(),
    recipient: text('recipient').notNull(),
    amount: baseUnits('amount').notNull(),
    symbol: text('symbol').notNull(),
    decimals: integer('decimals').notNull(),
    purpose: text('purpose').$type<'credits' | 'invoice'>().notNull(),
    /** What the payer's account gets for it; purpose `credits` only. */
    credits: amount('credits'),
    /** The merchant's own number; purpose `invoice` only. */
    reference: text('reference'),
    description: text('description').notNull(),
    /** Whether what comes after the end pays, too, or is kept for a refund. */
    late: text('late').$type<Late>().notNull().default('refundable'),
    /** RFC 8785, and its SHA-256 in hex. */
    terms: text('terms').notNull(),
    termsHash: text('terms_hash').notNull(),
    state: text('state').$type<RequestState>().notNull().default('pending'),
    /** Arrived from the payer and counted, in time and late. */
    received: baseUnits('received').notNull().default('0'),
    /** Whoever knows it sees the request: the address of its page. */
    pageToken: text('page_token').notNull(),
    /** The answered challenge by which the payer agreed. */
    challengeId: uuid('challenge_id'),
    createdAt: createdAt(),
    expiresAt: moment('expires_at').notNull(),
    authorizedAt: moment('authorized_at'),
    completedAt: moment('completed_at'),
    cancelledAt: moment('cancelled_at'),
    /** Spoken for by refunds, under way or done: of what arrived in excess, and of the credits that it bought. */
    refundExcess: baseUnits('refund_excess').notNull().default('0'),
    refundCredits: amount('refund_credits').notNull().default(sql`0`),
  },
  (t) => [
    uniqueIndex('payment_requests_page_token').on(t.pageToken),
    uniqueIndex('payment_requests_purchase').on(t.purchaseId),
    index('payment_requests_merchant').on(t.merchantId, t.createdAt, t.id),
    index('payment_requests_payer').on(t.payerAccountId, t.createdAt, t.id),
    index('payment_requests_payer_did').on(t.payerDid, t.createdAt, t.id),
    index('payment_requests_open')
      .on(t.expiresAt)
      .where(sql`state in ('pending', 'authenticated', 'submitted', 'underpaid')`),
  ],
);

/** A transaction that is said to pay a request, and what became of it. */
export const requestTransactions = paymentsSchema.table(
  'request_transactions',
  {
    requestId: uuid('request_id')
      .notNull()
      .references(() => paymentRequests.id),
    /** Lower case, with 0x. */
    txHash: text('tx_hash').notNull(),
    /** `waiting`: not in the chain yet. `counted`: its transfers are settlements. `refused`: it pays nothing here. `given_up`: never seen. */
    state: text('state').$type<'waiting' | 'counted' | 'refused' | 'given_up'>().notNull().default('waiting'),
    /** What was seen last, in the words of the API. */
    outcome: text('outcome').notNull().default('tx_pending'),
    confirmations: integer('confirmations').notNull().default(0),
    isFinal: boolean('is_final').notNull().default(false),
    submittedAt: moment('submitted_at').notNull().default(sql`now()`),
    /** Null when there is nothing left to learn. */
    nextCheckAt: moment('next_check_at').default(sql`now()`),
    checks: integer('checks').notNull().default(0),
  },
  (t) => [
    primaryKey({ name: 'request_transactions_pkey', columns: [t.requestId, t.txHash] }),
    index('request_transactions_due').on(t.nextCheckAt).where(sql`next_check_at is not null`),
  ],
);

/** A transfer in the chain that counts for a request. The key says "once" across all requests. */
export const settlements = paymentsSchema.table(
  'settlements',
  {
    chain: text('chain').notNull(),
    txHash: text('tx_hash').notNull(),
    /** −1 for the native coin. */
    logIndex: integer('log_index').notNull(),
    requestId: uuid('request_id')
      .notNull()
      .references(() => paymentRequests.id),
    payer: text('payer').notNull(),
    amount: baseUnits('amount').notNull(),
    blockNumber: bigint('block_number', { mode: 'bigint' }).notNull(),
    blockHash: text('block_hash').notNull(),
    blockTime: moment('block_time').notNull(),
    createdAt: createdAt(),
    /** Set while the transfer is not in the chain any more. */
    goneAt: moment('gone_at'),
  },
  (t) => [
    primaryKey({ name: 'settlements_pkey', columns: [t.chain, t.txHash, t.logIndex] }),
    index('settlements_request').on(t.requestId),
  ],
);

/** Each time that a request was complete: the cause of its credits, and of taking them back after a reorganisation. */
export const completions = paymentsSchema.table(
  'completions',
  {
    id: uuid('id').primaryKey(),
    requestId: uuid('request_id')
      .notNull()
      .references(() => paymentRequests.id),
    createdAt: createdAt(),
    reversedAt: moment('reversed_at'),
  },
  (t) => [
    uniqueIndex('completions_standing').on(t.requestId).where(sql`reversed_at is null`),
    index('completions_request').on(t.requestId),
    index('completions_made').on(t.createdAt),
  ],
);

/** Every step of every payment request. Append-only. */
export const requestHistory = paymentsSchema.table(
  'request_history',
  {
    seq: bigint('seq', { mode: 'bigint' }).primaryKey().generatedAlwaysAsIdentity(),
    requestId: uuid('request_id')
      .notNull()
      .references(() => paymentRequests.id),
    at: moment('at').notNull().default(sql`now()`),
    actor: text('actor').notNull(),
    what: text('what').notNull(),
    txHash: text('tx_hash'),
    detail: jsonb('detail').notNull().default({}),
  },
  (t) => [index('request_history_request').on(t.requestId, t.seq)],
);

/** The next block of a chain in which the watcher looks for payments that nobody reported. */
export const chainCursors = paymentsSchema.table('chain_cursors', {
  /** CAIP-2. */
  chain: text('chain').primaryKey(),
  nextBlock: bigint('next_block', { mode: 'bigint' }).notNull(),
});
