import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { clientOf, newCustomer, type Reply } from '../harness/client.ts';
import { fareboxForFile, type TestFarebox } from '../harness/farebox.ts';

let farebox: TestFarebox;
const lines: string[] = [];
beforeAll(async () => {
  farebox = await fareboxForFile({ log: { write: (line) => lines.push(line) } });
});
afterAll(() => farebox.stop());

const get = (path: string, headers: Record<string, string> = {}) => clientOf(farebox.url).get(path, { headers });

// REQ E7.5 E9.5
test('a request id is the client’s own when it is harmless, else a new one, and the log has the same', async () => {
  for (const own of ['order-12345', 'A'.repeat(64), randomUUID(), '_under_score_']) {
    expect((await get('/v1/packages', { 'request-id': own })).headers.get('request-id')).toBe(own);
    expect(lines.filter((line) => JSON.parse(line).request_id === own)).toHaveLength(1);
  }
  for (const odd of [
    'short',
    'A'.repeat(65),
    'with space 1',
    'semi;colon',
    '<script>alert(1)</script>',
    'ünïcödé-',
    '',
  ]) {
    const id = (await get('/v1/packages', { 'request-id': encodeURIComponent(odd).replaceAll('-', '.') })).headers;
    expect(id.get('request-id')).toMatch(/^[0-9a-f]{8}-[0-9a-f-]{27}$/);
  }
  const [one, two] = [await get('/v1/packages'), await get('/v1/packages')];
  expect(one.headers.get('request-id')).not.toBe(two.headers.get('request-id'));
});

test('the trace id of a traceparent becomes the request id (W3C Trace Context §3.2)', async () => {
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
  const idFor = async (traceparent: string, more = {}) =>
    (await get('/nowhere', { traceparent, ...more })).headers.get('request-id');
  expect(await idFor(`00-${trace}-00f067aa0ba902b7-01`)).toBe(trace);
  expect(await idFor(`00-${trace}-00f067aa0ba902b7-01`, { 'request-id': 'mine-12345' })).toBe('mine-12345');
  for (const wrong of [
    `00-${trace}`,
    `00-${trace.toUpperCase()}-00f067aa0ba902b7-01`,
    `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
  ]) {
    expect(await idFor(wrong)).toMatch(/-/);
  }
});

test('every reply carries the headers that keep browsers and caches in order', async () => {
  const customer = await newCustomer(farebox);
  const replies: Reply[] = [
    await get('/v1/packages'),
    await get('/nowhere'),
    await get('/v1/me'),
    await customer.get('/v1/me'),
    await clientOf(farebox.url).call('POST', '/v1/auth/login', { body: {} }),
    await clientOf(farebox.url).call('POST', '/v1/auth/login', { headers: { 'content-encoding': 'gzip' } }),
    await get('/openapi.json'),
    await get('/docs/errors'),
    await get('/.well-known/jwks.json'),
    await clientOf(farebox.internalUrl).get('/livez'),
  ];
  for (const { headers, status } of replies) {
    expect(headers.get('request-id'), String(status)).toMatch(/^[\w-]{8,64}$/);
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('x-frame-options')).toBe('SAMEORIGIN');
    expect(headers.get('content-security-policy')).toMatch(/^default-src 'none';.*frame-ancestors 'none'/);
    expect(headers.get('strict-transport-security')).toMatch(/^max-age=31536000/);
    expect(headers.get('referrer-policy')).toBe('no-referrer');
    expect(headers.get('cross-origin-resource-policy')).toBe('same-origin');
    expect(headers.get('x-powered-by')).toBeNull();
    expect(headers.get('server')).toBeNull();
    expect(headers.get('access-control-allow-origin')).toBeNull();
    expect(headers.get('cache-control')).toMatch(/^(no-store|public, max-age=60)$/);
  }
});

test('only the published keys may be kept by a cache', async () => {
  const kept = [];
  for (const path of ['/v1/packages', '/openapi.json', '/docs/errors', '/docs/', '/.well-known/jwks.json']) {
    if ((await get(path)).headers.get('cache-control') !== 'no-store') kept.push(path);
  }
  expect(kept).toEqual(['/.well-known/jwks.json']);
});

test('a preflight from another origin is given nothing', async () => {
  const reply = await clientOf(farebox.url).call('OPTIONS', '/v1/me', {
    headers: { origin: 'https://evil.example', 'access-control-request-method': 'GET' },
  });
  expect(reply.status).toBe(405);
  expect([...reply.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([]);
});

test('one line is logged for each request: the pattern of its route and never its address', async () => {
  const token = 'B'.repeat(43);
  lines.length = 0;
  await get(`/reset-password/${token}?secret=hush`);
  await get(`/nowhere/${token}`);
  const seen = lines.map((line) => JSON.parse(line)).map(({ method, route, status }) => [method, route, status]);
  expect(seen).toEqual([
    ['GET', '/reset-password/:token', 410],
    ['GET', null, 404],
  ]);
  expect(lines.join('')).not.toMatch(/BBBB|hush/);
});
