import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { scopes } from '../../src/platform/http/access.ts';
import { type Client, clientOf, eventually, newCustomer, newOperator } from '../harness/client.ts';
import { fareboxForFile, type TestFarebox } from '../harness/farebox.ts';
import { expectFieldProblem, expectProblem } from '../harness/problems.ts';

let farebox: TestFarebox;
let root: postgres.Sql;
let customer: Client;
beforeAll(async () => {
  farebox = await fareboxForFile();
  root = postgres(farebox.database.superuserUrl, { max: 1 });
  customer = await newCustomer(farebox);
});
afterAll(async () => {
  await root.end();
  await farebox.stop();
});

const make = (scopes: string[] = ['read'], more: Record<string, unknown> = {}, client = customer) =>
  client.ok('POST', '/v1/api-keys', { body: { name: 'a key', scopes, ...more } });
const holder = (key: string, url = farebox.url) => clientOf(url, { token: key });

test('a new key is shown once, and the database keeps its hash', async () => {
  const made = await make(['runs:write', 'read', 'read']);
  expect(made).toEqual({
    object: 'api_key',
    id: expect.stringMatching(/^key_/),
    created_at: expect.any(String),
    name: 'a key',
    prefix: made.key.slice(0, 10),
    scopes: ['runs:write', 'read'],
    expires_at: null,
    last_used_at: null,
    key: expect.stringMatching(/^fbx_[\w-]{43}$/),
  });
  const { data } = await customer.ok('GET', '/v1/api-keys');
  const { key: _, ...shown } = made;
  expect(data[0]).toEqual(shown);
  const rows = await root`select k::text as everything from identity.api_keys k`;
  for (const { everything } of rows) expect(everything).not.toContain(made.key.slice(11));
});

test('a key opens what its scopes say, and the refusal names the one that is missing', async () => {
  const reader = holder((await make(['read'])).key);
  expect((await reader.get('/v1/me')).body.id).toBe(customer.accountId);
  const refused = await reader.post('/v1/workflows', { service_id: 'svc_x', name: 'x' });
  expect(expectProblem(refused, 'insufficient_scope')).toMatchObject({ required_scope: 'workflows:write' });
  expect(refused.headers.get('www-authenticate')).toBe(
    'Bearer realm="farebox", error="insufficient_scope", scope="workflows:write"',
  );
  const writer = holder((await make(['purchases:write', 'workflows:write', 'runs:write'])).key);
  expectProblem(await writer.get('/v1/me'), 'insufficient_scope');
  expect((await writer.post('/v1/workflows', { service_id: 'svc_x', name: 'x' })).status).toBe(422);
});

test('no key, whatever its scopes, can make keys, change the account or log out', async () => {
  const key = holder((await make(['read', 'purchases:write', 'workflows:write', 'runs:write'])).key);
  const replies = [
    await key.get('/v1/api-keys'),
    await key.post('/v1/api-keys', { name: 'more', scopes: ['read'] }),
    await key.call('DELETE', `/v1/api-keys/${(await make()).id}`),
    await key.call('PATCH', '/v1/me', { body: { email: 'thief@example.com', current_password: 'x' } }),
    await key.call('POST', '/v1/me/password', { body: { current_password: 'x', new_password: 'y' } }),
    await key.call('POST', '/v1/auth/logout'),
  ];
  for (const reply of replies) expectProblem(reply, 'insufficient_scope');
});

test('the scheme is written in any case (RFC 9110 §11.1), the key in its own', async () => {
  const { key } = await make();
  const withHeader = (authorization: string) => clientOf(farebox.url).get('/v1/me', { headers: { authorization } });
  for (const scheme of ['Bearer', 'bearer', 'BEARER']) {
    expect((await withHeader(`${scheme} ${key}`)).status, scheme).toBe(200);
    expect((await withHeader(`${scheme} ${customer.token}`)).status, scheme).toBe(200);
  }
  expectProblem(await withHeader(`Bearer ${key.toUpperCase()}`), 'invalid_api_key');
  for (const wrong of [`Basic ${key}`, key, `Token ${key}`, `Bearer  ${key}`, `Bearer ${key} x`, 'Bearer', 'Bearer ']) {
    expect((await withHeader(wrong)).status, wrong).toBe(401);
  }
});

test.each(['fbx_', 'fbx_x', `fbx_${'A'.repeat(43)}`, `fbx_${'A'.repeat(8000)}`, 'fbx_%00', "fbx_' or 1=1 --"])(
  'what only looks like a key is refused: %.20s',
  async (key) => {
    const reply = await holder(key).get('/v1/me');
    expectProblem(reply, 'invalid_api_key');
    expect(reply.headers.get('www-authenticate')).toBe('Bearer realm="farebox", error="invalid_token"');
  },
);

