import type { LookupAddress } from 'node:dns';
import { allowList, guardedLookup, lookupForStrangers, refusalOf } from '../egress.ts';
import type { Log } from '../log.ts';
import type { NostrEvent } from './event.ts';
import { type Filter, openRelay, type Published, type Relay } from './relay.ts';

/** Several relays as one: what any of them has is heard once, and what is published is handed to all of them. */
export interface Relays {
  /** Hears everything of an interest: what is published from now on, and what was while nobody listened. */
  follow(interest: Interest): () => void;
  /**
   * Hands an event to our relays, and to those that strangers have named, as far as they may be called, and as long as not
   * too many of these are being called. By address. `onTaken`: one has it, and the others may be slow, or made to be.
   */
  publish(event: NostrEvent, strangers?: readonly string[], onTaken?: () => void): Promise<Map<string, Published>>;
  /** How each of ours stands. */
  standing(): { url: string; isOpen: boolean; caughtUpAt: Date | null }[];
  close(): void;
}

export interface Interest {
  /** What to ask a relay for; `since`, in unix seconds, is a little before it had last told everything. */
  filters(since: number): Filter[];
  /** Verified, asked for, and not told before, as far as is remembered. When it rejects, the event is told again later. */
  onEvent(event: NostrEvent, relay: string): Promise<void>;
  /** From when on a relay is to tell what it has kept, by our clock; as `onCaughtUp` was told of it, or earlier. */
  startAt(relay: string): Promise<Date>;
  /** Everything that the relay had at that moment was heard, and every `onEvent` has resolved. */
  onCaughtUp?(relay: string, at: Date): Promise<void>;
}

export interface RelaysOptions {
  urls: readonly string[];
  log: Log;
  key: Uint8Array | null;
  /** `host:port` of relays of strangers that may be private and plain. */
  allow?: string[];
  /** For the tests of names that lead elsewhere. */
  lookup?: (host: string) => Promise<LookupAddress[]>;
  catchUpEveryMs?: number;
  /** How long an answer to what is published is waited for. */
  publishWithinMs?: number;
  pingEveryMs?: number;
}

const CATCH_UP_EVERY_MS = 60_000;
/** Events carry the time at which they say they were made, and relays take them later. */
const OVERLAP_S = 2 * 3_600;
const LIVE_OVERLAP_S = 300;
const PAGE = 250; // relays give 500 at the most, as a rule, and some of them 100
const MAX_PAGES = 40; // of one question at a look
const PAGE_WITHIN_MS = 15_000;
const PUBLISH_WITHIN_MS = 8_000;
const REMEMBERED = 100_000; // ids, some ten MiB: what is looked at again each minute is not to be verified each time
const MAX_STRANGERS = 8; // that one event is published to
const MAX_ERRANDS = 64; // to strangers at a time

export function openRelays(options: RelaysOptions): Relays {
  const {
    log,
    key,
    allow = [],
    lookup = lookupForStrangers,
    catchUpEveryMs = CATCH_UP_EVERY_MS,
    publishWithinMs = PUBLISH_WITHIN_MS,
  } = options;
  const isAllowed = allowList(allow);
  const listeners = new Set<(relay: Relay) => void>();
  const stop = new AbortController();
  const caughtUp = new Map<string, Date>();
  const relays: Relay[] = options.urls.map((url) => {
    const relay = openRelay({
      ...{ url, log, key, pingEveryMs: options.pingEveryMs },
      onOpen: () => {
        for (const listen of listeners) listen(relay);
      },
    });
    return relay;
  });

  const ours = new Set(options.urls.map(addressOf));
  const mayCall = (url: string): boolean =>
    URL.canParse(url) && !ours.has(addressOf(url)) && refusalOf(new URL(url), 'ws', isAllowed) === undefined;

  /** One errand: nobody stays connected because a stranger has named an address. */
  let errands = 0;
  const handTo = async (url: string, event: NostrEvent): Promise<Published> => {
    errands += 1;
    const guard = isAllowed(new URL(url)) ? undefined : guardedLookup(lookup);
    const relay = openRelay({ url, log, key, lookup: guard, isLasting: false });
    return relay.publish(event, publishWithinMs).finally(() => {
      errands -= 1;
      relay.close();
    });
  };

  return {
    follow: (interest) => {
      const hearing = hear(interest, { log, signal: stop.signal, onCaughtUp: (url, at) => caughtUp.set(url, at) });
      const ends = relays.map((relay) => hearing.follow(relay));
      listeners.add(hearing.catchUp);
      for (const relay of relays) if (relay.isOpen) hearing.catchUp(relay);
      const timer = setInterval(() => relays.forEach(hearing.catchUp), catchUpEveryMs).unref();
      const leave = () => {
        stop.signal.removeEventListener('abort', leave);
        clearInterval(timer);
        listeners.delete(hearing.catchUp);
        for (const end of ends) end();
      };
      stop.signal.addEventListener('abort', leave);
      return leave;
    },
    publish: async (event, strangers = [], onTaken) => {
      const most = Math.min(MAX_STRANGERS, Math.max(0, MAX_ERRANDS - errands));
      const named = [...new Map(strangers.filter(mayCall).map((url) => [addressOf(url), url])).values()].slice(0, most);
      const answerOf = async (url: string, handed: Promise<Published>) => {
        const published = await handed;
        if (published.outcome === 'taken') onTaken?.();
        return [url, published] as const;
      };
      const answers = [
        ...relays.map((relay) => answerOf(relay.url, relay.publish(event, publishWithinMs))),
        ...named.map((url) => answerOf(url, handTo(url, event))),
      ];
      return new Map(await Promise.all(answers));
    },
    standing: () => relays.map(({ url, isOpen }) => ({ url, isOpen, caughtUpAt: caughtUp.get(url) ?? null })),
    close: () => {
      stop.abort();
      for (const relay of relays) relay.close();
    },
  };
}

