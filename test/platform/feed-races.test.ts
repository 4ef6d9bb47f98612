import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { type Database, openDatabase } from '../../src/platform/database/clients.ts';
import { appendEvents } from '../../src/platform/delivery/events.ts';
import { eventually } from '../harness/client.ts';
import { cloneDatabase, type TestDatabase } from '../harness/database.ts';
import { append as appendTo, feedForTest, follow, minutesAgo, news, upTo } from './followers.ts';

/** Readers and writers of events who meet at an awkward moment: nobody misses anything. */

let at: TestDatabase;
let database: Database;
let root: postgres.Sql;
beforeAll(async () => {
  at = await cloneDatabase();
  database = await openDatabase({ url: at.appUrl, pool: 4 });
  root = postgres(at.superuserUrl, { max: 2, onnotice: () => {} });
});
afterAll(async () => {
  await Promise.all([database.close(), root.end()]);
  await at.drop();
});

const feedHere = () => feedForTest(database.sql);
const append = (subject: string, ...numbers: number[]) => appendTo(database.db, subject, ...numbers);

/** A transaction of somebody else that has appended and does not end before it is told to. */
async function slowTransaction(subject: string, n: number) {
  const held = Promise.withResolvers<void>();
  const appended = Promise.withResolvers<void>();
  const done = database.db.transaction(async (tx) => {
    await appendEvents(tx, news(subject, n));
    appended.resolve();
    await held.promise;
  });
  await Promise.race([appended.promise, done]);
  onTestFinished(() => held.resolve());
  return {
    commit: async () => {
      held.resolve();
      await done;
    },
  };
}

test('followers that come at any moment of a storm all hear the whole of it, each event once and in order', async () => {
  const { feed } = feedHere();
  const replica = feedHere();
  const subjects = Array.from({ length: 6 }, () => randomUUID());
  const followers: ReturnType<typeof follow>[] = [];
  await Promise.all(
    subjects.map(async (subject, i) => {
      for (let n = 0; n < 40; n += 1) {
        await append(subject, n);
        feed.wake();
        if (n % 5 === i % 5) followers.push(follow(n % 2 ? feed : replica.feed, subject));
      }
    }),
  );
  expect(followers).toHaveLength(48);
  await Promise.all(followers.map((one) => one.hears(upTo(40))));
});

test.each([1, 3])('whatever is committed between the steps of %i that begin is heard', async (count) => {
  const subject = randomUUID();
  let written = Promise.resolve();
  let n = 0;
  const { feed } = feedForTest(database.sql, () => {
    written = written.then(async () => {
      if (n < 12) await append(subject, n++);
    });
    return written;
  });
  const followers = Array.from({ length: count }, () => follow(feed, subject));
  await Promise.all(followers.map((one) => one.hears(upTo(12))));
});

test('a transaction that commits late loses nothing, of its subject or of any other', async () => {
  const { feed, queries } = feedHere();
  const [slow, quick] = [randomUUID(), randomUUID()];
  await append(slow, 0);
  await append(quick, 0);
  const [onSlow, onQuick] = [follow(feed, slow), follow(feed, quick)];
  await Promise.all([onSlow.hears([0]), onQuick.hears([0])]);
  const held = await slowTransaction(slow, 1);
  await append(quick, 1, 2);
  // The feed reads on, several times, past what was committed with higher numbers.
  const before = queries();
  await eventually(
    async () => {
      feed.wake();
      return queries();
    },
    (n) => n >= before + 5,
  );
  // Who comes now is told at once what there is, and is not told it again later.
  const newcomer = follow(feed, quick);
  await newcomer.hears([0, 1, 2]);
  await held.commit();
  await append(quick, 3);
  feed.wake();
  await Promise.all([onSlow.hears([0, 1]), onQuick.hears(upTo(4)), newcomer.hears(upTo(4))]);
});

// It used to be lost: the feed looked ten minutes back, and somebody else's transaction may take longer.
test('an event that was held back for a long time is told in the end', async () => {
  const { feed } = feedHere();
  const subject = randomUUID();
  await append(subject, 0);
  const follower = follow(feed, subject, { since: minutesAgo(25) });
  await follower.hears([0]);
  await root`
    insert into platform.events (type, subject_id, payload, created_at)
    values ('test.happened', ${subject}::uuid, '{"n": 1}', now() - interval '20 minutes')`;
  await follower.hears([0, 1]);
});

// It used to be lost: the reading was on its way without the newcomer, and took the horizon past its event.
test('a follower that comes while a reading waits for its turn at the database misses nothing', async () => {
  const own = await openDatabase({ url: at.appUrl, pool: 2 });
  onTestFinished(() => own.close());
  const { feed, queries } = feedForTest(own.sql);
  const [first, second] = [randomUUID(), randomUUID()];
  await append(first, 0);
  await append(second, 0);
  const early = follow(feed, first);
  await early.hears([0]);
  await Promise.all([own.sql`select 1`, own.sql`select 1`]);
  const before = queries();
  await eventually(
    async () => queries(),
    (n) => n > before,
  );
  await sleep(50);
  // Both connections are busy, and the next reading is sent behind the longer statement.
  const long = own.sql`select pg_sleep(1)`.execute();
  const short = own.sql`select pg_sleep(0.2)`.execute();
  const sent = queries();
  feed.wake();
  await eventually(
    async () => queries(),
    (n) => n > sent,
  );
  await short;
  const newcomer = follow(feed, second);
  await sleep(200);
  await append(second, 1);
  await long;
  await newcomer.hears([0, 1], 5_000);
});
