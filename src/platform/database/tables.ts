import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
  index,
  integer,
  jsonb,
  pgSchema,
  primaryKey,
  smallint,
  text,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core';
import { bytea, createdAt, moment, xid8 } from './columns.ts';

/** Schema `platform`: what every context appends to. It knows no context. */
export const platformSchema = pgSchema('platform');

/** Facts that happened, appended in the transaction of the change they tell of. Append-only, partitioned by month. */
export const events = platformSchema.table(
  'events',
  {
    seq: bigint('seq', { mode: 'bigint' }).notNull().default(sql`nextval('platform.events_seq')`),
    id: uuid('id').notNull().default(sql`gen_random_uuid()`),
    /** The writing transaction: readers must not pass one that is still running. */
    xid: xid8('xid').notNull().default(sql`pg_current_xact_id()`),
    accountId: uuid('account_id'),
    type: text('type').notNull(),
    subjectId: uuid('subject_id').notNull(),
    payload: jsonb('payload').notNull(),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ name: 'events_pkey', columns: [t.createdAt, t.seq] }),
    index('events_xid').on(t.xid, t.seq),
    index('events_subject').on(t.subjectId, t.seq),
    index('events_account').on(t.accountId, t.xid, t.seq),
  ],
);

/** What a client's Idempotency-Key led to. Runs keep their keys themselves, for ever. */
export const idempotencyKeys = platformSchema.table(
  'idempotency_keys',
  {
    accountId: uuid('account_id').notNull(),
    /** Method and route pattern. */
    route: text('route').notNull(),
    key: text('key').notNull(),
    fingerprint: bytea('fingerprint').notNull(),
    resourceId: uuid('resource_id'),
    status: smallint('status'),
    /** The reply's bytes, sealed: some replies show a secret once. */
    reply: bytea('reply'),
    createdAt: createdAt(),
    expiresAt: moment('expires_at').notNull(),
  },
  (t) => [
    primaryKey({ name: 'idempotency_keys_pkey', columns: [t.accountId, t.route, t.key] }),
    index('idempotency_keys_expiry').on(t.expiresAt),
  ],
);

/** Who did what: security events and every decision about money. Append-only; sealed in blocks by `audit_seals`. */
export const auditLog = platformSchema.table(
  'audit_log',
  {
    seq: bigint('seq', { mode: 'bigint' }).primaryKey().generatedAlwaysAsIdentity(),
    xid: xid8('xid').notNull().default(sql`pg_current_xact_id()`),
    at: moment('at').notNull().default(sql`now()`),
    /** Account id, or a name such as `worker:reconciler`. */
    actor: text('actor').notNull(),
    action: text('action').notNull(),
    subjectId: text('subject_id'),
    detail: text('detail').notNull(),
    requestId: text('request_id'),
  },
  (t) => [index('audit_log_subject').on(t.subjectId, t.seq), index('audit_log_xid').on(t.xid, t.seq)],
);

/** One link of the audit log's hash chain: it seals all rows up to (xid, seq). */
export const auditSeals = platformSchema.table('audit_seals', {
  id: bigint('id', { mode: 'bigint' }).primaryKey(),
  untilXid: xid8('until_xid').notNull(),
  untilSeq: bigint('until_seq', { mode: 'bigint' }).notNull(),
  rows: integer('rows').notNull(),
  previous: bytea('previous').notNull(),
  hash: bytea('hash').notNull(),
  sealedAt: moment('sealed_at').notNull().default(sql`now()`),
});

/** Audits that this installation has made of itself. The latest is what operators and metrics are told. */
export const audits = platformSchema.table('audits', {
  id: bigint('id', { mode: 'bigint' }).primaryKey().generatedAlwaysAsIdentity(),
  startedAt: moment('started_at').notNull(),
  finishedAt: moment('finished_at').notNull(),
  /** What was checked and what was found; see `audit/run-audit.ts`. */
  checks: jsonb('checks').notNull(),
  /** Nothing new is started because of it, until an operator clears it. */
  halts: boolean('halts').notNull().default(false),
  clearedAt: moment('cleared_at'),
});

/** Facts about this installation that must never change, such as its mode (live or test). */
export const installation = platformSchema.table('installation', {
  name: text('name').primaryKey(),
  value: text('value').notNull(),
});

/** Who among the contexts wants to hear of which type of event: the table of `app.ts`, for whoever writes an event. */
export const subscribers = platformSchema.table(
  'subscribers',
  { type: text('type').notNull(), name: text('name').notNull() },
  (t) => [primaryKey({ name: 'subscribers_pkey', columns: [t.type, t.name] })],
);

