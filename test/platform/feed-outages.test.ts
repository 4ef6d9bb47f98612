import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { type Database, openDatabase } from '../../src/platform/database/clients.ts';
import { eventually } from '../harness/client.ts';
import { databaseForTest } from '../harness/database.ts';
import { ownServerForTest } from '../harness/own-server.ts';
import { startProxy } from '../harness/tcp-proxy.ts';
import { append, feedForTest, follow, upTo } from './followers.ts';

/** Followers wait while the database, or the way to it, is gone; afterwards they have missed nothing. */

async function open(url: string, applicationName = 'test'): Promise<Database> {
  const database = await openDatabase({ url, pool: 2, applicationName });
  onTestFinished(() => database.close());
  return database;
}

/** A replica whose way to the database can be cut, and a writer who has another way. */
async function cutOff() {
  const at = await databaseForTest();
  const proxy = await startProxy({ target: { port: Number(new URL(at.appUrl).port) } });
  onTestFinished(() => proxy.close());
  const writer = await open(at.appUrl);
  const replica = feedForTest((await open(proxy.url(at.appUrl))).sql);
  const cut = () => {
    proxy.refuse();
    proxy.resetAll();
  };
  return { writer, ...replica, cut, heal: () => proxy.pass() };
}

// REQ E7.2
test('what happened while the way to the database was cut is heard afterwards, once and in order', async () => {
  const { writer, feed, cut, heal, complaints } = await cutOff();
  const subjects = [randomUUID(), randomUUID()];
  for (const subject of subjects) await append(writer.db, subject, 0);
  const followers = [...subjects, ...subjects].map((subject) => follow(feed, subject));
  await Promise.all(followers.map((one) => one.hears([0])));
  cut();
  for (const subject of subjects) await append(writer.db, subject, 1);
  await eventually(
    async () => complaints.length,
    (n) => n >= 1,
  );
  for (const subject of subjects) await append(writer.db, subject, 2, 3);
  expect(followers.map((one) => one.told())).toEqual(followers.map(() => [0]));
  await heal();
  for (const subject of subjects) await append(writer.db, subject, 4);
  feed.wake();
  await Promise.all(followers.map((one) => one.hears(upTo(5))));
  expect(complaints[0]).toContain('the event feed could not read');
});

// REQ E7.2
test('while the database is away for too long streams end, and readers that come back with their cursor miss nothing', async () => {
  const { writer, feed, cut, heal, open } = await cutOff();
  const subject = randomUUID();
  await append(writer.db, subject, 0, 1);
  const followers = [follow(feed, subject), follow(feed, subject)];
  await Promise.all(followers.map((one) => one.hears([0, 1])));
  cut();
  await append(writer.db, subject, 2);
  const over = Promise.all(followers.map((one) => one.over));
  const waking = setInterval(() => feed.wake(), 50); // in place of the minute that it would take by itself
  await over;
  clearInterval(waking);
  expect(await open()).toBe(0);
  await expect(follow(feed, subject).over).rejects.toMatchObject({ code: expect.stringMatching(/CONN/) });
  expect(await open()).toBe(0);
  await heal();
  await append(writer.db, subject, 3);
  const again = followers.map(({ events }) => follow(feed, subject, { after: events.at(-1)?.seq ?? 0n }));
  await Promise.all(again.map((one) => one.hears([2, 3])));
});

// REQ E7.2
test('terminated backends interrupt nobody: followers stay and hear everything', async () => {
  const at = await databaseForTest();
  const name = `feed-${randomUUID().slice(0, 8)}`;
  const [writer, reader] = [await open(at.appUrl), await open(at.appUrl, name)];
  const root = postgres(at.superuserUrl, { max: 1, onnotice: () => {} });
  onTestFinished(() => root.end());
  const { feed } = feedForTest(reader.sql);
  const subject = randomUUID();
  await append(writer.db, subject, 0);
  const follower = follow(feed, subject);
  await follower.hears([0]);
  let terminated = 0;
  for (let n = 1; n <= 3; n += 1) {
    const killed = await root`
      select pg_terminate_backend(pid) from pg_stat_activity where application_name = ${`${name}:hot`}`;
    terminated += killed.length;
    await append(writer.db, subject, n);
    feed.wake();
    await follower.hears(upTo(n + 1));
  }
  expect(terminated).toBeGreaterThanOrEqual(3);
});

// REQ E7.2
test('a server that crashes and comes back while followers wait costs them no event', async () => {
  const server = await ownServerForTest();
  const database = await open(server.appUrl);
  const { feed, complaints } = feedForTest(database.sql);
  const subjects = [randomUUID(), randomUUID()];
  for (const subject of subjects) await append(database.db, subject, 0);
  const followers = subjects.map((subject) => follow(feed, subject));
  await Promise.all(followers.map((one) => one.hears([0])));
  await append(database.db, subjects[0] ?? '', 1);
  await server.stop('kill');
  await eventually(
    async () => complaints.length,
    (n) => n > 0,
  );
  await server.start();
  await eventually(
    () =>
      append(database.db, subjects[1] ?? '', 1).then(
        () => true,
        () => false,
      ),
    (done) => done,
  );
  await Promise.all(followers.map((one) => one.hears([0, 1])));
}, 60_000);
