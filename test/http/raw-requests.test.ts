import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clientOf, newCustomer } from '../harness/client.ts';
import { fareboxForFile, type TestFarebox } from '../harness/farebox.ts';
import { expectProblem } from '../harness/problems.ts';
import { ask, dial, exchange, repliesIn } from '../harness/raw-http.ts';

let farebox: TestFarebox;
beforeAll(async () => {
  farebox = await fareboxForFile();
});
afterAll(() => farebox.stop());

const HOST = 'Host: x\r\n';
const JSON_TYPE = 'Content-Type: application/json\r\n';
const BODY = '{"refresh_token":"x"}';

const malformed: Record<string, string> = {
  'no HTTP at all': 'hello\r\n\r\n',
  'a TLS hello': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
  'an unknown method': `BREW /v1/packages HTTP/1.1\r\n${HOST}\r\n`,
  'another protocol version': `GET /v1/packages HTTP/9.9\r\n${HOST}\r\n`,
  'a space in the address': `GET /v1/pack ages HTTP/1.1\r\n${HOST}\r\n`,
  'a header without a colon': `GET /v1/packages HTTP/1.1\r\n${HOST}nonsense\r\n\r\n`,
  'a space before the colon': `GET /v1/packages HTTP/1.1\r\n${HOST}X-A : b\r\n\r\n`,
  'a header that goes on in the next line': `GET /v1/packages HTTP/1.1\r\n${HOST}X-A: b\r\n c\r\n\r\n`,
  'a NUL in a header': `GET /v1/packages HTTP/1.1\r\n${HOST}X-A: b\0c\r\n\r\n`,
  'a bare line feed': `GET /v1/packages HTTP/1.1\n${HOST}\n`,
  'two lengths (smuggling)': `POST /v1/auth/refresh HTTP/1.1\r\n${HOST}${JSON_TYPE}Content-Length: 21\r\nContent-Length: 3\r\n\r\n${BODY}`,
  'a length and chunks (smuggling)': `POST /v1/auth/refresh HTTP/1.1\r\n${HOST}${JSON_TYPE}Content-Length: 21\r\nTransfer-Encoding: chunked\r\n\r\n${BODY}`,
  'an unknown transfer encoding': `POST /v1/auth/refresh HTTP/1.1\r\n${HOST}${JSON_TYPE}Transfer-Encoding: xchunked\r\n\r\n${BODY}`,
  'a length that is no number': `POST /v1/auth/refresh HTTP/1.1\r\n${HOST}${JSON_TYPE}Content-Length: ten\r\n\r\n${BODY}`,
  'a negative length': `POST /v1/auth/refresh HTTP/1.1\r\n${HOST}${JSON_TYPE}Content-Length: -1\r\n\r\n${BODY}`,
  'a chunk size that is no number': `POST /v1/auth/refresh HTTP/1.1\r\n${HOST}${JSON_TYPE}Transfer-Encoding: chunked\r\n\r\nxyz\r\n`,
  'no Host': 'GET /v1/packages HTTP/1.1\r\nConnection: close\r\n\r\n',
  'a percent sign that escapes nothing': `GET /v1/packages/%zz HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`,
  'half a character in the address': `GET /v1/packages/%ff HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`,
  'a NUL in the address': `GET /v1/packages?limit=1%00 HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`,
};

describe('answered as a problem document, and the connection ends:', () => {
  test.each(Object.entries(malformed))('%s', async (_name, bytes) => {
    const answer = await exchange(farebox.url, bytes);
    const replies = repliesIn(answer.bytes);
    expect(answer.closed, answer.bytes).toBe(true);
    expect(replies, 'one answer and not a second, smuggled one').toHaveLength(1);
    const [reply] = replies;
    if (!reply) return;
    const body = expectProblem(reply, 'malformed_request');
    expect(reply.text).not.toMatch(/HPE_|llhttp|node:| at /);
    expect(body.detail.length).toBeGreaterThan(0);
  });

  test('headers of more than 16 KiB', async () => {
    const reply = await ask(farebox.url, `GET / HTTP/1.1\r\n${HOST}X-A: ${'a'.repeat(20_000)}\r\n\r\n`);
    expectProblem(reply, 'headers_too_large');
  });

  test('more headers than anybody needs', async () => {
    const many = Array.from({ length: 3_000 }, (_, i) => `X-${i}: b\r\n`).join('');
    expectProblem(await ask(farebox.url, `GET / HTTP/1.1\r\n${HOST}${many}\r\n`), 'headers_too_large');
  });
});

