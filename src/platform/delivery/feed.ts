import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from '../database/clients.ts';
import { failpoint } from '../failpoints.ts';
import { retryLater } from '../http/problem.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { type EventRow, FIRST_PLACE, lastPlace, readOn, toEvent } from './account-events.ts';
import type { StoredEvent } from './event-types.ts';

/** An event as a stream tells it. `seq` orders the events of one subject, the place those of an account. */
export interface FeedEvent extends StoredEvent {
  place: bigint;
}

/**
 * Live events for the streams of this replica: one query for all of them, at most every half second, at once when
 * something was committed here. It reads up to the oldest transaction still running and goes on from there, so a slow
 * transaction delays its events and never loses them.
 */
export interface Feed {
  /**
   * All events of a subject after `afterSeq`, past ones first, then as they happen, each once and in order; ends when
   * `signal` does or the feed stops.
   */
  follow(subjectId: string, since: Date, afterSeq: bigint, signal: AbortSignal): AsyncGenerator<FeedEvent[]>;
  /** The place of what has happened last to an account: who follows it from there hears everything from now on. */
  lastPlaceOf(accountId: string): Promise<bigint>;
  /**
   * All events of an account after a place, each once and in the order of their places; begins with that place, from which
   * a reader that has heard nothing yet goes on.
   */
  followAccount(accountId: string, after: bigint, signal: AbortSignal): AsyncGenerator<FeedEvent[] | bigint>;
  /** True when nothing was told of a subject after `seq`. */
  isLast(subjectId: string, since: Date, seq: bigint): Promise<boolean>;
  /** Takes one of the account's places for a stream; 429 when it has none left. Call what it returns to give it back. */
  enter(accountId: string): () => void;
  /** Something was committed on this replica. */
  wake(): void;
  stop(): void;
}

const STREAMS_PER_ACCOUNT = 20;
const POLL_MS = 500;
const COALESCE_MS = 20; // several commits in a row cost one query
/** Failed readings, about a minute: then the streams end, and readers come back with their cursors. */
const GIVE_UP_AFTER = 6;
const FROM_THE_FIRST = '0'; // before all transactions
const BACKENDS_KNOWN = 1_000; // each connection lives for an hour at most
const SLACK_MS = 60_000; // clocks of run rows and events are the database's; this covers a subject's first event

