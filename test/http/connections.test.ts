import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { clientOf } from '../harness/client.ts';
import { fareboxForFile, type TestFarebox } from '../harness/farebox.ts';
import { inProcess } from '../harness/in-process.ts';
import { expectProblem } from '../harness/problems.ts';
import { dial, exchange, repliesIn } from '../harness/raw-http.ts';

let farebox: TestFarebox;
beforeAll(async () => {
  farebox = await fareboxForFile();
});
afterAll(() => farebox.stop());

/** The real server, in a hurry: the same limits, forty times shorter. */
async function hurried(): Promise<string> {
  const { front } = await inProcess(farebox);
  const { server } = front;
  server.headersTimeout /= 40;
  server.requestTimeout /= 40;
  server.keepAliveTimeout /= 40;
  server.timeout /= 40;
  Object.assign(server, { connectionsCheckingInterval: 50, keepAliveTimeoutBuffer: 0 });
  await front.listen({ host: '127.0.0.1', port: 0 });
  const address = server.address();
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
}

test('every wait on a connection has an end, and the ends are in order', async () => {
  const { front, internal } = await inProcess(farebox);
  for (const { server, initialConfig } of [front, internal]) {
    expect(server.headersTimeout).toBe(15_000);
    expect(server.requestTimeout).toBe(30_000);
    expect(server.timeout).toBe(60_000);
    expect(server.keepAliveTimeout).toBe(72_000);
    expect(server.maxConnections).toBe(10_000);
    expect(Object(server)['connectionsCheckingInterval']).toBeLessThanOrEqual(5_000);
    expect(Object(initialConfig)['handlerTimeout']).toBe(30_000);
    expect(initialConfig.bodyLimit).toBe(64 * 1024);
  }
});

test('headers that drip in are cut off with a 408, and so is a body', async () => {
  const url = await hurried();
  const drip = async (first: string, drop: string) => {
    const socket = await dial(url);
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    const began = performance.now();
    socket.write(first);
    const dripping = setInterval(() => socket.write(drop), 50);
    await once(socket, 'close');
    clearInterval(dripping);
    return { took: performance.now() - began, replies: repliesIn(Buffer.concat(chunks).toString()) };
  };
  const [headers, body] = await Promise.all([
    drip('GET /v1/packages HTTP/1.1\r\nHost: x\r\n', 'X-A: b\r\n'),
    drip(
      'POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n',
      'x',
    ),
  ]);
  for (const { took, replies } of [headers, body]) {
    expect(took).toBeLessThan(3_000);
    expect(replies).toHaveLength(1);
    if (replies[0]) expectProblem(replies[0], 'request_timeout');
  }
  expect((await clientOf(url).get('/v1/packages')).status).toBe(200);
});

test('a connection that says nothing is closed', async () => {
  const url = await hurried();
  const silent = await exchange(url, '', 5_000);
  expect(silent.closed).toBe(true);
});

test('a thousand idle connections keep nobody out', async () => {
  const sockets = await Promise.all(Array.from({ length: 1_000 }, () => dial(farebox.url)));
  expect((await clientOf(farebox.url).get('/v1/packages')).status).toBe(200);
  for (const socket of sockets) socket.destroy();
});

test('one connection carries many requests, one after the other, and stays', async () => {
  const request = 'GET /v1/packages HTTP/1.1\r\nHost: x\r\n\r\n';
  const { bytes, closed } = await exchange(farebox.url, request.repeat(50), 1_000);
  const replies = repliesIn(bytes);
  expect(replies.map(({ status }) => status)).toEqual(Array(50).fill(200));
  expect(closed).toBe(false);
});
