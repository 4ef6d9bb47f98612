import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Database, openDatabase } from '../../src/platform/database/clients.ts';
import { appendEvents } from '../../src/platform/delivery/events.ts';
import { cloneDatabase, type TestDatabase } from '../harness/database.ts';
import { append as appendTo, feedForTest, follow, minutesAgo, news, upTo } from './followers.ts';

/** The events of many subjects, told live to whoever follows one of them. */

let at: TestDatabase;
let database: Database;
beforeAll(async () => {
  at = await cloneDatabase();
  database = await openDatabase({ url: at.appUrl, pool: 4 });
});
afterAll(async () => {
  await database.close();
  await at.drop();
});

const feedHere = () => feedForTest(database.sql);
const append = (subject: string, ...numbers: number[]) => appendTo(database.db, subject, ...numbers);

test('past events come first, then each as it happens, once and in order, to every follower of its subject', async () => {
  const { feed } = feedHere();
  const [mine, other] = [randomUUID(), randomUUID()];
  await append(mine, 0, 1);
  await append(other, 100);
  const early = follow(feed, mine);
  const stranger = follow(feed, other);
  await early.hears([0, 1]);
  await append(mine, 2, 3);
  feed.wake();
  await early.hears([0, 1, 2, 3]);
  const late = follow(feed, mine);
  await late.hears([0, 1, 2, 3]);
  await append(mine, 4);
  await append(other, 101);
  feed.wake();
  await Promise.all([early.hears(upTo(5)), late.hears(upTo(5)), stranger.hears([100, 101])]);
  expect(late.events).toEqual(early.events);
  const numbers = early.events.map(({ seq }) => seq);
  expect(numbers).toEqual(numbers.toSorted((a, b) => Number(a - b)));
  expect(early.events[0]).toMatchObject({ type: 'test.happened', subjectId: mine, createdAt: expect.any(Date) });
});

test('what nobody gave notice of is found within a second', async () => {
  const { feed } = feedHere();
  const subject = randomUUID();
  await append(subject, 0);
  const follower = follow(feed, subject);
  await follower.hears([0]);
  for (const n of [1, 2]) {
    await append(subject, n);
    await follower.hears(upTo(n + 1));
  }
});

// REQ E7.3
test('what was rolled back is never told', async () => {
  const { feed } = feedHere();
  const subject = randomUUID();
  await append(subject, 0);
  const follower = follow(feed, subject);
  await follower.hears([0]);
  const rolledBack = database.db.transaction(async (tx) => {
    await appendEvents(tx, news(subject, 1));
    throw new Error('changed my mind');
  });
  await expect(rolledBack).rejects.toThrow('changed my mind');
  await append(subject, 2);
  await database.db.transaction((tx) => appendEvents(tx, []));
  feed.wake();
  await follower.hears([0, 2]);
});

test('a reader that comes back with its cursor hears what came after it, and knows when there is nothing', async () => {
  const { feed } = feedHere();
  const subject = randomUUID();
  await append(subject, 0, 1, 2, 3);
  const whole = follow(feed, subject);
  await whole.hears(upTo(4));
  for (const [i, { seq }] of whole.events.entries()) {
    expect(await feed.isLast(subject, minutesAgo(1), seq)).toBe(i === 3);
    const again = follow(feed, subject, { after: seq });
    const rest = upTo(4).slice(i + 1);
    await again.hears(rest);
    again.leave();
    await again.over;
    expect(again.told()).toEqual(rest);
  }
  expect(await feed.isLast(randomUUID(), minutesAgo(1), 0n)).toBe(true);
});

test('200 followers of 100 subjects cost no more queries than one, and as few when the feed is woken all the time', async () => {
  const { feed, queries, open } = feedHere();
  const subjects = Array.from({ length: 100 }, () => randomUUID());
  await database.db.transaction((tx) =>
    appendEvents(
      tx,
      subjects.flatMap((subject) => news(subject, 0)),
    ),
  );
  const followers = [...subjects, ...subjects].map((subject) => follow(feed, subject));
  await Promise.all(followers.map((one) => one.hears([0])));
  expect(await open()).toBe(200);
  const before = queries();
  const began = performance.now();
  for (let n = 1; n <= 3; n += 1) {
    await database.db.transaction((tx) =>
      appendEvents(
        tx,
        subjects.flatMap((subject) => news(subject, n)),
      ),
    );
    for (let i = 0; i < 100; i += 1) {
      feed.wake();
      await sleep(1);
    }
    await Promise.all(followers.map((one) => one.hears(upTo(n + 1))));
  }
  // However often it is woken, it pauses between two readings.
  expect(queries() - before).toBeLessThanOrEqual((performance.now() - began) / 20 + 2);
});

test('a follower that left is forgotten, and when the last has left, the database is asked nothing more', async () => {
  const { feed, queries, open, complaints } = feedHere();
  const subject = randomUUID();
  await append(subject, 0);
  const [stays, leaves] = [follow(feed, subject), follow(feed, subject)];
  const breaksOff = async () => {
    for await (const _ of feed.follow(subject, minutesAgo(1), 0n, new AbortController().signal)) break;
  };
  await Promise.all([stays.hears([0]), leaves.hears([0]), breaksOff()]);
  expect(await open()).toBe(2);
  leaves.leave();
  await leaves.over;
  expect(await open()).toBe(1);
  await append(subject, 1);
  feed.wake();
  await stays.hears([0, 1]);
  expect(leaves.told()).toEqual([0]);
  stays.leave();
  await stays.over;
  expect(await open()).toBe(0);
  await sleep(100);
  const quiet = queries();
  for (let i = 0; i < 12; i += 1) {
    feed.wake();
    await sleep(100);
  }
  expect(queries()).toBe(quiet);
  expect(complaints).toEqual([]);
  const again = follow(feed, subject);
  await again.hears([0, 1]);
  await append(subject, 2);
  await again.hears([0, 1, 2]);
});

// It used to wait for ever: only a signal that changes was heard.
test('who follows after having left, or at a feed that has stopped, is let go at once', async () => {
  const { feed, open } = feedHere();
  const subject = randomUUID();
  await append(subject, 0);
  const waiting = follow(feed, subject);
  await waiting.hears([0]);
  const gone = async () => {
    for await (const _ of feed.follow(subject, minutesAgo(1), 0n, AbortSignal.abort()));
  };
  await gone();
  expect(await open()).toBe(1);
  feed.stop();
  await waiting.over;
  await follow(feed, subject).over;
  expect(await open()).toBe(0);
});