export function createFeed(sql: Sql, deps: { log: Log; metrics: Metrics }): Feed {
  const followers = new Map<string, Set<Follower>>();
  const stopping = new AbortController();
  let horizon: string | null = null;
  let running = false;
  let reading = Promise.resolve();
  let bell = new AbortController();

  /** Server processes that have read since the horizon was first known: one that still answers has seen no crash since. */
  const backends = new Set<string>();

  const everybody = () => [...followers.values()].flatMap((set) => [...set]);

  const poll = async () => {
    running = true;
    let failures = 0;
    while (followers.size > 0 && !stopping.signal.aborted) {
      await sleep(failures === 0 ? POLL_MS : POLL_MS * 2 ** Math.min(failures, 5), undefined, {
        signal: bell.signal,
      }).catch(() => sleep(COALESCE_MS));
      bell = new AbortController();
      if (stopping.signal.aborted) return;
      try {
        reading = deliver();
        await reading;
        failures = 0;
      } catch (fault) {
        failures += 1;
        deps.log.warn({ err: fault, failures }, 'the event feed could not read');
        if (failures === GIVE_UP_AFTER) for (const follower of everybody()) follower.end();
      }
    }
    running = false;
    horizon = null; // nobody listens: the next follower starts anew
  };

  const deliver = async () => {
    if (horizon === null || followers.size === 0) return;
    const since = new Date(Math.min(...everybody().map((follower) => follower.since.getTime())));
    await failpoint('platform.feed.before_read');
    const read = (from: string) => readNews(sql, from, [...followers.keys()], since);
    const found = await read(horizon);
    // After a crash numbers of transactions that left no trace are used again, below the horizon. Followers know what they were told.
    const { next, news, ageS, backend } = backends.has(found.backend) ? found : await read(FROM_THE_FIRST);
    if (backends.size >= BACKENDS_KNOWN) backends.clear();
    backends.add(found.backend).add(backend);
    if (news.length > 0) await failpoint('platform.feed.after_read');
    deps.metrics.eventHorizonAge.set(ageS);
    horizon = next;
    for (const keyOf of [(event: FeedEvent) => event.subjectId, (event: FeedEvent) => event.accountId ?? '']) {
      for (const [key, events] of Map.groupBy(news, keyOf)) {
        for (const follower of followers.get(key) ?? []) follower.push(events);
      }
    }
  };

  const places = new Map<string, number>();
  return {
    enter: (accountId) => {
      const taken = places.get(accountId) ?? 0;
      if (taken >= STREAMS_PER_ACCOUNT)
        throw retryLater('rate_limited', 5, `An account has at most ${STREAMS_PER_ACCOUNT} open streams.`);
      places.set(accountId, taken + 1);
      return () => {
        const left = (places.get(accountId) ?? 1) - 1;
        if (left === 0) places.delete(accountId);
        else places.set(accountId, left);
      };
    },
    isLast: async (subjectId, since, seq) => (await readPast(sql, subjectId, withSlack(since), seq)).length === 0,
    wake: () => {
      if (!bell.signal.aborted) bell.abort();
    },
    stop: () => {
      stopping.abort();
      bell.abort();
    },
    follow: (subjectId, since, afterSeq, signal) => {
      const past = async function* (after: bigint, from: Date) {
        yield await readPast(sql, subjectId, from, after);
      };
      return tail(subjectId, new Follower(withSlack(since), ({ seq }) => seq), afterSeq, past, signal);
    },
    lastPlaceOf: (accountId) => lastPlace(sql, accountId),
    async *followAccount(accountId, after, signal) {
      if (after > FIRST_PLACE) yield after;
      const past = (from: bigint, _: Date, horizon: string) => readOn(sql, accountId, from, horizon);
      yield* tail(accountId, new Follower(withSlack(new Date()), ({ place }) => place), after, past, signal);
    },
  };

  /** What is past, then what follower hears: nothing twice, and nothing between the two is missed. */
  async function* tail(
    key: string,
    follower: Follower,
    after: bigint,
    past: (after: bigint, since: Date, horizon: string) => AsyncIterable<FeedEvent[]>,
    signal: AbortSignal,
  ): AsyncGenerator<FeedEvent[]> {
    const end = AbortSignal.any([signal, stopping.signal]);
    if (end.aborted) return; // a signal tells it only once
    const own = followers.get(key) ?? new Set();
    followers.set(key, own.add(follower));
    deps.metrics.streams.inc();
    const close = () => follower.end();
    end.addEventListener('abort', close);
    try {
      // A reading that is on its way without this key may yet take the horizon past its events.
      await reading.catch(() => {});
      // From here on nothing is missed: what commits later is at or beyond this horizon, what committed before is read now.
      const start = await readHorizon(sql);
      if (horizon === null) {
        horizon = start.horizon;
        backends.add(start.backend);
      }
      if (!running) void poll();
      let last = after;
      const fresh = (batch: FeedEvent[]) => {
        const unheard = batch.filter((event) => follower.placeOf(event) > last);
        last = unheard.map(follower.placeOf).at(-1) ?? last;
        return unheard;
      };
      for await (const batch of past(last, follower.since, start.horizon)) {
        if (end.aborted) return;
        const unheard = fresh(batch);
        if (unheard.length > 0) yield unheard;
      }
      for (let batch = await follower.next(); batch; batch = await follower.next()) {
        const unheard = fresh(batch);
        if (unheard.length > 0) yield unheard;
      }
    } finally {
      end.removeEventListener('abort', close);
      own.delete(follower);
      if (own.size === 0) followers.delete(key);
      deps.metrics.streams.dec();
    }
  }
}

