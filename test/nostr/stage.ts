import { randomBytes } from 'node:crypto';
import { NostrRelay } from 'snstr/utils/ephemeral-relay';
import { onTestFinished } from 'vitest';
import { startRelay } from '../../sandbox/nostr/relay.ts';
import { freePort } from '../../sandbox/postgres.ts';
import { createLog } from '../../src/platform/log.ts';
import { type EventTemplate, type NostrEvent, publicKeyOf, signEvent } from '../../src/platform/nostr/event.ts';
import { type Interest, openRelays, type Relays, type RelaysOptions } from '../../src/platform/nostr/relays.ts';

/** Relays of two makers, and what is heard of them. */

export const ourKey = new Uint8Array(randomBytes(32));
const us = publicKeyOf(ourKey);
export const now = () => Math.floor(Date.now() / 1000);

/** An event for us, by a key of its own unless one is given. */
export const note = (more: Partial<EventTemplate> = {}, key = new Uint8Array(randomBytes(32))): NostrEvent =>
  signEvent(
    { kind: 5600, created_at: now(), tags: [['p', us]], content: randomBytes(4).toString('hex'), ...more },
    key,
  );

export interface TestRelay {
  url: string;
  /** What it keeps, while it is gone, too. */
  events(): NostrEvent[];
  /** Is gone; what it has kept it keeps. */
  vanish(): Promise<void>;
  /** While it is gone: it comes back with nothing. Of the maker that can. */
  forget?(): void;
  comeBack(): Promise<void>;
  cut(): void;
  close(): Promise<void>;
}

/** Of two makers: their ways to answer, to close and to order differ. */
export const makers: Record<string, () => Promise<TestRelay>> = {
  '@nostr-relay': async () => {
    const relay = await startRelay();
    return { url: relay.url, ...relay.control, close: relay.close };
  },
  snstr: async () => {
    const port = await freePort();
    const start = () => new NostrRelay(port, { purgeInterval: 3_600 }).start(); // without it, it keeps nothing
    let relay = await start();
    let kept: NostrEvent[] = [];
    return {
      url: `ws://127.0.0.1:${port}`,
      // What it is told twice it keeps twice.
      events: () => [...new Map([...kept, ...relay.cache].map((event) => [event.id, event])).values()],
      vanish: async () => {
        kept = [...relay.cache];
        await relay.close();
      },
      forget: () => {
        kept = [];
      },
      comeBack: async () => {
        relay = await start();
        for (const event of kept) relay.store(event);
        kept = [];
      },
      cut: () => {
        for (const socket of relay.wss.clients) socket.terminate();
      },
      close: () => relay.close(),
    };
  },
};

export function relaysFor(urls: string[], more: Partial<RelaysOptions> = {}): Relays {
  const relays = openRelays({ urls, log: createLog('silent'), key: ourKey, catchUpEveryMs: 200, ...more });
  onTestFinished(() => relays.close());
  return relays;
}

/** Hears everything for us since an hour ago; contents in the order in which they came. */
export function listen(relays: Relays, more: Partial<Interest> = {}): { heard: string[] } {
  const heard: string[] = [];
  relays.follow({
    filters: (since) => [{ kinds: [5600], '#p': [us], since }],
    startAt: async () => new Date(Date.now() - 3_600_000),
    onEvent: async ({ content }) => void heard.push(content),
    ...more,
  });
  return { heard };
}
