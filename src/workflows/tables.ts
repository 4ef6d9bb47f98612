import { sql } from 'drizzle-orm';
import {
  boolean,
  foreignKey,
  index,
  integer,
  jsonb,
  pgSchema,
  primaryKey,
  text,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core';
import { amount, bytea, createdAt, moment } from '../platform/database/columns.ts';
import { type PaymentPolicy, type RunQuote, standardPolicy } from './asks/policy.ts';

/** Schema `workflows`. */
export const workflowsSchema = pgSchema('workflows');

/** `awaiting_payment`: not started. `paused`: it goes on once its next part is paid. `expired`: its payment never came. */
export type RunState =
  | 'awaiting_payment'
  | 'queued'
  | 'running'
  | 'paused'
  | 'succeeded'
  | 'failed'
  | 'cancelled'
  | 'expired';

/** What has become of its latest ask; `none`: nothing is asked yet, or will be. */
export type PaymentState = 'none' | 'open' | 'part_paid' | 'paid' | 'expired' | 'written_off' | 'released';

/** An operator's offer and how it is executed. */
export const services = workflowsSchema.table(
  'services',
  {
    id: uuid('id').primaryKey(),
    name: text('name').notNull(),
    description: text('description').notNull().default(''),
    creditCost: amount('credit_cost').notNull(),
    /** Raised with every change of the cost. */
    priceVersion: integer('price_version').notNull().default(1),
    /** JSON Schema of the input, checked before any money moves. */
    inputSchema: jsonb('input_schema').notNull().default({}),
    /** Raised with every change of what a run depends on. */
    version: integer('version').notNull().default(1),
    endpoint: text('endpoint').notNull(),
    /** Sealed `whsec_…`. */
    signingSecret: bytea('signing_secret').notNull(),
    timeoutMs: integer('timeout_ms').notNull(),
    maxAttempts: integer('max_attempts').notNull(),
    deadlineS: integer('deadline_s').notNull(),
    reportIntervalS: integer('report_interval_s').notNull(),
    maxConcurrency: integer('max_concurrency').notNull(),
    refundOnFailure: text('refund_on_failure').$type<'full' | 'none'>().notNull().default('full'),
    /** How its runs are paid; a change raises the version. */
    payment: jsonb('payment').$type<PaymentPolicy>().notNull().default(standardPolicy),
    /** Kind of the jobs on Nostr that it does (NIP-90); null: none. */
    nostrKind: integer('nostr_kind'),
    active: boolean('active').notNull().default(true),
    createdAt: createdAt(),
  },
  (t) => [uniqueIndex('services_nostr_kind').on(t.nostrKind).where(sql`active and nostr_kind is not null`)],
);

/** An account's own configuration of a service, with the cost it agreed to. */
export const workflows = workflowsSchema.table(
  'workflows',
  {
    id: uuid('id').primaryKey(),
    accountId: uuid('account_id').notNull(),
    serviceId: uuid('service_id')
      .notNull()
      .references(() => services.id),
    name: text('name').notNull(),
    creditCost: amount('credit_cost').notNull(),
    priceVersion: integer('price_version').notNull(),
    /** The agreed cost, part by part; null: it is one price. */
    milestones: jsonb('milestones').$type<number[]>(),
    inputDefaults: jsonb('input_defaults').notNull().default({}),
    version: integer('version').notNull().default(1),
    createdAt: createdAt(),
    deletedAt: moment('deleted_at'),
  },
  (t) => [index('workflows_account').on(t.accountId, t.createdAt, t.id), index('workflows_service').on(t.serviceId)],
);

/** One execution. The row is its own queue entry and keeps the client's Idempotency-Key for ever. */
export const runs = workflowsSchema.table(
  'runs',
  {
    accountId: uuid('account_id').notNull(),
    id: uuid('id').notNull(),
    workflowId: uuid('workflow_id').notNull(),
    serviceId: uuid('service_id').notNull(),
    cost: amount('cost').notNull(),
    returned: amount('returned').notNull().default(sql`0`),
    priceVersion: integer('price_version').notNull(),
    state: text('state').$type<RunState>().notNull().default('queued'),
    input: jsonb('input').notNull(),
    output: jsonb('output'),
    failureCode: text('failure_code'),
    failureMessage: text('failure_message'),
    progress: jsonb('progress'),
    idempotencyKey: text('idempotency_key').notNull(),
    requestHash: bytea('request_hash').notNull(),
    /** Fencing token: whoever works under an older number has no say any more. */
    attempt: integer('attempt').notNull().default(0),
    /** The queue: due when it has passed. While running it is the end of the lease, or when the next report is due. */
    nextAttemptAt: moment('next_attempt_at').notNull().default(sql`now()`),
    deadlineAt: moment('deadline_at').notNull(),
    createdAt: createdAt(),
    startedAt: moment('started_at'),
    finishedAt: moment('finished_at'),
    /** The terms of a run that is paid by asks (asks/); null: its cost was spent when it was accepted. */
    quote: jsonb('quote').$type<RunQuote>(),
    paymentState: text('payment_state').$type<PaymentState>().notNull().default('paid'),
    /** Of a run with a quote: what was taken for it, and what its latest ask still wants. */
    paid: amount('paid').notNull().default(sql`0`),
    due: amount('due').notNull().default(sql`0`),
    askId: uuid('ask_id'),
    /** How many of its milestones are paid: parts up to this number can be read. */
    paidParts: integer('paid_parts').notNull().default(0),
    /** Attempts that earlier milestones took. */
    attemptsBefore: integer('attempts_before').notNull().default(0),
    /** The executor has delivered all; the output waits for what is still to be paid. */
    deliveredAt: moment('delivered_at'),
  },
  (t) => [
    primaryKey({ name: 'runs_pkey', columns: [t.accountId, t.id] }),
    uniqueIndex('runs_key').on(t.accountId, t.idempotencyKey),
    index('runs_id').on(t.id),
    index('runs_account').on(t.accountId, t.createdAt, t.id),
    index('runs_queue').on(t.serviceId, t.accountId, t.nextAttemptAt).where(sql`state in ('queued', 'running')`),
    /** Live leases are counted at each look for due runs: without it by a walk through the whole queue. */
    index('runs_live').on(t.serviceId, t.nextAttemptAt).where(sql`state = 'running'`),
    index('runs_deadline').on(t.deadlineAt).where(sql`state in ('queued', 'running')`),
  ],
);

/** Partial results, as the executor reported them. */
export const parts = workflowsSchema.table(
  'parts',
  {
    accountId: uuid('account_id').notNull(),
    runId: uuid('run_id').notNull(),
    number: integer('number').notNull(),
    content: jsonb('content').notNull(),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ name: 'parts_pkey', columns: [t.accountId, t.runId, t.number] }),
    foreignKey({ name: 'parts_run', columns: [t.accountId, t.runId], foreignColumns: [runs.accountId, runs.id] }),
  ],
);
