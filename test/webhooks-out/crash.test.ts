import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openDatabase } from '../../src/platform/database/clients.ts';
import { appendEvents } from '../../src/platform/delivery/events.ts';
import { childForFile } from '../harness/child.ts';
import { clientOf, eventually, newCustomer } from '../harness/client.ts';
import { endpointOf, happenings, letTimePass } from './mailbox.ts';
import { type Receiver, silence, startReceiver, status } from './receiver.ts';

/** A process that dies between a call and the record of it. */

let receiver: Receiver;
let child: Awaited<ReturnType<typeof childForFile>>;
let root: postgres.Sql;
beforeAll(async () => {
  receiver = await startReceiver();
  child = await childForFile({ env: { WEBHOOK_ALLOW: receiver.target } });
  root = postgres(child.database.superuserUrl, { max: 1, onnotice: () => {} });
});
afterAll(async () => {
  await root.end();
  await child.close();
  await receiver.close();
});

async function happen(accountId: string, run: string, ...numbers: number[]) {
  const { db, close } = await openDatabase({ url: child.database.appUrl, pool: 1 });
  await db.transaction((tx) => appendEvents(tx, happenings(accountId, run, ...numbers)));
  await close();
}

test('killed between the call and its record: delivered again under the same id, and then what was held', async () => {
  const ada = await newCustomer(child);
  const path = `/${randomUUID()}`;
  const endpoint = await endpointOf(ada, receiver.url + path);
  receiver.expectSecret(path, endpoint.signing_secret);
  receiver.answer(path, silence);
  await happen(ada.accountId, randomUUID(), 1, 2);
  await eventually(
    async () => receiver.at(path),
    (letters) => letters.length === 1,
  );
  await child.kill();
  receiver.answer(path, status(204));
  await child.start();
  await letTimePass(root, endpoint, 1); // the lease of the dead runs out
  const letters = await eventually(
    async () => receiver.at(path),
    (all) => all.length === 3,
  );
  expect(letters.map(({ body }) => body.data.n)).toEqual([1, 1, 2]);
  expect(letters[1]?.id).toBe(letters[0]?.id);
  expect(letters.every(({ verified }) => verified)).toBe(true);
});

test('stopped with calls in hand: what was cut off comes again, and nothing is lost', async () => {
  const ada = await newCustomer(child);
  const path = `/${randomUUID()}`;
  const endpoint = await endpointOf(ada, receiver.url + path);
  receiver.answer(path, silence);
  await happen(ada.accountId, randomUUID(), 1, 2);
  await eventually(
    async () => receiver.at(path),
    (letters) => letters.length === 1,
  );
  await child.stop();
  expect(await child.exited()).toBe(0);
  receiver.answer(path, status(204));
  await child.start();
  await letTimePass(root, endpoint, 1);
  await eventually(
    async () => receiver.at(path),
    (all) => all.length === 3,
  );
  const reader = clientOf(child.url, ada);
  const { data } = await reader.ok('GET', `/v1/webhook-endpoints/${endpoint.id}/deliveries`);
  const whole = await reader.ok('GET', `/v1/webhook-endpoints/${endpoint.id}/deliveries/${data[1].id}`);
  expect(whole.attempt_log[0]).toMatchObject({ attempt: 1, error: 'cut' });
});
