import { randomUUID } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Reply } from '../harness/client.ts';
import { expectFieldProblem, expectProblem } from '../harness/problems.ts';
import { openWorld, type World } from './world.ts';

let world: World;
beforeAll(async () => {
  world = await openWorld();
});
afterAll(() => world.stop());

const JSON_TYPE = { 'content-type': 'application/json' };
type Body = string | Buffer | undefined;
/** Bytes as they are, as the owner. */
async function send(body: Body, headers: Record<string, string> = JSON_TYPE, path = '/v1/workflows'): Promise<Reply> {
  const response = await fetch(world.farebox.url + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${world.owner.token}`, 'idempotency-key': randomUUID(), ...headers },
    ...(body === undefined ? {} : { body }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, body: text ? JSON.parse(text) : null };
}
const good = (more: object = {}) => JSON.stringify({ service_id: world.service.id, name: 'W', ...more });
const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;

// REQ E9.1
describe('only JSON in UTF-8 is read', () => {
  test.each([
    'application/json',
    'Application/JSON',
    'application/json; charset=utf-8',
    'application/json;charset="UTF-8"',
  ])('%s is taken', async (type) => {
    expect((await send(good(), { 'content-type': type })).status).toBe(201);
  });

  test.each([
    '',
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/merge-patch+json',
    'application/problem+json',
    'application/xml',
    'application/json; charset=utf-16',
    'application/json; charset=latin1',
    'application/json; charset=utf-8; charset=utf-16',
    'application/jsonx',
    'json',
    '*/*',
    ';;;',
  ])('"%s" is a 415', async (type) => {
    expectProblem(await send(Buffer.from(good()), { 'content-type': type }), 'unsupported_media_type');
  });

  test('a body without a type is a 415', async () => {
    const response = await fetch(`${world.farebox.url}/v1/workflows`, {
      method: 'POST',
      headers: { authorization: `Bearer ${world.owner.token}` },
      body: Buffer.from(good()),
    });
    const text = await response.text();
    expectProblem({ status: response.status, headers: response.headers, text }, 'unsupported_media_type');
  });

  test.each(['gzip', 'br', 'deflate', 'zstd', 'x-unknown', 'gzip, gzip'])(
    'content-encoding %s is a 415',
    async (encoding) => {
      const bomb = gzipSync(Buffer.alloc(10 * 1024 * 1024));
      expectProblem(await send(bomb, { ...JSON_TYPE, 'content-encoding': encoding }), 'unsupported_media_type');
    },
  );
});

describe('what cannot be read is a 400', () => {
  test.each<[string, Body]>([
    ['an empty body', ''],
    ['a space', ' '],
    ['half an object', '{"service_id":'],
    ['a comma too many', '{"name":"x",}'],
    ['single quotes', "{'name':'x'}"],
    ['a comment', '{/* x */"name":"x"}'],
    ['NaN', '{"expected_cost":NaN}'],
    ['Infinity', '{"expected_cost":Infinity}'],
    ['a hexadecimal number', '{"expected_cost":0x10}'],
    ['a leading zero', '{"expected_cost":01}'],
    ['two values', '{} {}'],
    ['a control character in a text', '{"name":"a\nb"}'],
    ['bytes that are not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
    ['half a character', Buffer.from('{"name":"é"}').subarray(0, 10)],
    ['UTF-16', Buffer.from('{"name":"x"}', 'utf16le')],
    ['33 levels', `{"input":${nested(32)}}`],
    ['thirty thousand levels', nested(30_000)],
    ['thirty thousand levels that never close', '['.repeat(60_000)],
    ['__proto__', '{"__proto__":{"admin":true}}'],
    ['__proto__ inside', '{"input":{"__proto__":{"admin":true}}}'],
    ['an escaped __proto__', '{"\\u005f_proto__":{"admin":true}}'],
    ['constructor.prototype', '{"constructor":{"prototype":{"admin":true}}}'],
  ])('%s', async (_name, body) => {
    const reply = await send(body, JSON_TYPE, `/v1/workflows/${world.workflow.id}/runs`);
    expectProblem(reply, 'malformed_request');
    expect(reply.text).not.toMatch(/Unexpected|JSON\.parse|position|node:/);
    expect(({} as Record<string, unknown>)['admin']).toBeUndefined();
  });
});

test('32 levels, a byte order mark and white space around are fine', async () => {
  const path = `/v1/workflows/${world.workflow.id}/runs`;
  expect((await send(`{"input":{"x":${nested(30)}}}`, JSON_TYPE, path)).status).toBe(202);
  expect((await send(`\ufeff ${good()} \r\n`)).status).toBe(201);
  expect((await send(good({ name: '[[{"' }))).status, 'brackets in a text do not count').toBe(201);
});

// REQ E9.4
test('a field that nobody asked for is named, and nothing happens', async () => {
  const count = async () => (await world.owner.ok('GET', '/v1/workflows?limit=100')).data.length;
  const before = await count();
  const secret = [
    'id',
    'account_id',
    'owner',
    'credit_cost',
    'price_version',
    'balance',
    'credits',
    'paid',
    'livemode',
  ];
  for (const field of [...secret, 'created_at', 'status', 'user_id', 'endpoint', 'constructor', 'toString', '']) {
    const reply = await send(good({ [field]: 1 }));
    expectFieldProblem(reply, `/${field}`);
    expect(reply.body.errors[0].code).toBe('unknown_field');
  }
  expectFieldProblem(await send(good({ 'a/b~c': 1 })), '/a~1b~0c');
  expect(await count()).toBe(before);
});

test.each(['[]', '"text"', '7', 'true', 'null', '[{}]'])(
  'a body that is %s and not an object is a 422',
  async (body) => {
    expectFieldProblem(await send(body), '');
  },
);

test('no body where one is needed is refused, and where none is needed it is fine, whatever type is named', async () => {
  expectFieldProblem(await send(undefined, {}), '');
  const { owner } = world;
  for (const headers of [{}, JSON_TYPE]) {
    const purchase = await world.buy(owner);
    expect((await send(undefined, headers, `/v1/purchases/${purchase.id}/cancel`)).status).toBe(200);
    const { id } = await owner.ok('POST', '/v1/workflows', { body: { service_id: world.service.id, name: 'gone' } });
    expect((await owner.call('DELETE', `/v1/workflows/${id}`, { headers })).status).toBe(204);
  }
});

test('the last of two members with one name counts, for the work and for the repeat alike', async () => {
  const key = randomUUID();
  const twice = `{"service_id":"${world.service.id}","name":"first","name":"second"}`;
  const reply = await send(twice, { ...JSON_TYPE, 'idempotency-key': key });
  expect(reply.body.name).toBe('second');
  const again = await send(good({ name: 'second' }), { ...JSON_TYPE, 'idempotency-key': key });
  expect([again.status, again.text]).toEqual([201, reply.text]);
  expectProblem(
    await send(good({ name: 'first' }), { ...JSON_TYPE, 'idempotency-key': key }),
    'idempotency_key_reused',
  );
});

test.each([
  ['a NUL', '\\u0000'],
  ['a lone high surrogate', '\\ud800'],
  ['a lone low surrogate', '\\udfff'],
])('%s is refused in a value, in a name, and deep inside', async (_name, escaped) => {
  const runs = `/v1/workflows/${world.workflow.id}/runs`;
  expectFieldProblem(await send(good().replace('"W"', `"W${escaped}"`)), '/name');
  expectFieldProblem(await send(`{"input":{"a":[{"b":"x${escaped}"}]}}`, JSON_TYPE, runs), '/input/a/0/b');
  const inName = await send(`{"input":{"a${escaped}":1}}`, JSON_TYPE, runs);
  expectFieldProblem(inName, '/input');
  expect(inName.text).not.toContain('\0');
});

test('other characters are kept as they are: emoji, right-to-left, a thousand accents on one letter', async () => {
  for (const name of ['👩‍🚀 𝒳', '\u202eabc\u202c', 'İstanbul ß ſ', '\ufeffx', `e${'\u0301'.repeat(99)}`]) {
    const { body } = await send(good({ name }));
    expect((await world.owner.ok('GET', `/v1/workflows/${body.id}`)).name).toBe(name);
  }
  const input = {
    '': '',
    a: 'x'.repeat(10_000),
    ' ': '\u2028\u2029',
    ключ: ['\u0301'.repeat(5_000)],
    n: [1.5, -0, 1e300],
  };
  const path = `/v1/workflows/${world.workflow.id}/runs`;
  const { body } = await send(JSON.stringify({ input }), JSON_TYPE, path);
  expect((await world.owner.ok('GET', `/v1/runs/${body.run.id}`)).input).toEqual({ ...input, n: [1.5, 0, 1e300] });
});

test('a hostile body gets no essay for an answer', async () => {
  const keys = Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`k${i}`, 1]));
  const many = await send(JSON.stringify(keys));
  const list = JSON.stringify({ name: 'k', scopes: Array(10_000).fill(1) });
  const long = await send(list, JSON_TYPE, '/v1/api-keys');
  for (const reply of [many, long]) {
    expectProblem(reply, 'validation_failed');
    expect(reply.body.errors.length).toBeLessThanOrEqual(20);
    expect(reply.text.length).toBeLessThan(5_000);
  }
});

test('64 KiB are read, one byte more is a 413, with a length or in chunks', async () => {
  const path = `/v1/workflows/${world.workflow.id}/runs`;
  const frame = JSON.stringify({ input: { x: '' } }).length;
  const full = JSON.stringify({ input: { x: 'x'.repeat(64 * 1024 - frame) } });
  expect((await send(full, JSON_TYPE, path)).status).toBe(202);
  expectProblem(await send(`${full} `, JSON_TYPE, path), 'body_too_large');
  const chunks = new ReadableStream({
    pull: (controller) => controller.enqueue(Buffer.alloc(32 * 1024, 0x20)),
  });
  const request = { method: 'POST', headers: JSON_TYPE, body: chunks, duplex: 'half' } as RequestInit;
  const reply = await fetch(`${world.farebox.url}/v1/auth/login`, request);
  expectProblem({ status: reply.status, headers: reply.headers, text: await reply.text() }, 'body_too_large');
});
