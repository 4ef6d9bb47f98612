import type { FastifyRequest } from 'fastify';
import { expect, onTestFinished, test } from 'vitest';
import { createAuthenticator } from '../../src/identity/authenticate.ts';
import { openDatabase } from '../../src/platform/database/clients.ts';
import { fromWire } from '../../src/platform/ids.ts';
import { newCustomer } from '../harness/client.ts';
import { fareboxForTest } from '../harness/farebox.ts';
import { startProxy } from '../harness/tcp-proxy.ts';

const LATENCY_MS = 200;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test('what was read of an account while something of it was being revoked is not remembered', async () => {
  const farebox = await fareboxForTest();
  const customer = await newCustomer(farebox);
  const { id, key } = await customer.ok('POST', '/v1/api-keys', { body: { name: 'k', scopes: ['read'] } });
  await customer.get('/v1/me', { token: key }); // so that its last use need not be written below

  // A replica at the end of a long wire.
  const wire = await startProxy({ target: { port: Number(new URL(farebox.database.appUrl).port) } });
  const database = await openDatabase({ url: wire.url(farebox.database.appUrl), pool: 2 });
  onTestFinished(async () => {
    await database.close();
    await wire.close();
  });
  const { authenticate, forget } = createAuthenticator(database.db);
  const request = { headers: { authorization: `Bearer ${key}` } } as FastifyRequest;
  await database.db.execute('select 1'); // connected

  wire.latency(LATENCY_MS);
  const looking = authenticate(request);
  await pause(LATENCY_MS * 3.5); // two round trips: the database has answered, the answer is on its way
  await customer.ok('DELETE', `/v1/api-keys/${id}`);
  forget(fromWire('account', customer.accountId));
  expect((await looking).accountId, 'this request was first').toBe(fromWire('account', customer.accountId));
  await wire.pass();
  await expect(authenticate(request)).rejects.toThrow('The API key is not valid');
  await expect(authenticate(request), 'and a refusal is remembered').rejects.toThrow('The API key is not valid');
});
