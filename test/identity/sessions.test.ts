import { createHash, randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { start } from '../../src/main.ts';
import { readConfig } from '../../src/platform/config.ts';
import { createLog } from '../../src/platform/log.ts';
import { clientOf, eventually, newCustomer, PASSWORD } from '../harness/client.ts';
import { fareboxForFile, type TestFarebox } from '../harness/farebox.ts';
import { inProcess } from '../harness/in-process.ts';
import { expectFieldProblem, expectProblem } from '../harness/problems.ts';

let farebox: TestFarebox;
let root: postgres.Sql;
beforeAll(async () => {
  farebox = await fareboxForFile();
  root = postgres(farebox.database.superuserUrl, { max: 1 });
});
afterAll(async () => {
  await root.end();
  await farebox.stop();
});

const anybody = () => clientOf(farebox.url);
const logIn = async (email: string, password = PASSWORD) =>
  (await anybody().call('POST', '/v1/auth/login', { body: { email, password } })).body;
const refresh = (refresh_token: string) => anybody().call('POST', '/v1/auth/refresh', { body: { refresh_token } });
const me = (token: string) => anybody().get('/v1/me', { token });

test('a refresh token is good for one session more, and leads on', async () => {
  const customer = await newCustomer(farebox);
  const first = await logIn(customer.email);
  const second = (await refresh(first.refresh_token)).body;
  expect(second.refresh_token).not.toBe(first.refresh_token);
  const third = (await refresh(second.refresh_token)).body;
  expect((await me(third.access_token)).body.id).toBe(customer.accountId);
  const kept = await root`select t::text as everything from identity.refresh_tokens t`;
  for (const { refresh_token: token } of [first, second, third]) {
    expect(kept.some(({ everything }) => everything.includes(token))).toBe(false);
  }
});

test('a refresh token that is used again ends its whole session, and no other', async () => {
  const customer = await newCustomer(farebox);
  const first = await logIn(customer.email);
  const second = (await refresh(first.refresh_token)).body;
  expect((await me(second.access_token)).status).toBe(200);

  expectProblem(await refresh(first.refresh_token), 'invalid_refresh_token');
  expectProblem(await me(second.access_token), 'invalid_token');
  expectProblem(await me(first.access_token), 'invalid_token');
  expectProblem(await refresh(second.refresh_token), 'invalid_refresh_token');
  expect((await customer.get('/v1/me')).status, 'another log-in of the same account').toBe(200);
  const [event] = await eventually(
    () => root`select actor from platform.audit_log where action = 'security.refresh_token_reused'`,
    (rows) => rows.length > 0,
  );
  expect(event?.['actor']).toMatch(/^[0-9a-f-]{36}$/);
});

test.each([2, 20])('of %i uses of one refresh token at once one wins, and then the session is void', async (uses) => {
  const customer = await newCustomer(farebox);
  const first = await logIn(customer.email);
  const replies = await Promise.all(Array.from({ length: uses }, () => refresh(first.refresh_token)));
  const winners = replies.filter(({ status }) => status === 200);
  expect(winners).toHaveLength(1);
  for (const reply of replies) if (reply.status !== 200) expectProblem(reply, 'invalid_refresh_token');
  expectProblem(await me(first.access_token), 'invalid_token');
  expectProblem(await me(winners[0]?.body.access_token), 'invalid_token');
  expectProblem(await refresh(winners[0]?.body.refresh_token), 'invalid_refresh_token');
});

test('what is not a refresh token is none, in whatever form', async () => {
  const customer = await newCustomer(farebox);
  const key = await customer.ok('POST', '/v1/api-keys', { body: { name: 'k', scopes: ['read'] } });
  for (const token of [randomBytes(32).toString('base64url'), customer.token.slice(0, 200), key.key, ' ', 'null']) {
    expectProblem(await refresh(token), 'invalid_refresh_token');
  }
  for (const token of ['', 'x'.repeat(201), 7, null, ['x'], {}]) {
    expectFieldProblem(
      await anybody().call('POST', '/v1/auth/refresh', { body: { refresh_token: token } }),
      '/refresh_token',
    );
  }
});

test('an expired refresh token is none, and its end is not reported as theft', async () => {
  const customer = await newCustomer(farebox);
  const { refresh_token: token, access_token: access } = await logIn(customer.email);
  await root`update identity.refresh_tokens set expires_at = now() where account_id =
    (select id from identity.accounts where email = ${customer.email})`;
  expectProblem(await refresh(token), 'invalid_refresh_token');
  expect((await me(access)).status, 'the access token has its own end').toBe(200);
});

test('after a log-out nothing of that session works, and the other sessions do', async () => {
  const customer = await newCustomer(farebox);
  const session = await logIn(customer.email);
  const out = await anybody().call('POST', '/v1/auth/logout', { token: session.access_token });
  expect([out.status, out.text]).toEqual([204, '']);
  expectProblem(await me(session.access_token), 'invalid_token');
  expectProblem(await refresh(session.refresh_token), 'invalid_refresh_token');
  expectProblem(await anybody().call('POST', '/v1/auth/logout', { token: session.access_token }), 'invalid_token');
  expect((await customer.get('/v1/me')).status).toBe(200);
});

test('a new password ends every session but the one it opens', async () => {
  const customer = await newCustomer(farebox);
  const other = await logIn(customer.email);
  const change = (current_password: string, new_password: string) =>
    customer.call('POST', '/v1/me/password', { body: { current_password, new_password } });
  expectProblem(await change('wrong', 'a new and long password'), 'invalid_credentials');
  expectFieldProblem(await change(PASSWORD, 'short'), '/new_password');
  expectFieldProblem(await change(PASSWORD, 'password1'), '/new_password', 'password_too_common');
  expect((await me(other.access_token)).status, 'nothing has happened').toBe(200);

  const changed = await change(PASSWORD, 'a new and long password');
  expect(changed.status).toBe(200);
  expect((await me(changed.body.access_token)).body.id).toBe(customer.accountId);
  expect((await refresh(changed.body.refresh_token)).status).toBe(200);
  expectProblem(await me(other.access_token), 'invalid_token');
  expectProblem(await customer.get('/v1/me'), 'invalid_token');
  expectProblem(await refresh(other.refresh_token), 'invalid_refresh_token');
  expect((await logIn(customer.email)).code).toBe('invalid_credentials');
  expect((await logIn(customer.email, 'a new and long password')).object).toBe('session');
});

test('of two new passwords that are set at once with the same old one, one stands', async () => {
  const customer = await newCustomer(farebox);
  const change = (new_password: string) =>
    customer.call('POST', '/v1/me/password', { body: { current_password: PASSWORD, new_password } });
  const replies = await Promise.all([change('the first new password'), change('the second new password')]);
  expect(replies.map(({ status }) => status).sort()).toEqual([200, 401]);
  const winner = replies[0]?.status === 200 ? 'the first new password' : 'the second new password';
  expect((await logIn(customer.email, winner)).object).toBe('session');
});

test('refresh tokens are forgotten a day after their end, and none before', async () => {
  const customer = await newCustomer(farebox);
  const [old, ended, alive] = [await logIn(customer.email), await logIn(customer.email), await logIn(customer.email)];
  const ends = async (session: { refresh_token: string }, ago: string) => {
    const hash = createHash('sha256').update(session.refresh_token).digest();
    await root`update identity.refresh_tokens set expires_at = now() - ${ago}::interval where token_hash = ${hash}`;
  };
  await ends(old, '25 hours');
  await ends(ended, '23 hours');
  const { work } = await inProcess(farebox);
  const count = async () => {
    const [row] = await root`select count(*)::int as n from identity.refresh_tokens where account_id =
      (select id from identity.accounts where email = ${customer.email})`;
    return row?.['n'];
  };
  const before = await count();
  await work('session-reaper');
  expect(await count()).toBe(before - 1);
  expect((await refresh(alive.refresh_token)).status).toBe(200);
});

test('a log-out on one replica reaches the other within five seconds', async () => {
  const customer = await newCustomer(farebox);
  const config = readConfig({ ...farebox.environment, PORT: '0', WORKERS: 'off' });
  const second = await start(config, createLog('silent'));
  const there = clientOf(`http://127.0.0.1:${second.publicPort}`, { token: customer.token });
  try {
    expect((await there.get('/v1/me')).status, 'the token of one is good at the other').toBe(200);
    await customer.ok('POST', '/v1/auth/logout');
    expectProblem(await customer.get('/v1/me'), 'invalid_token');
    const began = performance.now();
    await eventually(
      () => there.get('/v1/me'),
      ({ status }) => status === 401,
    );
    expect(performance.now() - began).toBeLessThan(5_500);
  } finally {
    await second.stop();
  }
});