/** One event for one subscriber, written with the event; gone once it was heard. */
export const deliveries = platformSchema.table(
  'deliveries',
  {
    eventSeq: bigint('event_seq', { mode: 'bigint' }).notNull(),
    subscriber: text('subscriber').notNull(),
    type: text('type').notNull(),
    subjectId: uuid('subject_id').notNull(),
    payload: jsonb('payload').notNull(),
    attempts: integer('attempts').notNull().default(0),
    /** Null: it was tried often enough, and a person has to look. */
    nextAttemptAt: moment('next_attempt_at').default(sql`now()`),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ name: 'deliveries_pkey', columns: [t.eventSeq, t.subscriber] }),
    index('deliveries_due').on(t.nextAttemptAt).where(sql`next_attempt_at is not null`),
  ],
);

/** Where an account wants its events posted. */
export const webhookEndpoints = platformSchema.table(
  'webhook_endpoints',
  {
    id: uuid('id').primaryKey(),
    accountId: uuid('account_id').notNull(),
    url: text('url').notNull(),
    /** Types, prefixes such as `payments.*`, or `*`. */
    events: text('events').array().notNull(),
    description: text('description').notNull(),
    signingSecret: bytea('signing_secret').notNull(),
    enabled: boolean('enabled').notNull().default(true),
    /** `owner`, or why we did it: `gone` (410), `failing` (nothing but failure for three days). */
    disabledReason: text('disabled_reason').$type<'owner' | 'gone' | 'failing'>(),
    /** It is owed events from here on, and each delivery three days of tries: creation, enabling, another filter. */
    toldSince: moment('told_since').notNull().default(sql`now()`),
    /** The first failure since the last success. */
    failingSince: moment('failing_since'),
    createdAt: createdAt(),
    /** It is no more; the row stays until its deliveries are gone. */
    deletedAt: moment('deleted_at'),
  },
  (t) => [index('webhook_endpoints_account').on(t.accountId, t.createdAt).where(sql`deleted_at is null`)],
);

/** One event for one endpoint. Of one subject at most one is under way; later ones are held behind it. */
export const webhookDeliveries = platformSchema.table(
  'webhook_deliveries',
  {
    id: uuid('id').primaryKey().default(sql`gen_random_uuid()`),
    endpointId: uuid('endpoint_id')
      .notNull()
      .references(() => webhookEndpoints.id),
    eventSeq: bigint('event_seq', { mode: 'bigint' }).notNull(),
    /** With `event_seq` the event's key. */
    eventAt: moment('event_at').notNull(),
    subjectId: uuid('subject_id').notNull(),
    state: text('state').$type<'held' | 'pending' | 'sending' | 'delivered' | 'failed'>().notNull(),
    attempt: integer('attempt').notNull().default(0),
    /** While sending: the end of the lease. */
    nextAttemptAt: moment('next_attempt_at').notNull().default(sql`now()`),
    /** Three days after it, a failure is the last one. */
    firstAttemptAt: moment('first_attempt_at'),
    finishedAt: moment('finished_at'),
    createdAt: createdAt(),
  },
  (t) => [
    uniqueIndex('webhook_deliveries_event').on(t.endpointId, t.eventSeq),
    uniqueIndex('webhook_deliveries_under_way')
      .on(t.endpointId, t.subjectId)
      .where(sql`state in ('pending', 'sending')`),
    index('webhook_deliveries_held').on(t.endpointId, t.subjectId, t.eventSeq).where(sql`state = 'held'`),
    index('webhook_deliveries_due').on(t.endpointId, t.nextAttemptAt).where(sql`state in ('pending', 'sending')`),
    index('webhook_deliveries_oldest').on(t.endpointId, t.createdAt).where(sql`state in ('pending', 'sending')`),
    index('webhook_deliveries_age').on(t.createdAt),
    index('webhook_deliveries_failed').on(t.finishedAt).where(sql`state = 'failed'`),
  ],
);

/** What each call of an endpoint came to. */
export const webhookAttempts = platformSchema.table(
  'webhook_attempts',
  {
    deliveryId: uuid('delivery_id')
      .notNull()
      .references(() => webhookDeliveries.id, { onDelete: 'cascade' }),
    attempt: integer('attempt').notNull(),
    at: moment('at').notNull(),
    ms: integer('ms').notNull(),
    status: smallint('status'),
    error: text('error'),
    /** The beginning of what the endpoint said. */
    excerpt: text('excerpt'),
  },
  (t) => [primaryKey({ name: 'webhook_attempts_pkey', columns: [t.deliveryId, t.attempt] })],
);

/** Up to where events have become deliveries: all at or before (xid, seq). One row. */
export const webhookCursor = platformSchema.table('webhook_cursor', {
  one: boolean('one').primaryKey().default(true),
  xid: xid8('xid').notNull(),
  seq: bigint('seq', { mode: 'bigint' }).notNull(),
  movedAt: moment('moved_at').notNull().default(sql`now()`),
});
