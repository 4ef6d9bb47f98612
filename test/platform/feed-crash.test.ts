import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { openDatabase } from '../../src/platform/database/clients.ts';
import { eventually } from '../harness/client.ts';
import { ownServerForTest } from '../harness/own-server.ts';
import { append, feedForTest, follow, upTo } from './followers.ts';

const BURNT = 50;

/** The number of the transaction that wrote it. */
const lastXid = async (root: postgres.Sql): Promise<number> => {
  const [row] = await root`select max(xid)::text as xid from platform.events`;
  return Number(row?.['xid']);
};

// Followers used to be told nothing until the numbers had grown beyond those that were handed out before the crash.
// REQ E7.2
test('a server that crashes hands out numbers of transactions again: what is told under them is heard', async () => {
  const server = await ownServerForTest();
  const root = postgres(server.superuserUrl, { max: 1, onnotice: () => {} });
  onTestFinished(() => root.end());
  await root`alter system set wal_writer_delay = '10s'`; // nothing reaches the disk that no commit waits for
  await root`select pg_reload_conf()`;
  const database = await openDatabase({ url: server.appUrl, pool: 2 });
  onTestFinished(() => database.close());
  const { feed, queries } = feedForTest(database.sql);
  const subject = randomUUID();
  await append(database.db, subject, 0);
  const followers = [follow(feed, subject), follow(feed, subject)];
  await Promise.all(followers.map((one) => one.hears([0])));

  for (let n = 0; n < BURNT; n += 1) await root`select pg_current_xact_id()`;
  const before = await lastXid(root);
  const asked = queries();
  feed.wake();
  await eventually(
    async () => queries(),
    (n) => n >= asked + 3, // at least one of them has begun after the wake and is over
  );
  await server.stop('kill');
  await server.start();

  const write = (n: number) =>
    append(database.db, subject, n).then(
      () => true,
      () => false,
    );
  await eventually(() => write(1), Boolean);
  expect(await lastXid(root), 'below the horizon').toBeLessThan(before + BURNT);
  await write(2);
  feed.wake();
  await Promise.all(followers.map((one) => one.hears(upTo(3))));
}, 40_000);
