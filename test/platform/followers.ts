import { expect, onTestFinished } from 'vitest';
import type { Db, Sql } from '../../src/platform/database/clients.ts';
import { appendEvents } from '../../src/platform/delivery/events.ts';
import { createFeed, type Feed, type FeedEvent } from '../../src/platform/delivery/feed.ts';
import { createLog } from '../../src/platform/log.ts';
import { createMetrics } from '../../src/platform/metrics.ts';
import { eventually } from '../harness/client.ts';

export const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000);

/**
 * A feed as one replica has it, how many queries it has sent, and what it complained of. `meanwhile` happens before and
 * after each query, as if the feed were slow.
 */
export function feedForTest(sql: Sql, meanwhile?: () => Promise<void>) {
  let queries = 0;
  const complaints: string[] = [];
  const counted = new Proxy(sql, {
    apply(target, self, args) {
      queries += 1;
      const ask = () => Reflect.apply(target, self, args);
      return meanwhile ? meanwhile().then(ask).finally(meanwhile) : ask();
    },
  });
  const metrics = createMetrics();
  const log = createLog('info', { write: (line: string) => void complaints.push(line) });
  const feed = createFeed(counted, { log, metrics });
  onTestFinished(() => feed.stop());
  const open = async () => (await metrics.streams.get()).values[0]?.value;
  return { feed, queries: () => queries, open, complaints };
}

export interface Listener {
  events: FeedEvent[];
  /** The numbers that were appended, as they came. */
  told(): number[];
  /** Waits for so many, and sees that they are these. */
  hears(numbers: number[], withinMs?: number): Promise<void>;
  /** Settles when there is nothing more to come. */
  over: Promise<void>;
  leave(): void;
}

/** Follows a subject until it leaves. */
export function follow(feed: Feed, subject: string, { after = 0n, since = minutesAgo(1) } = {}): Listener {
  const gone = new AbortController();
  const events: FeedEvent[] = [];
  const listen = async () => {
    for await (const batch of feed.follow(subject, since, after, gone.signal)) events.push(...batch);
  };
  const over = listen();
  onTestFinished(() => gone.abort());
  const told = () => events.map(({ payload }) => (payload as { n: number }).n);
  const hears = async (numbers: number[], withinMs?: number) => {
    const enough = (seen: number[]) => seen.length >= numbers.length;
    expect(await eventually(async () => told(), enough, withinMs)).toEqual(numbers);
  };
  return { events, told, hears, over, leave: () => gone.abort() };
}

export const news = (subject: string, ...numbers: number[]) =>
  numbers.map((n) => ({ accountId: null, type: 'test.happened', subjectId: subject, payload: { n } }));

export const append = (db: Db, subject: string, ...numbers: number[]): Promise<void> =>
  db.transaction((tx) => appendEvents(tx, news(subject, ...numbers)));

export const upTo = (end: number): number[] => Array.from({ length: end }, (_, n) => n);
