import { randomBytes } from 'node:crypto';
import type { LookupFunction } from 'node:net';
import { type Filter, matchFilters } from 'nostr-tools/filter';
import type { Log } from '../log.ts';
import { isGenuine, type NostrEvent, readEvent, signEvent } from './event.ts';
import { createInbox } from './inbox.ts';
import { openSocket } from './socket.ts';

export type { Filter };

/** One relay (NIP-01), with what it is asked for kept up over all its connections. */
export interface Relay {
  readonly url: string;
  readonly isOpen: boolean;
  /** Asks for events from now on, at each connection anew. The answer ends it. */
  follow(following: Following): () => void;
  /** Asks for what the relay has kept; true when it has told all of it in time. */
  query(filters: Filter[], asking: Omit<Following, 'filters' | 'onStored'>, deadlineMs: number): Promise<boolean>;
  /** Hands an event over. Twice is the same as once: relays know events by their id. */
  publish(event: NostrEvent, deadlineMs: number): Promise<Published>;
  close(): void;
}

export interface Following {
  /** What is asked for, at this moment. */
  filters(): Filter[];
  /** Each event that was asked for, as it came: not verified. */
  onSeen?(event: NostrEvent): void;
  /** Events that are known already: they need not be verified, which is dear. */
  isKnown?(id: string): boolean;
  /** An event whose signature is right, and that was asked for. */
  onEvent(event: NostrEvent): void;
  /** The relay has told everything that it had kept. */
  onStored?(): void;
}

/** `refused`: the relay will not have it. `unknown`: it may have it. */
export type Published = { outcome: 'taken' } | { outcome: 'refused' | 'unknown'; reason: string };

export interface RelayOptions {
  url: string;
  log: Log;
  /** Answers the relay's challenges (NIP-42); `null`: we tell nobody who we are. */
  key: Uint8Array | null;
  lookup?: LookupFunction | undefined;
  /** `false`: for one errand. Its first connection is its last. */
  isLasting?: boolean;
  onOpen?(): void;
  /** A connection that does not answer so long is none. */
  pingEveryMs?: number | undefined;
}

interface Asked extends Following {
  id: string;
  /** What was asked for on the present connection; `null`: it is to be asked. */
  sent: Filter[] | null;
  onEnd?(): void;
}

interface Handed {
  event: NostrEvent;
  answer(published: Published): void;
  published: Promise<Published>;
}

const AUTH_KIND = 22_242;
const ASK_AGAIN_MS = 30_000; // after a relay has ended what it was asked for
const MAX_REASON = 200;
const MAX_INTRODUCTIONS = 5; // on one connection: each costs a signature