interface HearingOptions {
  log: Log;
  signal: AbortSignal;
  onCaughtUp(relay: string, at: Date): void;
}

/**
 * One interest on several relays. How far each was heard goes by our own clock, at the moment of asking: an event's own
 * time is whatever its author says, and one from tomorrow would make us deaf until then.
 */
function hear(interest: Interest, { log, signal, onCaughtUp }: HearingOptions) {
  const known = new Set<string>();
  const inHand = new Map<string, Promise<void>>();
  const heardUntil = new Map<string, Date>();
  const catchingUp = new Set<string>();
  /** By relay and question, where the last look stopped: a flood is read to its end, and nobody is deaf to what lies behind it. */
  const stoppedAt = new Map<string, Map<string, number>>();
  let failures = 0;

  const isKnown = (id: string) => known.has(id) || inHand.has(id);
  const take = (event: NostrEvent, relay: string) => {
    const done = interest.onEvent(event, relay).then(
      () => remember(known, event.id),
      (fault) => {
        failures += 1;
        log.error({ err: fault, relay }, 'an event of Nostr could not be taken; it is asked for again');
      },
    );
    inHand.set(event.id, done);
    void done.then(() => inHand.delete(event.id));
  };

  /**
   * Each question by itself: one that finds something old would skip what another one has not told yet, and one with more than
   * is read at once, as a flood makes it, would keep the others from being heard.
   */
  const readKept = async (relay: Relay, since: number): Promise<boolean> => {
    const before = stoppedAt.get(relay.url);
    const stopped = new Map<string, number>();
    const pages = { largest: 0 };
    let isWhole = true;
    for (const filter of interest.filters(since)) {
      const question = JSON.stringify(filter);
      const read = await readPages(relay, filter, pages, before?.get(question));
      if (read !== 'all') isWhole = false;
      if (typeof read === 'number') stopped.set(question, read);
    }
    stoppedAt.set(relay.url, stopped);
    return isWhole;
  };

  /** All that the relay has kept, page by page, the newest first. A number: there is more, from that second back. */
  const readPages = async (
    relay: Relay,
    filter: Filter,
    pages: { largest: number },
    from: number | undefined,
  ): Promise<'all' | 'cut off' | number> => {
    let until = from;
    for (let page = 0; page < MAX_PAGES; page += 1) {
      let count = 0;
      let oldest = Number.POSITIVE_INFINITY;
      const filters = [{ ...filter, limit: PAGE, ...(until === undefined ? {} : { until }) }];
      const onSeen = ({ created_at }: NostrEvent) => {
        count += 1;
        oldest = Math.min(oldest, created_at);
      };
      const onEvent = (event: NostrEvent) => take(event, relay.url);
      if (!(await relay.query(filters, { onSeen, isKnown, onEvent }, PAGE_WITHIN_MS))) return 'cut off';
      // Each relay has a limit of its own, which nobody knows, and leaves some out that it counts: much less than that is the end.
      if (count * 2 < pages.largest || count === 0) return 'all';
      pages.largest = Math.max(count, pages.largest);
      // A page of one second alone would be asked for without end: the rest of that second cannot be had, what is older can.
      until = oldest === until ? oldest - 1 : oldest;
      if (until < (filter.since ?? 0)) return 'all';
    }
    log.warn({ relay: relay.url }, 'a relay has more than is read of it at once; the next look goes on from there');
    return until ?? 'cut off';
  };

  const catchUp = async (relay: Relay) => {
    if (catchingUp.has(relay.url) || !relay.isOpen || signal.aborted) return;
    catchingUp.add(relay.url);
    try {
      const at = new Date();
      const before = failures;
      const from = heardUntil.get(relay.url) ?? (await interest.startAt(relay.url));
      heardUntil.set(relay.url, from); // the same questions the next time, so that they go on where they stopped
      const isWhole = await readKept(relay, secondsOf(from) - OVERLAP_S);
      await Promise.all(inHand.values());
      if (!isWhole || failures > before) return;
      await interest.onCaughtUp?.(relay.url, at);
      heardUntil.set(relay.url, at);
      onCaughtUp(relay.url, at);
    } catch (fault) {
      log.warn({ err: fault, relay: relay.url }, 'a relay could not be heard to the end; it is asked again');
    } finally {
      catchingUp.delete(relay.url);
    }
  };

  return {
    follow: (relay: Relay) =>
      relay.follow({
        filters: () => interest.filters(secondsOf(new Date()) - LIVE_OVERLAP_S),
        isKnown,
        onEvent: (event) => take(event, relay.url),
      }),
    catchUp: (relay: Relay) => void catchUp(relay),
  };
}

/** The same for all spellings: many clients put a slash behind the name. */
const addressOf = (url: string): string => new URL(url).href;

const secondsOf = (date: Date) => Math.floor(date.getTime() / 1000);

/** The oldest are forgotten first: whoever must never take one twice keeps them in a table. */
function remember(known: Set<string>, id: string): void {
  known.add(id);
  const [oldest] = known;
  if (known.size > REMEMBERED && oldest !== undefined) known.delete(oldest);
}