/** A queue with one reader; `undefined` tells that it has ended. */
class Follower {
  private waiting: FeedEvent[] = [];
  private wanted: ((events: FeedEvent[] | undefined) => void) | undefined;
  private ended = false;
  private newest = 0n;
  /** No event that it is to hear is older. */
  readonly since: Date;
  /** Where an event stands among those that it hears. */
  readonly placeOf: (event: FeedEvent) => bigint;

  constructor(since: Date, placeOf: (event: FeedEvent) => bigint) {
    this.since = since;
    this.placeOf = placeOf;
  }

  push(events: FeedEvent[]) {
    const fresh = events
      .filter((event) => this.placeOf(event) > this.newest)
      .toSorted((a, b) => (this.placeOf(a) < this.placeOf(b) ? -1 : 1));
    this.newest = fresh.map(this.placeOf).at(-1) ?? this.newest;
    if (fresh.length === 0) return;
    this.waiting.push(...fresh);
    this.wanted?.(this.waiting.splice(0));
    this.wanted = undefined;
  }

  end() {
    this.ended = true;
    this.wanted?.(undefined);
    this.wanted = undefined;
  }

  next(): Promise<FeedEvent[] | undefined> {
    if (this.ended) return Promise.resolve(undefined);
    if (this.waiting.length > 0) return Promise.resolve(this.waiting.splice(0));
    return new Promise((resolve) => {
      this.wanted = resolve;
    });
  }
}

async function readHorizon(sql: Sql): Promise<{ horizon: string; backend: string }> {
  const [row] = await sql<{ horizon: string; backend: string }[]>`
    select platform.event_horizon()::text as horizon, pid || ' ' || backend_start as backend
    from pg_stat_get_activity(pg_backend_pid())`;
  if (!row) throw new Error('no horizon');
  return row;
}

/**
 * Within one subject the order is by `seq`: whoever appends holds the subject's row, so numbers follow commits. The age
 * of the subjects spares the partitions before them; that of the events tells nothing, they may have been held back long.
 */
async function readNews(sql: Sql, from: string, keys: string[], since: Date) {
  const rows = await sql<(EventRow & { horizon: string; backend: string; age: number; seq: bigint | null })[]>`
    with now_running as materialized (
      select platform.event_horizon() as horizon,
        (select pid || ' ' || backend_start from pg_stat_get_activity(pg_backend_pid())) as backend,
        coalesce(extract(epoch from now() - min(xact_start)), 0)::float8 as age
      from pg_stat_activity where backend_xid is not null and pid <> pg_backend_pid()
    )
    select r.horizon::text as horizon, r.backend, r.age, e.id, e.seq, e.xid::text as xid, e.type, e.account_id, e.subject_id,
      e.payload, e.created_at
    from now_running r left join platform.events e
      on e.xid >= ${from}::text::xid8 and e.xid < r.horizon
      and (e.subject_id = any(${keys}::uuid[]) or e.account_id = any(${keys}::uuid[]))
      and e.created_at >= ${since}
    order by e.seq`;
  const [first] = rows;
  if (!first) throw new Error('no horizon');
  const news = rows.flatMap((row) => (row.seq === null ? [] : [toEvent(row)]));
  return { next: first.horizon, backend: first.backend, ageS: first.age, news };
}

const withSlack = (since: Date) => new Date(since.getTime() - SLACK_MS);

async function readPast(sql: Sql, subjectId: string, since: Date, afterSeq: bigint): Promise<FeedEvent[]> {
  const rows = await sql<EventRow[]>`
    select id, seq, xid::text as xid, type, account_id, subject_id, payload, created_at from platform.events
    where subject_id = ${subjectId}::uuid and seq > ${afterSeq}::bigint and created_at >= ${since}
    order by seq`;
  return rows.map(toEvent);
}