export function openRelay({ url, log, key, lookup, isLasting = true, onOpen, pingEveryMs }: RelayOptions): Relay {
  const asked = new Map<string, Asked>();
  const handed = new Map<string, Handed>();
  let challenge: string | undefined;
  /** The event that introduces us, while the relay has not answered it, and what it answers. */
  let introduction: { id: string; challenge: string } | undefined;

  let introductions = 0;

  const inbox = createInbox({
    onFull: () => socket.pause(),
    onRoom: () => socket.resume(),
    onFault: (fault) => log.error({ err: fault, relay: url }, 'an event could not be looked at'),
  });
  const socket = openSocket({
    ...{ url, lookup, isLasting, pingEveryMs },
    onOpen: () => {
      for (const one of asked.values()) ask(one);
      for (const { event } of handed.values()) socket.send(['EVENT', event]);
      onOpen?.();
    },
    onMessage: (message) => hear(message),
    onDown: () => {
      inbox.clear();
      challenge = introduction = undefined;
      introductions = 0;
      for (const one of asked.values()) {
        one.sent = null;
        one.onEnd?.();
      }
      log.debug({ relay: url }, 'a relay is gone');
    },
    onEnded: () => {
      for (const { answer } of handed.values()) answer({ outcome: 'unknown', reason: 'no_connection' });
    },
  });

  const ask = (one: Asked) => {
    const filters = one.filters();
    if (filters.length === 0) return;
    one.sent = socket.send(['REQ', one.id, ...filters]) ? filters : null;
  };

  const hear = ([type, first, second, third]: unknown[]) => {
    switch (type) {
      case 'EVENT':
        return hearEvent(asked.get(String(first)), second);
      case 'EOSE':
        return hearStored(asked.get(String(first)));
      case 'OK':
        return hearOk(String(first), second === true, reasonOf(third));
      case 'CLOSED':
        return hearClosed(asked.get(String(first)), reasonOf(second));
      case 'AUTH':
        challenge = typeof first === 'string' ? first : undefined;
        return introduce();
    }
  };

  /** Cheap questions first; what costs comes when there is time for it. */
  const hearEvent = (one: Asked | undefined, value: unknown) => {
    const event = readEvent(value);
    if (!one?.sent || !event || !matchFilters(one.sent, event)) return;
    one.onSeen?.(event);
    if (one.isKnown?.(event.id)) return;
    inbox.push(() => {
      if (asked.has(one.id) && !one.isKnown?.(event.id) && isGenuine(event)) one.onEvent(event);
    });
  };

  const hearStored = (one: Asked | undefined) => one && inbox.push(() => asked.has(one.id) && one.onStored?.());

  const hearOk = (id: string, isTaken: boolean, reason: string) => {
    if (id === introduction?.id) {
      if (!isTaken) challenge ??= introduction.challenge; // it holds as long as the connection (NIP-42)
      introduction = undefined;
      return isTaken ? askAll() : endWaiting();
    }
    const waiting = handed.get(id);
    // Who we are may be on its way: what was handed over before is handed over again.
    if (!waiting || (isToldToIntroduce(reason) && introduce())) return;
    const isThere = isTaken || reason.startsWith('duplicate:');
    waiting.answer(isThere ? { outcome: 'taken' } : { outcome: 'refused', reason });
  };

  const hearClosed = (one: Asked | undefined, reason: string) => {
    if (!one?.sent) return; // however often it says so: once is enough
    one.sent = null;
    setTimeout(() => asked.has(one.id) && !one.sent && ask(one), ASK_AGAIN_MS).unref();
    if (isToldToIntroduce(reason) && introduce()) return;
    log.debug({ relay: url, reason }, 'a relay has ended what it was asked for');
    one.onEnd?.();
  };

  /** NIP-42; false when there is nothing to say, or it was said and did not help. */
  const introduce = (): boolean => {
    if (introduction !== undefined) return true;
    if (!key || challenge === undefined || introductions >= MAX_INTRODUCTIONS) return false;
    introductions += 1;
    const tags = [
      ['relay', url],
      ['challenge', challenge],
    ];
    const auth = signEvent({ kind: AUTH_KIND, created_at: Math.floor(Date.now() / 1000), tags, content: '' }, key);
    introduction = { id: auth.id, challenge };
    challenge = undefined;
    return socket.send(['AUTH', auth]);
  };

  const askAll = () => {
    for (const one of asked.values()) if (!one.sent) ask(one);
    for (const { event } of handed.values()) socket.send(['EVENT', event]);
  };

  /** Nobody waits for an answer that does not come. */
  const endWaiting = () => {
    for (const one of asked.values()) if (!one.sent) one.onEnd?.();
  };

  const begin = (following: Following & { onEnd?(): void }): Asked => {
    const one: Asked = { ...following, id: randomBytes(8).toString('hex'), sent: null };
    asked.set(one.id, one);
    if (socket.isOpen) ask(one);
    return one;
  };
  const end = ({ id }: Asked) => {
    if (asked.delete(id)) socket.send(['CLOSE', id]);
  };

  return {
    url,
    get isOpen() {
      return socket.isOpen;
    },
    follow: (following) => {
      const one = begin(following);
      return () => end(one);
    },
    query: async (filters, asking, deadlineMs) => {
      if (!socket.isOpen) return false;
      const whole = Promise.withResolvers<boolean>();
      const one = begin({
        ...{ ...asking, filters: () => filters },
        onStored: () => whole.resolve(true),
        onEnd: () => whole.resolve(false),
      });
      const late = setTimeout(() => whole.resolve(false), deadlineMs);
      return whole.promise.finally(() => {
        clearTimeout(late);
        end(one);
      });
    },
    publish: (event, deadlineMs) => {
      const before = handed.get(event.id);
      if (before) return before.published;
      const answered = Promise.withResolvers<Published>();
      const late = setTimeout(() => answered.resolve({ outcome: 'unknown', reason: 'no_answer' }), deadlineMs);
      const published = answered.promise.finally(() => {
        clearTimeout(late);
        handed.delete(event.id);
      });
      handed.set(event.id, { event, answer: answered.resolve, published });
      socket.send(['EVENT', event]);
      return published;
    },
    close: () => {
      for (const one of asked.values()) one.onEnd?.();
      asked.clear();
      for (const { answer } of handed.values()) answer({ outcome: 'unknown', reason: 'closed' });
      inbox.clear();
      socket.close();
    },
  };
}

const reasonOf = (value: unknown) => (typeof value === 'string' ? value.slice(0, MAX_REASON) : '');
const isToldToIntroduce = (reason: string) => /^(auth-required|restricted):/.test(reason);
