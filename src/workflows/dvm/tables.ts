import { sql } from 'drizzle-orm';
import { bigint, index, integer, jsonb, text, uniqueIndex } from 'drizzle-orm/pg-core';
import { moment } from '../../platform/database/columns.ts';
import { workflowsSchema } from '../tables.ts';

/** What we say on Nostr: signed in the transaction of what it tells of, published afterwards, never signed again. */
export const nostrOutbox = workflowsSchema.table(
  'nostr_outbox',
  {
    /** The event's. */
    id: text('id').primaryKey(),
    /** What it is about: of one subject events follow each other, by their own time, too. */
    subject: text('subject').notNull(),
    /** The time that the event says, unix seconds. */
    eventAt: bigint('event_at', { mode: 'number' }).notNull(),
    /** As it is sent. */
    event: jsonb('event').notNull(),
    /** Of strangers, who want it there, too. */
    relays: text('relays').array().notNull().default(sql`'{}'`),
    state: text('state').$type<'waiting' | 'published' | 'given_up'>().notNull().default('waiting'),
    attempts: integer('attempts').notNull().default(0),
    /** What relays have answered, by address. */
    answers: jsonb('answers').notNull().default({}),
    signedAt: moment('signed_at').notNull().default(sql`now()`),
    nextAttemptAt: moment('next_attempt_at').default(sql`now()`),
    publishedAt: moment('published_at'),
  },
  (t) => [
    uniqueIndex('nostr_outbox_subject').on(t.subject, t.eventAt),
    index('nostr_outbox_due').on(t.nextAttemptAt).where(sql`state = 'waiting'`),
    index('nostr_outbox_signed').on(t.signedAt),
  ],
);

/** What was heard on Nostr and is for us, once: whoever sends it again, by whatever relay, says nothing new. */
export const nostrInbox = workflowsSchema.table(
  'nostr_inbox',
  {
    id: text('id').primaryKey(),
    kind: integer('kind').notNull(),
    author: text('author').notNull(),
    eventAt: bigint('event_at', { mode: 'number' }).notNull(),
    event: jsonb('event').notNull(),
    /** That it was heard from first. */
    relay: text('relay').notNull(),
    receivedAt: moment('received_at').notNull().default(sql`now()`),
    /** What came of it; null: not looked at yet. */
    verdict: text('verdict'),
  },
  (t) => [
    index('nostr_inbox_new').on(t.receivedAt).where(sql`verdict is null`),
    index('nostr_inbox_received').on(t.receivedAt),
  ],
);

/** Until when a relay was heard to the end, by our clock. */
export const nostrRelays = workflowsSchema.table('nostr_relays', {
  url: text('url').primaryKey(),
  heardUntil: moment('heard_until').notNull(),
});
