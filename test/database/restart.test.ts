import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { post } from '../../src/credits/ledger.ts';
import { openDatabase } from '../../src/platform/database/clients.ts';
import { isBusyDatabase } from '../../src/platform/http/failures.ts';
import { isDatabaseUp } from '../../src/platform/installation.ts';
import { faultsInBooks } from '../harness/books.ts';
import { eventually } from '../harness/client.ts';
import { ownServerForTest } from '../harness/own-server.ts';

const WRITERS = 8;

// REQ E7.3
test('a server that crashes and comes back under eight writers loses no acknowledged write and doubles none', async () => {
  const server = await ownServerForTest();
  const database = await openDatabase({ url: server.appUrl, pool: 4 });
  onTestFinished(() => database.close());
  const account = randomUUID();
  const acknowledged = new Set<string>();
  const asked = new Set<string>();
  const strange: unknown[] = [];
  let stopping = false;

  /** Each cause is repeated until it is answered: what a failed commit left open, its repetition settles. */
  const writer = async (hot: boolean) => {
    while (!stopping) {
      const id = randomUUID();
      asked.add(id);
      for (let answered = false; !answered && !(stopping && strange.length > 0); ) {
        const writing = hot
          ? database.sql`select result from credits.post(${account}::uuid, 'grant', 1, 'test', ${id}::uuid, null, null)`
          : database.db.transaction((tx) => post(tx, 'grant', account, 1n, { type: 'test', id }));
        answered = await writing.then(
          () => true,
          (fault) => {
            if (!isBusyDatabase(fault)) strange.push(fault);
            return false;
          },
        );
        if (!answered) await sleep(20);
      }
      acknowledged.add(id);
    }
  };
  const writers = Array.from({ length: WRITERS }, (_, i) => writer(i % 2 === 0));

  for (const mode of ['immediate', 'kill', 'fast'] as const) {
    const before = acknowledged.size;
    await eventually(
      async () => acknowledged.size,
      (n) => n > before + 100,
    );
    await server.stop(mode);
    expect(await isDatabaseUp(database, 500)).toBe(false);
    await server.start();
    // The driver's own delays would grow to 20 s during an outage.
    const atStart = acknowledged.size;
    await eventually(
      async () => acknowledged.size,
      (n) => n > atStart,
      4_000,
    );
  }
  const before = acknowledged.size;
  await eventually(
    async () => acknowledged.size,
    (n) => n > before + 100,
  );
  expect(await isDatabaseUp(database, 2000)).toBe(true);
  stopping = true;
  await Promise.all(writers);

  expect(strange).toEqual([]);
  const root = postgres(server.superuserUrl, { max: 1 });
  const rows = await root`select ref_id from credits.transfers`;
  await root.end();
  const written = rows.map((row) => row['ref_id']);
  expect(written.toSorted()).toEqual([...acknowledged].toSorted());
  expect(acknowledged).toEqual(asked);
  expect(await faultsInBooks(server.superuserUrl)).toEqual([]);
}, 60_000);
