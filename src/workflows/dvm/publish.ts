import { setTimeout as sleep } from 'node:timers/promises';
import { and, asc, eq, isNull, lt, lte, notInArray, sql } from 'drizzle-orm';
import type { Db } from '../../platform/database/clients.ts';
import type { Worker } from '../../platform/delivery/worker.ts';
import { failpoint } from '../../platform/failpoints.ts';
import type { Metrics } from '../../platform/metrics.ts';
import { type NostrEvent, tagValues } from '../../platform/nostr/event.ts';
import type { Published } from '../../platform/nostr/relay.ts';
import type { Relays } from '../../platform/nostr/relays.ts';
import { jobs, words } from './tables.ts';

/**
 * Hands to relays what was said, until one of them has taken it. Of a job one after the other, in the order in which it was
 * said: whoever reads them as they come sees no result before its parts.
 */

const EVERY_MS = 1_000;
const AT_ONCE = 50;
const MOST_IN_HAND = 200; // an answer has eight seconds, and after them all are handed over again
const PATIENCE_MS = 1_000; // for those of a round
const MAX_BACKOFF_S = 300;
const GIVE_UP_AFTER = 200; // attempts, most of a day: nobody waits for it any more

interface Due {
  word: typeof words.$inferSelect;
  relays: string[] | null;
}

interface PublisherDeps {
  db: Db;
  metrics: Metrics;
  relays: Relays;
}

export function publisher(deps: PublisherDeps): Worker {
  /** Nobody else waits for those that our relays refuse while a relay that somebody has named says nothing. */
  const inHand = new Map<string, Promise<void>>();
  const take = (one: Due): Promise<void> => {
    const { id } = one.word;
    const done = hand(deps, one).finally(() => inHand.delete(id));
    inHand.set(id, done);
    return done;
  };
  return {
    name: 'nostr-publisher',
    everyMs: EVERY_MS,
    runOnce: async () => {
      const isDue = and(isNull(words.publishedAt), lte(words.nextAt, sql`now()`), lt(words.attempts, GIVE_UP_AFTER));
      const due: Due[] = await deps.db
        .select({ word: words, relays: jobs.relays })
        .from(words)
        .leftJoin(jobs, eq(jobs.id, words.jobId))
        .where(and(isDue, isNext, notInArray(words.id, [...inHand.keys()])))
        .orderBy(asc(words.nextAt), asc(words.seq))
        .limit(Math.min(AT_ONCE, MOST_IN_HAND - inHand.size));
      await Promise.race([Promise.all(due.map(take)), sleep(PATIENCE_MS, undefined, { ref: false })]);
      return { more: due.length > 0 };
    },
    settle: async () => void (await Promise.allSettled(inHand.values())),
  };
}

/** Nothing that was said of the job before is still to be published. */
const isNext = sql`not exists (select from workflows.nostr_events w
  where w.job_id = ${words.jobId} and w.seq < ${words.seq} and w.published_at is null and w.attempts < ${GIVE_UP_AFTER})`;

async function hand(deps: PublisherDeps, { word, relays: named }: Due): Promise<void> {
  const { db, metrics, relays } = deps;
  if (isExpired(word.event)) return giveUp(deps, word.id);
  const troubles = await troublesOf(relays, word.event, named ?? []);
  await failpoint('workflows.nostr.after_publish');
  const isTaken = troubles === null;
  metrics.nostrEvents.inc({ what: isTaken ? 'published' : 'not_published' });
  const wait = Math.min(MAX_BACKOFF_S, 2 ** word.attempts);
  await db
    .update(words)
    .set(
      isTaken
        ? { publishedAt: sql`now()`, trouble: null }
        : {
            attempts: sql`${words.attempts} + 1`,
            nextAt: sql`now() + make_interval(secs => ${wait})`,
            trouble: troubles,
          },
    )
    // Another replica may have handed it over meanwhile; then it is published, whatever was answered here.
    .where(and(eq(words.id, word.id), isNull(words.publishedAt)));
}

/** NIP-40: relays take it no more, and nobody could do what it asks for. What is said after it is not to wait for it. */
function isExpired(event: NostrEvent): boolean {
  const [until] = tagValues(event, 'expiration');
  return until !== undefined && Number(until) * 1000 < Date.now();
}

async function giveUp({ db, metrics }: PublisherDeps, id: string): Promise<void> {
  metrics.nostrEvents.inc({ what: 'expired' });
  await db
    .update(words)
    .set({ attempts: GIVE_UP_AFTER, trouble: 'It has expired before a relay has taken it.' })
    .where(and(eq(words.id, id), isNull(words.publishedAt)));
}

/** `null` as soon as one has taken it: nobody else waits for a relay that is gone, or that somebody has named to be waited for. */
async function troublesOf(relays: Relays, event: NostrEvent, named: string[]): Promise<string | null> {
  const taken = Promise.withResolvers<null>();
  const all = relays.publish(event, named, () => taken.resolve(null)).then(troubleOf);
  return Promise.race([taken.promise, all]);
}

const troubleOf = (answers: Map<string, Published>): string =>
  [...answers]
    .map(([relay, answer]) => `${relay} ${answer.outcome} ${'reason' in answer ? answer.reason : ''}`.trim())
    .join('; ')
    .slice(0, 500);