test('an address of more than 4096 characters, or an id of more than 200, is a 414', async () => {
  const get = (path: string) => ask(farebox.url, `GET ${path} HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`);
  expectProblem(await get(`/v1/packages?x=${'a'.repeat(4_100)}`), 'uri_too_long');
  expectProblem(await get(`/${'a'.repeat(5_000)}`), 'uri_too_long');
  expectProblem(await get(`/v1/packages/${'a'.repeat(300)}`), 'uri_too_long');
});

test('garbage behind a request that is being worked on is not taken for its answer', async () => {
  const { email } = await newCustomer(farebox);
  const body = JSON.stringify({ email, password: 'wrong' }); // a hash long
  const head = `POST /v1/auth/login HTTP/1.1\r\n${HOST}${JSON_TYPE}Content-Length: ${body.length}\r\n\r\n`;
  const answer = await exchange(farebox.url, `${head}${body}garbage\r\n\r\n`);
  expect(answer.closed).toBe(true);
  for (const reply of repliesIn(answer.bytes)) expectProblem(reply, 'invalid_credentials');
});

test('a client that is gone before its answer harms nobody', async () => {
  const { email } = await newCustomer(farebox);
  const body = JSON.stringify({ email, password: 'wrong' });
  for (let i = 0; i < 20; i += 1) {
    const socket = await dial(farebox.url);
    socket.write(`POST /v1/auth/login HTTP/1.1\r\n${HOST}${JSON_TYPE}Content-Length: ${body.length}\r\n\r\n${body}`);
    if (i % 2) socket.resetAndDestroy();
    else socket.end();
  }
  expect((await clientOf(farebox.url).get('/v1/packages')).status).toBe(200);
});

test('ten thousand requests in one breath are answered, each, in order, and little memory stays behind', async () => {
  const paths = ['/v1/packages', '/v1/me', '/nowhere'];
  const before = process.memoryUsage().heapUsed;
  const lines = Array.from({ length: 10_000 }, (_, i) => {
    const last = i === 9_999 ? 'Connection: close\r\n' : '';
    return `GET ${paths[i % 3]} HTTP/1.1\r\n${HOST}Request-Id: request-${i}\r\n${last}\r\n`;
  });
  const answer = await exchange(farebox.url, lines.join(''), 60_000);
  const replies = repliesIn(answer.bytes);
  expect(replies).toHaveLength(10_000);
  for (const [i, { status, headers }] of replies.entries()) {
    expect([status, headers.get('request-id')]).toEqual([[200, 401, 404][i % 3], `request-${i}`]);
  }
  globalThis.gc?.();
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(250 * 1024 * 1024);
}, 70_000);

test('Expect: 100-continue is met, and another expectation does not hang', async () => {
  const head = `POST /v1/auth/refresh HTTP/1.1\r\n${HOST}${JSON_TYPE}Content-Length: ${BODY.length}\r\nConnection: close\r\n`;
  const met = await exchange(farebox.url, `${head}Expect: 100-continue\r\n\r\n${BODY}`);
  expect(repliesIn(met.bytes).map(({ status }) => status)).toEqual([100, 401]);
  const other = await exchange(farebox.url, `${head}Expect: wonders\r\n\r\n${BODY}`);
  expect(repliesIn(other.bytes)[0]?.status).toBe(417);
});

test('CONNECT, TRACE and an upgrade open nothing', async () => {
  const connect = await exchange(farebox.url, `CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n`);
  expect(connect).toEqual({ bytes: '', closed: true });
  const trace = await ask(
    farebox.url,
    `TRACE /v1/packages HTTP/1.1\r\n${HOST}Cookie: secret\r\nConnection: close\r\n\r\n`,
  );
  expect(trace.status).toBe(405);
  expect(trace.text).not.toContain('secret');
  const upgrade = await ask(
    farebox.url,
    `GET /nowhere HTTP/1.1\r\n${HOST}Connection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n`,
  );
  expectProblem(upgrade, 'route_not_found');
});

test('an absolute address is its path (RFC 9112 §3.2.2); a double slash and dots lead nowhere', async () => {
  const get = (path: string) => ask(farebox.url, `GET ${path} HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`);
  for (const path of [
    '//v1/me',
    '/v1//me',
    '/v1/../v1/me',
    '/v1/%2e%2e/metrics',
    '/v1/me/',
    '/V1/me',
    '/v1/me;a=b',
    '*',
  ]) {
    const { status } = await get(path);
    expect([400, 404], `${path}: ${status}`).toContain(status);
  }
  expectProblem(await get('http://evil.example/v1/me'), 'unauthenticated');
});
