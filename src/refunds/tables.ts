import { sql } from 'drizzle-orm';
import {
  bigint,
  index,
  integer,
  jsonb,
  numeric,
  pgSchema,
  primaryKey,
  text,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core';
import { amount, createdAt, moment } from '../platform/database/columns.ts';

/** Schema `refunds`. */
export const refundsSchema = pgSchema('refunds');

export type SubjectType = 'purchase' | 'payment_request' | 'run' | 'order';

/**
 * `reserved`: the credits are set aside. `sending`: money may be on its way, and what became of it is found out.
 * `rejected`: an operator has said no. `failed`: it could not be done, and everything is as it was before.
 */
export type RefundState =
  | 'requested'
  | 'awaiting_approval'
  | 'reserved'
  | 'sending'
  | 'completed'
  | 'rejected'
  | 'failed';

/** How it is given back. `bank`: outside the gateway, by an operator's transfer. */
export type RefundRail = 'credits' | 'omise' | 'bank' | 'evm';

/** Base units of a chain, or minor units. Read as a decimal string. */
const units = (name: string) => numeric(name, { precision: 78, scale: 0 });

/** One saga. The row is its own queue entry. */
export const refunds = refundsSchema.table(
  'refunds',
  {
    id: uuid('id').primaryKey(),
    /** Whose subject it is, and who gets it. */
    accountId: uuid('account_id').notNull(),
    subjectType: text('subject_type').$type<SubjectType>().notNull(),
    subjectId: uuid('subject_id').notNull(),
    /** Of a payment request: what arrived in excess, or credits that were not used. */
    part: text('part').$type<'whole' | 'excess'>().notNull().default('whole'),
    rail: text('rail').$type<RefundRail>().notNull(),
    /** Credits that are taken for money, or given: see `rail`. 0: none are touched. */
    credits: amount('credits').notNull(),
    /** Money that is given back, in `unit`; of an excess that becomes credits, what they stand for. */
    amount: units('amount').notNull(),
    /** ISO 4217 (minor units), CAIP-19 (base units), or `credit`. */
    unit: text('unit').notNull(),
    /** What it counts for in the limits, in credits; null: it has no price in credits, and a person decides. */
    worth: amount('worth'),
    /** CAIP-10 of the verified payer; `evm` only. */
    destination: text('destination'),
    reason: text('reason').notNull(),
    /** The answered challenge by which the payer asked; payment requests only. */
    challengeId: uuid('challenge_id'),
    state: text('state').$type<RefundState>().notNull().default('requested'),
    decidedBy: uuid('decided_by'),
    decision: text('decision'),
    failureCode: text('failure_code'),
    failureMessage: text('failure_message'),
    /** The rail's own name for what was paid: `rfnd_…`, a bank's reference, a transaction. */
    reference: text('reference'),
    createdAt: createdAt(),
    completedAt: moment('completed_at'),
    /** When the next step is due; null while nothing but a person can move it, and when it is over. */
    nextStepAt: moment('next_step_at'),
    /** Looks at the provider or the chain since the last sending. */
    looks: integer('looks').notNull().default(0),
  },
  (t) => [
    index('refunds_account').on(t.accountId, t.createdAt, t.id),
    index('refunds_subject').on(t.subjectId),
    index('refunds_state').on(t.state, t.createdAt, t.id),
    index('refunds_created').on(t.createdAt, t.id),
    // One run has one return in the ledger, and so one refund that is not over.
    uniqueIndex('refunds_run').on(t.subjectId).where(sql`subject_type = 'run' and state not in ('rejected', 'failed')`),
    index('refunds_completed').on(t.completedAt).where(sql`completed_at is not null`),
    index('refunds_due').on(t.nextStepAt).where(sql`next_step_at is not null`),
  ],
);

/** One try to pay a refund out. Committed before the provider is asked, or the chain is looked at. */
export const attempts = refundsSchema.table(
  'attempts',
  {
    refundId: uuid('refund_id')
      .notNull()
      .references(() => refunds.id),
    number: integer('number').notNull(),
    /** The charge, or the transaction. */
    target: text('target').notNull(),
    outcome: text('outcome')
      .$type<'open' | 'done' | 'refused' | 'unavailable' | 'not_found'>()
      .notNull()
      .default('open'),
    detail: text('detail'),
    startedAt: moment('started_at').notNull().default(sql`now()`),
  },
  (t) => [
    primaryKey({ name: 'attempts_pkey', columns: [t.refundId, t.number] }),
    // Of one refund no second try while the first may still succeed.
    uniqueIndex('attempts_open').on(t.refundId).where(sql`outcome = 'open'`),
  ],
);

/** Money that went back, by its rail's own reference: the one place that says "once", for our refunds and for others'. */
export const payouts = refundsSchema.table(
  'payouts',
  {
    rail: text('rail').notNull(),
    reference: text('reference').notNull(),
    /** Null: it was made elsewhere, and clawed back. */
    refundId: uuid('refund_id').references(() => refunds.id),
    amount: units('amount').notNull(),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ name: 'payouts_pkey', columns: [t.rail, t.reference] }),
    uniqueIndex('payouts_refund').on(t.refundId).where(sql`refund_id is not null`),
  ],
);

/** Credits taken back for money that went back without us: a refund, a void or a dispute at the provider. */
export const clawbacks = refundsSchema.table(
  'clawbacks',
  {
    id: uuid('id').primaryKey(),
    /** The provider's refund or dispute. */
    reference: text('reference').notNull(),
    kind: text('kind').$type<'refund' | 'void' | 'dispute'>().notNull(),
    purchaseId: uuid('purchase_id').notNull(),
    accountId: uuid('account_id').notNull(),
    credits: amount('credits').notNull(),
    amount: amount('amount').notNull(),
    createdAt: createdAt(),
    /** A dispute that was decided for us: the credits were given again. */
    restoredAt: moment('restored_at'),
  },
  (t) => [uniqueIndex('clawbacks_reference').on(t.reference), index('clawbacks_purchase').on(t.purchaseId)],
);

/** Charges that show money going back: to be read, and each of it to be told apart as ours or not. */
export const sightings = refundsSchema.table(
  'sightings',
  {
    chargeId: text('charge_id').primaryKey(),
    purchaseId: uuid('purchase_id').notNull(),
    nextLookAt: moment('next_look_at').default(sql`now()`),
    looks: integer('looks').notNull().default(0),
    /** How often it was told: whoever looks sees by it that something new came meanwhile. */
    told: integer('told').notNull().default(1),
  },
  (t) => [index('sightings_due').on(t.nextLookAt).where(sql`next_look_at is not null`)],
);

/** Every step of every refund, and who took it. Append-only. */
export const history = refundsSchema.table(
  'history',
  {
    seq: bigint('seq', { mode: 'bigint' }).primaryKey().generatedAlwaysAsIdentity(),
    /** A refund or a claw-back. */
    refundId: uuid('refund_id').notNull(),
    at: moment('at').notNull().default(sql`now()`),
    /** Account, or `saga`, `provider`, `chain`. */
    actor: text('actor').notNull(),
    what: text('what').notNull(),
    detail: jsonb('detail').notNull().default({}),
  },
  (t) => [index('history_refund').on(t.refundId, t.seq)],
);