test('a revoked key is dead at once, is no longer listed, and cannot be revoked again', async () => {
  const { id, key } = await make();
  expect((await holder(key).get('/v1/me')).status).toBe(200);
  expectProblem(await (await newCustomer(farebox)).call('DELETE', `/v1/api-keys/${id}`), 'not_found');
  expect((await customer.call('DELETE', `/v1/api-keys/${id}`)).status).toBe(204);
  expectProblem(await holder(key).get('/v1/me'), 'invalid_api_key');
  const { data } = await customer.ok('GET', '/v1/api-keys', {});
  expect(data.map((one: { id: string }) => one.id)).not.toContain(id);
  expectProblem(await customer.call('DELETE', `/v1/api-keys/${id}`), 'not_found');
});

test('a key ends when it said it would, within the five seconds that it is remembered', async () => {
  const {
    id,
    key,
    expires_at: ends,
  } = await make(['read'], {
    expires_at: new Date(Date.now() + 1_500).toISOString(),
  });
  expect(Date.parse(ends)).toBeGreaterThan(Date.now());
  expect((await holder(key).get('/v1/me')).status).toBe(200);
  await eventually(
    () => holder(key).get('/v1/me'),
    ({ status }) => status === 401,
    8_000,
  );
  expectProblem(await holder(key).get('/v1/me'), 'invalid_api_key');
  const { data } = await customer.ok('GET', '/v1/api-keys');
  expect(data.map((one: { id: string }) => one.id)).not.toContain(id);
});

test.each([
  ['in the past', '2020-01-01T00:00:00Z'],
  ['without a zone', '2099-01-01T00:00:00'],
  ['not a time', 'tomorrow'],
  ['beyond the calendar', '2099-13-01T00:00:00Z'],
  ['a number', 4_102_444_800],
])('an end %s is refused', async (_name, expires_at) => {
  expectFieldProblem(await customer.post('/v1/api-keys', { name: 'k', scopes: ['read'], expires_at }), '/expires_at');
});

test.each([
  ['/scopes', { scopes: [] }],
  ['/scopes/0', { scopes: ['everything'] }],
  ['/scopes', { scopes: 'read' }],
  ['/scopes', { scopes: Array(scopes.length + 1).fill('read') }],
  ['/name', { name: '' }],
  ['/name', { name: 'x'.repeat(101) }],
  ['/name', { name: 'two\nlines' }],
  ['/key', { key: 'fbx_mine' }],
])('a wish with a wrong %s is refused', async (pointer, wrong) => {
  const reply = await customer.post('/v1/api-keys', { name: 'k', scopes: ['read'], ...wrong });
  expectFieldProblem(reply, pointer);
});

test('a repeat with the same Idempotency-Key shows the same key, and another wish with it is refused', async () => {
  const body = { name: 'ci', scopes: ['read'], expires_at: '2099-01-01T00:00:00Z' };
  const first = await customer.post('/v1/api-keys', body, { key: 'deploy-1' });
  const again = await customer.post('/v1/api-keys', body, { key: 'deploy-1' });
  expect(again.text).toBe(first.text);
  expect(again.headers.get('idempotent-replayed')).toBe('true');
  for (const change of [{ expires_at: '2098-01-01T00:00:00Z' }, { expires_at: null }, { name: 'cd' }]) {
    const other = await customer.post('/v1/api-keys', { ...body, ...change }, { key: 'deploy-1' });
    expectProblem(other, 'idempotency_key_reused');
  }
});

test('an account has at most fifty keys, also when sixty are made at once', async () => {
  const client = await newCustomer(farebox);
  const replies = await Promise.all(
    Array.from({ length: 60 }, () => client.post('/v1/api-keys', { name: 'k', scopes: ['read'] })),
  );
  expect(replies.filter(({ status }) => status === 201)).toHaveLength(50);
  for (const reply of replies) if (reply.status !== 201) expectProblem(reply, 'conflict');
  const { data, has_more } = await client.ok('GET', '/v1/api-keys?limit=100');
  expect([data.length, has_more]).toEqual([50, false]);
  await client.call('DELETE', `/v1/api-keys/${data[0].id}`);
  expect((await client.post('/v1/api-keys', { name: 'k', scopes: ['read'] })).status).toBe(201);
});

test('the last use is told, to the minute', async () => {
  const { id, key } = await make();
  const lastUse = async () => {
    const { data } = await customer.ok('GET', '/v1/api-keys?limit=100');
    return data.find((one: { id: string }) => one.id === id).last_used_at;
  };
  expect(await lastUse()).toBeNull();
  await holder(key).get('/v1/me');
  const used = await lastUse();
  expect(Math.abs(Date.now() - Date.parse(used))).toBeLessThan(10_000);
  await holder(key).get('/v1/me');
  expect(await lastUse(), 'not a write per request').toBe(used);
});

test('the operator scope is for operators, and goes with the role', async () => {
  expectProblem(await customer.post('/v1/api-keys', { name: 'k', scopes: ['operator'] }), 'forbidden');
  const operator = await newOperator(farebox);
  const { key } = await make(['operator'], {}, clientOf(farebox.url, operator));
  const list = () => holder(key, farebox.internalUrl).get('/v1/admin/accounts');
  expect((await list()).status).toBe(200);
  const chief = await newOperator(farebox);
  await chief.ok('PATCH', `/v1/admin/accounts/${operator.accountId}`, { body: { role: 'user', reason: 'left' } });
  expectProblem(await list(), 'forbidden');
});
