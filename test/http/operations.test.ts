import { afterAll, beforeAll, expect, test } from 'vitest';
import { clientOf, eventually, newCustomer } from '../harness/client.ts';
import { cloneDatabase } from '../harness/database.ts';
import { fareboxForFile, type TestFarebox } from '../harness/farebox.ts';
import { expectProblem } from '../harness/problems.ts';
import { startProxy, type TcpProxy } from '../harness/tcp-proxy.ts';

// The database is behind a wire that the tests can cut.
let farebox: TestFarebox;
let wire: TcpProxy;
beforeAll(async () => {
  const database = await cloneDatabase();
  wire = await startProxy({ target: { port: Number(new URL(database.appUrl).port) } });
  farebox = await fareboxForFile({ database, env: { DATABASE_URL: wire.url(database.appUrl), WORKERS: 'off' } });
});
afterAll(async () => {
  await wire.pass();
  await farebox.stop();
  await wire.close();
});

const probe = (path: string) => clientOf(farebox.internalUrl).get(path);
const timed = async <T>(work: () => Promise<T>): Promise<[T, number]> => {
  const began = performance.now();
  return [await work(), performance.now() - began];
};

test('all is well: alive, ready, and measured', async () => {
  for (const path of ['/livez', '/readyz']) {
    const reply = await probe(path);
    expect([reply.status, reply.body]).toEqual([200, { status: 'ok' }]);
    expect(reply.headers.get('cache-control')).toBe('no-store');
  }
});

const broken: [name: string, cut: (wire: TcpProxy) => void][] = [
  [
    'refuses connections',
    (it) => {
      it.refuse();
      it.resetAll();
    },
  ],
  ['says nothing any more', (it) => it.blackHole()],
];

test.each(broken)(
  'a database that %s: not ready within half a second, alive, and ready again by itself',
  async (_n, cut) => {
    const customer = await newCustomer(farebox);
    cut(wire);
    for (let i = 0; i < 3; i += 1) {
      const [reply, took] = await timed(() => probe('/readyz'));
      expect([reply.status, reply.body]).toEqual([503, { status: 'database_down' }]);
      expect(took).toBeLessThan(1_000);
    }
    const [alive, took] = await timed(() => probe('/livez'));
    expect(alive.status).toBe(200);
    expect(took).toBeLessThan(300);
    expect((await probe('/metrics')).status).toBe(200);
    const known = customer.get('/v1/me');

    await wire.pass();
    await eventually(
      () => probe('/readyz'),
      ({ status }) => status === 200,
      15_000,
    );
    expect([200, 503]).toContain((await known).status);
    await eventually(
      () => customer.get('/v1/me'),
      ({ status }) => status === 200,
      15_000,
    );
  },
  60_000,
);

test('while the database is away every request that needs it is a 503 that says when to come back', async () => {
  const customer = await newCustomer(farebox);
  wire.refuse();
  wire.resetAll();
  const replies = [
    await customer.get('/v1/workflows'),
    await customer.get('/v1/credits/balance'),
    await customer.post('/v1/workflows', { service_id: 'svc_00000000000000000000000000', name: 'x' }),
    await clientOf(farebox.url).call('POST', '/v1/auth/login', { body: { email: customer.email, password: 'x' } }),
    await clientOf(farebox.url, { token: 'fbx_unknown' }).get('/v1/me'),
  ];
  for (const reply of replies) {
    expectProblem(reply, 'database_unavailable');
    expect(Number(reply.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(reply.text).not.toMatch(/ECONN|postgres|127\.0\.0\.1:\d+\/t_|select /i);
  }
  expect((await clientOf(farebox.url).get('/.well-known/jwks.json')).status, 'what needs no database goes on').toBe(
    200,
  );
  await wire.pass();
  await eventually(
    () => customer.get('/v1/workflows'),
    ({ status }) => status === 200,
  );
});

// REQ E6.5
test('the metrics are Prometheus text on the internal listener, and count requests and attacks', async () => {
  const value = (text: string, line: RegExp) => Number(line.exec(text)?.[1] ?? 0);
  const failed = /^farebox_security_events_total\{event="security\.login_failed"\} (\d+)/m;
  const logins = /^farebox_http_request_seconds_count\{method="POST",route="\/v1\/auth\/login",status="4xx"\} (\d+)/m;
  const before = (await probe('/metrics')).text;
  const body = { email: 'nobody@example.com', password: 'x' };
  await clientOf(farebox.url).call('POST', '/v1/auth/login', { body });
  await clientOf(farebox.url).get('/nowhere/secret-path');
  const after = await probe('/metrics');
  expect(after.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
  expect(value(after.text, failed)).toBe(value(before, failed) + 1);
  expect(value(after.text, logins)).toBe(value(before, logins) + 1);
  expect(after.text).toMatch(/^farebox_process_cpu_user_seconds_total /m);
  expect(after.text, 'routes, never addresses: their number is bounded').not.toContain('secret-path');
  for (const path of ['/metrics', '/livez', '/readyz']) {
    expectProblem(await clientOf(farebox.url).get(path), 'route_not_found');
  }
});
