import { and, eq, lte, sql } from 'drizzle-orm';
import type { Db, Tx } from '../../platform/database/clients.ts';
import { inParallel } from '../../platform/delivery/in-parallel.ts';
import { fullJitter, insist } from '../../platform/delivery/retries.ts';
import type { Worker } from '../../platform/delivery/worker.ts';
import type { Log } from '../../platform/log.ts';
import { type EventTemplate, type NostrEvent, signEvent } from '../../platform/nostr/event.ts';
import type { Published } from '../../platform/nostr/relay.ts';
import type { Relays } from '../../platform/nostr/relays.ts';
import { nostrOutbox } from './tables.ts';

/** An event that is to be told. */
export interface Told extends Omit<EventTemplate, 'created_at'> {
  /** What it is about, such as the id of a job. */
  subject: string;
  /** Unix seconds: an answer is not older than what it answers. */
  notBefore: number;
  /** Where its recipient wants it, beside our own relays. */
  relays: readonly string[];
}

/**
 * Signs an event in the transaction of what it tells of; it is published after the commit. Of one subject each is later than
 * the one before, also by its own time: relays and clients put them into that order.
 */
export async function say(
  tx: Tx,
  key: Uint8Array,
  { subject, notBefore, relays, ...template }: Told,
): Promise<NostrEvent> {
  await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${`workflows.nostr ${subject}`}, 0))`);
  const [row] = await tx.execute<{ at: string }>(sql`
    select greatest(${notBefore}::bigint, extract(epoch from clock_timestamp())::bigint,
      (select max(event_at) + 1 from ${nostrOutbox} where subject = ${subject})) as at`);
  const event = signEvent({ ...template, created_at: Number(row?.at) }, key);
  await tx.insert(nostrOutbox).values({
    id: event.id,
    subject,
    eventAt: event.created_at,
    event,
    relays: [...new Set(relays)].slice(0, MAX_RELAYS),
  });
  return event;
}

const MAX_RELAYS = 20; // that a stranger may name; fewer are called
const EVERY_MS = 1_000;
const AT_ONCE = 16;
const IN_PARALLEL = 4;
/** Whoever took one and died leaves it to others after this; longer than publishing takes. */
const LEASE_S = 60;
const FIRST_PAUSE_MS = 2_000;
const LONGEST_PAUSE_MS = 600_000;
/** What no relay has taken for so long, nobody waits for any more. */
const GIVE_UP_AFTER_S = 7 * 86_400;
const KEPT_DAYS = 30;
const REAPED_AT_ONCE = 1_000;

export interface OutboxDeps {
  db: Db;
  relays: Relays;
  log: Log;
}

type Waiting = typeof nostrOutbox.$inferSelect;

/** Publishes what was signed until one relay has taken it, of each subject one after the other. */
export const outboxWorker = (deps: OutboxDeps): Worker => ({
  name: 'nostr-outbox',
  everyMs: EVERY_MS,
  runOnce: async () => {
    const due = await lease(deps.db);
    await inParallel(due, IN_PARALLEL, (one) => publish(deps, one));
    return { more: due.length > 0 };
  },
});

/** The oldest of each subject that is due. */
async function lease(db: Db): Promise<Waiting[]> {
  const isFirst = sql`not exists (select from ${nostrOutbox} earlier
    where earlier.subject = ${nostrOutbox.subject} and earlier.event_at < ${nostrOutbox.eventAt} and earlier.state = 'waiting')`;
  const due = db
    .select({ id: nostrOutbox.id })
    .from(nostrOutbox)
    .where(and(eq(nostrOutbox.state, 'waiting'), lte(nostrOutbox.nextAttemptAt, sql`now()`), isFirst))
    .orderBy(nostrOutbox.nextAttemptAt)
    .limit(AT_ONCE)
    .for('update', { skipLocked: true });
  return db
    .update(nostrOutbox)
    .set({ nextAttemptAt: sql`now() + make_interval(secs => ${LEASE_S})`, attempts: sql`${nostrOutbox.attempts} + 1` })
    .where(sql`${nostrOutbox.id} in ${due}`)
    .returning();
}

async function publish({ db, relays, log }: OutboxDeps, one: Waiting): Promise<void> {
  const published = await relays.publish(one.event as NostrEvent, one.relays);
  const isTaken = [...published.values()].some(({ outcome }) => outcome === 'taken');
  if (!isTaken)
    log.warn({ event: one.id, attempts: one.attempts }, 'no relay has taken an event; it is published again');
  await insist(() => settle(db, one, published, isTaken));
}

async function settle(db: Db, one: Waiting, published: Map<string, Published>, isTaken: boolean): Promise<void> {
  const answers = Object.fromEntries(published);
  const pauseMs = fullJitter(one.attempts, FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
  const isOver = sql`signed_at < now() - make_interval(secs => ${GIVE_UP_AFTER_S})`;
  await db
    .update(nostrOutbox)
    .set(
      isTaken
        ? { state: 'published', publishedAt: sql`now()`, nextAttemptAt: null, answers }
        : {
            answers,
            state: sql`case when ${isOver} then 'given_up' else 'waiting' end`,
            nextAttemptAt: sql`case when ${isOver} then null else now() + make_interval(secs => ${pauseMs / 1000}::float8) end`,
          },
    )
    .where(and(eq(nostrOutbox.id, one.id), eq(nostrOutbox.state, 'waiting')));
}

/** Forgets what was published long ago, and what was heard and dealt with: a month is longer than anybody sends it again. */
export const nostrReaper = ({ db }: Pick<OutboxDeps, 'db'>): Worker => ({
  name: 'nostr-reaper',
  everyMs: 600_000,
  runOnce: async () => {
    const old = sql`now() - make_interval(days => ${KEPT_DAYS})`;
    const said = await db.execute(sql`delete from workflows.nostr_outbox where id in (
      select id from workflows.nostr_outbox where signed_at < ${old} and state <> 'waiting' order by signed_at limit ${REAPED_AT_ONCE}) returning id`);
    const heard = await db.execute(sql`delete from workflows.nostr_inbox where id in (
      select id from workflows.nostr_inbox where received_at < ${old} and verdict is not null order by received_at limit ${REAPED_AT_ONCE}) returning id`);
    return { more: said.length === REAPED_AT_ONCE || heard.length === REAPED_AT_ONCE };
  },
});
