import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { clientOf, newCustomer, newOperator } from '../harness/client.ts';
import { databaseForTest } from '../harness/database.ts';
import { startFarebox } from '../harness/farebox.ts';
import { inProcess } from '../harness/in-process.ts';
import { dial, repliesIn } from '../harness/raw-http.ts';

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const GRACE_MS = 400;

async function leaving() {
  const farebox = await startFarebox({
    database: await databaseForTest(),
    env: { DRAIN_GRACE_MS: String(GRACE_MS) },
  });
  let stopping: Promise<void> | undefined;
  const stop = () => (stopping ??= farebox.stop());
  onTestFinished(stop);
  return { farebox, stop };
}

test('what is in hand is finished, what comes during the grace is served, what comes later is sent away', async () => {
  const { farebox, stop } = await leaving();
  const [operator, customer] = [await newOperator(farebox), await newCustomer(farebox)];
  const path = `/v1/admin/accounts/${customer.accountId}/grants`;
  await operator.ok('POST', path, { body: { credits: 1, reason: 'r' } });
  expect((await clientOf(farebox.internalUrl).get('/readyz')).body).toEqual({ status: 'ok' });

  // A log-out that waits for a lock: in hand while everything else goes on.
  const root = postgres(farebox.database.superuserUrl, { max: 1 });
  onTestFinished(() => root.end());
  const release = Promise.withResolvers<void>();
  const locked = Promise.withResolvers<void>();
  const holding = root.begin(async (tx) => {
    await tx`select from identity.accounts where email = ${customer.email} for update`;
    locked.resolve();
    await release.promise;
  });
  await locked.promise;
  const socket = await dial(farebox.url);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  const closed = once(socket, 'close');
  socket.write(
    `POST /v1/auth/logout HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${customer.token}\r\nContent-Length: 0\r\n\r\n`,
  );
  await pause(100);

  const stopped = stop();
  await pause(GRACE_MS / 4);
  const probe = await clientOf(farebox.internalUrl).get('/readyz');
  expect([probe.status, probe.body]).toEqual([503, { status: 'draining' }]);
  expect((await clientOf(farebox.internalUrl).get('/livez')).status, 'alive all the time').toBe(200);
  expect((await customer.get('/v1/workflows')).status, 'the load balancer has not noticed yet').toBe(200);

  await pause(GRACE_MS);
  await expect(fetch(`${farebox.url}/v1/packages`), 'nobody listens any more').rejects.toThrow();
  release.resolve();
  await holding;
  await closed;
  const [finished] = repliesIn(Buffer.concat(chunks).toString());
  expect([finished?.status, finished?.headers.get('connection')]).toEqual([204, 'close']);
  const began = performance.now();
  await stopped;
  expect(performance.now() - began, 'no kept connection holds the exit up').toBeLessThan(2_000);
});

test('a request that comes too late on a connection that is still open is told to come back elsewhere', async () => {
  const { farebox } = await leaving();
  const { front, lifecycle } = await inProcess(farebox);
  expect((await front.inject('/v1/packages')).headers['connection']).not.toBe('close');
  lifecycle.phase = 'draining';
  expect((await front.inject('/v1/packages')).statusCode).toBe(200);
  lifecycle.phase = 'closing';
  for (const url of ['/v1/packages', '/v1/me', '/nowhere', '/checkout/x']) {
    const reply = await front.inject({ url, headers: { 'request-id': 'too-late-1' } });
    expect([reply.statusCode, reply.headers['connection'], reply.headers['retry-after']]).toEqual([503, 'close', '2']);
    expect(reply.headers['request-id']).toBe('too-late-1');
    if (!url.startsWith('/checkout')) expect(reply.json().code).toBe('shutting_down');
  }
});

// REQ E7.1
test('a purchase whose charge is being made is finished, too', async () => {
  const { farebox, stop } = await leaving();
  const [operator, customer] = [await newOperator(farebox), await newCustomer(farebox)];
  const pack = await operator.ok('POST', '/v1/admin/packages', { body: { name: 'P', credits: 5, price: 50_000 } });
  farebox.omise.control.fault({ api: 'latency', ms: GRACE_MS + 500, path: '/charges', method: 'POST' });
  const buying = customer.post('/v1/purchases', { package_id: pack.id, method: { type: 'promptpay' } });
  await pause(100);
  const stopped = stop();
  const reply = await buying;
  expect([reply.status, reply.body?.status], reply.text).toEqual([201, 'pending']);
  expect(reply.body.qr_url).toMatch(/^http/);
  await stopped;
});

test('an open event stream does not hold the exit up', async () => {
  const { farebox, stop } = await leaving();
  const [operator, customer] = [await newOperator(farebox), await newCustomer(farebox)];
  const pack = await operator.ok('POST', '/v1/admin/packages', { body: { name: 'P', credits: 5, price: 50_000 } });
  const body = { package_id: pack.id, method: { type: 'promptpay' } };
  const purchase = await customer.ok('POST', '/v1/purchases', { body, key: randomUUID() });
  const stream = await fetch(`${purchase.status_url}/events`);
  expect(stream.status).toBe(200);
  const reading = stream.text().catch(() => 'cut');
  const began = performance.now();
  await stop();
  expect(performance.now() - began).toBeLessThan(GRACE_MS + 3_000);
  expect(await reading).toContain(': farebox');
});
