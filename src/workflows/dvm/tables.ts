import { sql } from 'drizzle-orm';
import { bigint, boolean, foreignKey, index, integer, json, jsonb, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import { createdAt, moment } from '../../platform/database/columns.ts';
import type { NostrEvent } from '../../platform/nostr/event.ts';
import { asks } from '../asks/tables.ts';
import { runs, workflowsSchema } from '../tables.ts';

/** What was said of a job so far. Everything that is said of it follows from this and from how its run stands (`speak.ts`). */
export interface Said {
  isProcessing: boolean;
  /** The ask that was made public last, and what was due then. */
  asked: string | null;
  /** Number of the last part that was delivered. */
  parts: number;
}

/** Whose account a key of Nostr uses: its shadow account, until its holder links another one. */
export const customers = workflowsSchema.table('nostr_customers', {
  /** Public key, hex. */
  pubkey: text('pubkey').primaryKey(),
  accountId: uuid('account_id').notNull(),
  createdAt: createdAt(),
  linkedAt: moment('linked_at'),
});

/** Requests for jobs (NIP-90), each once however many relays tell of it. */
export const jobs = workflowsSchema.table(
  'nostr_jobs',
  {
    /** Of the request. */
    id: text('id').primaryKey(),
    accountId: uuid('account_id').notNull(),
    pubkey: text('pubkey').notNull(),
    request: json('request').$type<NostrEvent>().notNull(),
    /** How it was encrypted, and its answers are. */
    cipher: text('cipher').$type<'nip04' | 'nip44'>(),
    /** Where answers are wanted, besides our own relays. */
    relays: jsonb('relays').$type<string[]>().notNull(),
    createdAt: createdAt(),
    /** Until it has one, it is still to be begun. */
    runId: uuid('run_id'),
    said: jsonb('said').$type<Said>().notNull().default({ isProcessing: false, asked: null, parts: 0 }),
    /** How its run stood when that was said. */
    heard: text('heard').notNull().default(''),
    /** Time of the last event about it, unix seconds: the next one is later, since relays order those of one second by chance. */
    lastWordAt: bigint('last_word_at', { mode: 'number' }).notNull(),
    /** Its author has deleted the request. */
    isWithdrawn: boolean('is_withdrawn').notNull().default(false),
    /** Of attempts that have failed in a row, and when the next one is due. */
    failures: integer('failures').notNull().default(0),
    nextAt: moment('next_at').notNull().default(sql`now()`),
    /** Its last event was said. */
    closedAt: moment('closed_at'),
  },
  (t) => [
    foreignKey({
      name: 'nostr_jobs_of_run',
      columns: [t.accountId, t.runId],
      foreignColumns: [runs.accountId, runs.id],
    }),
    index('nostr_jobs_open').on(t.nextAt).where(sql`closed_at is null`),
    index('nostr_jobs_account').on(t.accountId, t.createdAt),
    uniqueIndex('nostr_jobs_run').on(t.runId),
  ],
);

/** Events of ours, signed when they became true, and handed to relays until one has taken them. */
export const words = workflowsSchema.table(
  'nostr_events',
  {
    id: text('id').primaryKey(),
    jobId: text('job_id').references(() => jobs.id),
    /** 1, 2, 3, … of a job: they are handed over in this order. */
    seq: integer('seq').notNull(),
    event: json('event').$type<NostrEvent>().notNull(),
    /** What it announces, and takes the place of. */
    topic: text('topic'),
    /** Whoever pays this event pays this ask. */
    askId: uuid('ask_id').references(() => asks.id),
    amountMsat: bigint('amount_msat', { mode: 'bigint' }),
    isLast: boolean('is_last').notNull(),
    createdAt: createdAt(),
    publishedAt: moment('published_at'),
    attempts: integer('attempts').notNull().default(0),
    nextAt: moment('next_at').notNull().default(sql`now()`),
    /** What the relays said that did not take it. */
    trouble: text('trouble'),
  },
  (t) => [
    uniqueIndex('nostr_events_job').on(t.jobId, t.seq).where(sql`job_id is not null`),
    // A job has one last word.
    uniqueIndex('nostr_events_last').on(t.jobId).where(sql`is_last`),
    index('nostr_events_unpublished').on(t.nextAt).where(sql`published_at is null`),
    index('nostr_events_topic').on(t.topic, t.createdAt).where(sql`topic is not null`),
    index('nostr_events_ask').on(t.askId).where(sql`ask_id is not null`),
  ],
);

/** How far each relay was heard, by our own clock. */
export const cursors = workflowsSchema.table('nostr_cursors', {
  relay: text('relay').primaryKey(),
  heardUntil: moment('heard_until').notNull(),
});
