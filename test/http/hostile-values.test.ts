import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Json } from '../harness/client.ts';
import { internalRoutes, publicRoutes, type Row } from './matrix.ts';
import { requests } from './matrix-requests.ts';
import { openWorld, type World } from './world.ts';

// Each field of each good request, in turn, holds something that nobody meant; each parameter, too. Nothing of it is
// ever a fault of ours. Neighbouring fields share the values between them; `npm run test:slow` gives all of them to each.
const SHARES = process.env['HOSTILE_SHARES'] === '1' ? 1 : 4;
let turn = 0;
const share = <T>(values: T[]): T[] => {
  turn += 1;
  return values.filter((_, n) => n % SHARES === turn % SHARES);
};

let world: World;
const lines: string[] = [];
beforeAll(async () => {
  // No audit by itself: it would tell, as an error, that the operator of the tests was made by SQL.
  const env = { AUDIT_EVERY_MIN: '0' };
  world = await openWorld({ env, log: { write: (line) => lines.push(line) } });
});
afterAll(() => world.stop());

const hostile: Json[] = [
  ...[null, true, false, 0, -1, 1.5, 1e300, -1e300, 2 ** 53, 2 ** 31, -(2 ** 31)],
  ...['', ' ', 'x', '0', 'null', 'undefined', 'NaN', '-1', '1e9', "'; drop table x; --", '#{7*7}', '{{7*7}}', '%s%n'],
  ...[
    '../../etc/passwd',
    '<script>alert(1)</script>',
    '\r\nSet-Cookie: a=b',
    '\u202e',
    '\ufeff',
    '💥',
    'ß'.repeat(300),
  ],
  ...['x'.repeat(30_000), 'http://169.254.169.254/', 'javascript:alert(1)', '//evil.example', 'https://[::1]:99999/'],
  ...['2020-02-30T00:00:00Z', '9999-12-31T23:59:59Z', '+275760-09-13T00:00:00.001Z', '0000-01-01T00:00:00Z'],
  ...[[], [[]], [null], Array(1_000).fill(1), {}, { a: 1 }, { $ref: '#' }, { type: 'x' }, { toString: 1, valueOf: 1 }],
  ...[{ type: 'object', properties: { a: { $ref: 'http://127.0.0.1:1/' } } }, { pattern: '(a+)+$' }, { allOf: [] }],
];
/** As the address holds them. */
const inAddress = [
  '%20',
  '%2e%2e%2f',
  '%00',
  '%c3%28',
  'null',
  '-1',
  '1e9',
  "'--",
  '%22',
  '%0d%0aX:%20y',
  '💥',
  'a'.repeat(190),
];

/** The good body with one place changed, for every place in it and one that is not there. */
function* changed(body: Json): Generator<Json> {
  for (const value of hostile) yield value;
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return;
  for (const name of [...Object.keys(body), 'surplus']) {
    for (const value of share(hostile)) yield { ...body, [name]: value };
    const { [name]: _, ...without } = body;
    yield without;
    if (typeof body[name] === 'object') for (const inner of changed(body[name])) yield { ...body, [name]: inner };
  }
}

async function send(url: string, token: string, method: string, path: string, body?: Json) {
  const response = await fetch(url + path, {
    ...{ method, redirect: 'manual' },
    headers: {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(method === 'POST' ? { 'idempotency-key': randomUUID() } : {}),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return response.status < 500
    ? undefined
    : `${method} ${path} ${response.status} ${JSON.stringify(body)?.slice(0, 200)} ${text}`;
}

/** Routes that would end what the test stands on, hash a password each time, or take nothing; their own tests are hostile. */
const LEFT_OUT =
  /^\/(v1\/auth|v1\/me|reset-password|ops|v1\/webhooks|docs|openapi|metrics|livez|readyz|\.well-known)|(:\w+\/events|stream|qr)$/;

async function attack(url: string, token: string, [method, pattern]: Row): Promise<string[]> {
  const asked = await requests[`${method} ${pattern}`]?.(world, { caller: 'owner' });
  if (!asked) return ['cannot be asked'];
  const faults: (string | undefined)[] = [];
  const own = asked.token ?? token;
  const batch: (() => Promise<string | undefined>)[] = [];
  if (asked.body !== undefined) {
    for (const body of changed(asked.body)) batch.push(() => send(url, own, method, asked.path, body));
  }
  for (const text of inAddress)
    if (/:\w/.test(pattern)) batch.push(() => send(url, own, method, pattern.replace(/:\w+/, text), asked.body));
  const names = [
    'limit',
    'starting_after',
    'email',
    'state',
    'status',
    'workflow_id',
    'account_id',
    ...share(inAddress),
  ];
  for (const name of method === 'GET' ? names : [])
    for (const text of share(inAddress)) batch.push(() => send(url, own, method, `${asked.path}?${name}=${text}`));
  for (let i = 0; i < batch.length; i += 20)
    faults.push(...(await Promise.all(batch.slice(i, i + 20).map((one) => one()))));
  return faults.filter((fault) => fault !== undefined);
}

const aimed = (rows: Row[]) => rows.filter(([, pattern]) => !LEFT_OUT.test(pattern));

test.each(aimed(publicRoutes))('%s %s', async (...row) => {
  expect(await attack(world.farebox.url, world.owner.token, row)).toEqual([]);
});

test.each(aimed(internalRoutes))('%s %s, by an operator', async (...row) => {
  expect(await attack(world.farebox.internalUrl, world.operator.token, row)).toEqual([]);
});

test('none of it was logged as a fault of ours', () => {
  expect(lines.filter((line) => /"level":"(error|fatal)"/.test(line)).map((line) => line.slice(0, 400))).toEqual([]);
});
