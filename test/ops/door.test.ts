import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fromWire } from '../../src/platform/ids.ts';
import { clientOf, newCustomer, newOperator, PASSWORD } from '../harness/client.ts';
import { fareboxForFile, type TestFarebox } from '../harness/farebox.ts';
import { inProcess } from '../harness/in-process.ts';
import { newVisitor, operatorAt, tryDoor } from './visitor.ts';

let farebox: TestFarebox;
let root: postgres.Sql;
beforeAll(async () => {
  farebox = await fareboxForFile({ env: { RATE_AUTH_PER_MIN: '10000' } });
  root = postgres(farebox.database.superuserUrl, { max: 2, onnotice: () => {} });
});
afterAll(async () => {
  await root.end();
  await farebox.stop();
});

const away = { status: 303, location: '/ops/login' };

describe('the door', () => {
  test('opens for an operator, with a cookie that scripts and other sites do not get', async () => {
    const operator = await newOperator(farebox);
    const [visitor, reply] = await tryDoor(farebox, operator.email);
    expect(reply).toMatchObject({ status: 303, location: '/ops' });
    expect(reply.headers.get('set-cookie')).toMatch(/^farebox_ops=[\w-]{43}; Path=\/ops; HttpOnly; SameSite=Strict$/);
    const list = await visitor.get('/ops');
    expect(list.status).toBe(200);
    expect(list.text).toContain(operator.email);
    expect(list.headers.get('cache-control')).toBe('no-store');
    expect(list.headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
  });

  test('the cookie is for TLS only where the listener is reached by TLS', async () => {
    const behind = await fareboxForFile({ env: { TRUST_PROXY: '127.0.0.1' } });
    const response = await fetch(`${behind.internalUrl}/ops/login`, { headers: { 'x-forwarded-proto': 'https' } });
    expect(response.headers.get('set-cookie')).toMatch(/; Secure$/);
    await behind.stop();
  });

  test('stays shut for a customer, a wrong password and an unknown address, and says so on the page', async () => {
    const customer = await newCustomer(farebox);
    const operator = await newOperator(farebox);
    for (const [email, password, status, words] of [
      [customer.email, PASSWORD, 403, 'not an operator'],
      [operator.email, 'something else entirely', 401, 'Not logged in'],
      [`${randomUUID()}@example.com`, PASSWORD, 401, 'Not logged in'],
    ] as const) {
      const [visitor, reply] = await tryDoor(farebox, email, password);
      expect(reply.status, email).toBe(status);
      expect(reply.text).toContain(words);
      expect(reply.text, 'another try').toContain('action="/ops/login"');
      expect(reply.text).not.toContain(password);
      expect(await visitor.get('/ops')).toMatchObject(away);
    }
    const [{ n }] = (await root`
      select count(*)::int as n from platform.audit_log where action = 'security.operator_door_refused'
        and actor = ${fromWire('account', customer.accountId)}`) as unknown as [{ n: number }];
    expect(n).toBe(1);
  });

  test('the session is none of those that were there before: nobody can prepare one for somebody else', async () => {
    const visitor = newVisitor(farebox);
    await visitor.get('/ops/login');
    const before = visitor.cookie;
    const operator = await newOperator(farebox);
    await visitor.submit('/ops/login', { email: operator.email, password: PASSWORD });
    expect(visitor.cookie).not.toBe(before);
    const other = newVisitor(farebox);
    other.cookie = before;
    expect(await other.get('/ops')).toMatchObject(away);
  });

  test('opens nothing else: not the API, and an access token does not open it', async () => {
    const { visitor, operator } = await operatorAt(farebox);
    const api = await fetch(`${farebox.internalUrl}/v1/admin/refunds`, { headers: { cookie: visitor.cookie } });
    expect(api.status).toBe(401);
    const byToken = await fetch(`${farebox.internalUrl}/ops`, {
      redirect: 'manual',
      headers: { authorization: `Bearer ${operator.token}` },
    });
    expect([byToken.status, byToken.headers.get('location')]).toEqual([303, '/ops/login']);
  });

  test('is not there on the public listener', async () => {
    const { visitor } = await operatorAt(farebox);
    for (const path of ['/ops', '/ops/login', '/ops/refunds/rfd_1', '/ops/refunds/rfd_1/approve'])
      expect((await fetch(farebox.url + path, { headers: { cookie: visitor.cookie } })).status, path).toBe(404);
  });

  test('tries per e-mail address are counted', async () => {
    const few = await fareboxForFile({ env: { RATE_AUTH_PER_MIN: '9' } });
    const visitor = newVisitor(few);
    await visitor.get('/ops/login');
    const email = `${randomUUID()}@example.com`;
    const statuses: number[] = [];
    for (let n = 0; n < 5; n += 1) statuses.push((await visitor.submit('/ops/login', { email, password: 'x' })).status);
    expect(statuses).toEqual([401, 401, 401, 429, 429]);
    await few.stop();
  });
});

describe('a session ends', () => {
  const whatever: [string, (id: string, token: string) => Promise<unknown>][] = [
    [
      'after a quarter of an hour of nothing',
      (id) => root`update identity.operator_sessions set seen_at = now() - interval '16 min' where account_id = ${id}`,
    ],
    [
      'after eight hours',
      (id) =>
        root`update identity.operator_sessions set created_at = now() - interval '8 h 1 min' where account_id = ${id}`,
    ],
    ['when the account is disabled', (id) => root`update identity.accounts set disabled_at = now() where id = ${id}`],
    ['when the role is taken away', (id) => root`update identity.accounts set role = 'user' where id = ${id}`],
    [
      'when the account’s sessions are ended',
      (id) => root`update identity.accounts set token_version = token_version + 1 where id = ${id}`,
    ],
  ];
  test.each(whatever)('%s', async (_when, happens) => {
    const { visitor, operator } = await operatorAt(farebox);
    await happens(fromWire('account', operator.accountId), visitor.cookie);
    expect(await visitor.get('/ops')).toMatchObject(away);
    expect(await visitor.submit('/ops/refunds/rfd_1/approve', { reason: 'x' })).toMatchObject(away);
  });

  test('by a new password', async () => {
    const { visitor, operator } = await operatorAt(farebox);
    const body = { current_password: PASSWORD, new_password: 'a quite different battery staple' };
    await clientOf(farebox.url, operator).ok('POST', '/v1/me/password', { body });
    expect(await visitor.get('/ops')).toMatchObject(away);
  });

  test('by logging out, on the server and not only in the browser', async () => {
    const { visitor } = await operatorAt(farebox);
    const { cookie } = visitor;
    const reply = await visitor.submit('/ops/logout', {});
    expect(reply).toMatchObject(away);
    expect(reply.headers.get('set-cookie')).toContain('Max-Age=0');
    const copy = newVisitor(farebox);
    copy.cookie = cookie;
    expect(await copy.get('/ops')).toMatchObject(away);
  });

  test('and looking keeps it alive', async () => {
    const { visitor, operator } = await operatorAt(farebox);
    const id = fromWire('account', operator.accountId);
    for (let n = 0; n < 3; n += 1) {
      await root`update identity.operator_sessions set seen_at = seen_at - interval '10 min' where account_id = ${id}`;
      expect((await visitor.get('/ops')).status).toBe(200);
    }
  });

  test('what is over is forgotten', async () => {
    const { operator } = await operatorAt(farebox);
    const id = fromWire('account', operator.accountId);
    await root`update identity.operator_sessions set seen_at = now() - interval '2 days' where account_id = ${id}`;
    const { workers } = await inProcess(farebox);
    await workers.find(({ name }) => name === 'operator-session-reaper')?.runOnce(new AbortController().signal);
    expect(await root`select from identity.operator_sessions where account_id = ${id}`).toHaveLength(0);
  });
});

describe('a form is taken only from a page of ours', () => {
  const logOut = '/ops/logout';
  const forged: [string, Record<string, string>][] = [
    ['from another site', { 'sec-fetch-site': 'cross-site' }],
    ['from another host of the same site', { 'sec-fetch-site': 'same-site' }],
    ['by hand, out of nowhere', { 'sec-fetch-site': 'none' }],
    ['from another site, told by an older browser', { origin: 'https://evil.example' }],
    ['from another port', { origin: 'http://127.0.0.1:1' }],
  ];
  test.each(forged)('%s', async (_name, headers) => {
    const { visitor } = await operatorAt(farebox);
    const reply = await visitor.submit(logOut, {}, headers);
    expect(reply.status).toBe(403);
    expect(reply.text).toContain('Not from here');
    expect((await visitor.get('/ops')).status, 'nothing happened').toBe(200);
  });

  test('its token must be there, whole, and of this session', async () => {
    const { visitor } = await operatorAt(farebox);
    const { visitor: other } = await operatorAt(farebox);
    const own = visitor.csrf();
    const [first = ''] = own;
    for (const csrf of ['', 'x', own.slice(1), (first === 'A' ? 'B' : 'A') + own.slice(1), other.csrf()])
      expect((await visitor.post(logOut, { csrf })).status, csrf).toBe(403);
    expect((await visitor.post(logOut, {})).status).toBe(422);
    expect((await visitor.get('/ops')).status).toBe(200);
    expect((await visitor.post(logOut, { csrf: own })).status, 'a browser that tells nothing').toBe(303);
  });

  test('the log-in, too: nobody is logged in as somebody else', async () => {
    const operator = await newOperator(farebox);
    const visitor = newVisitor(farebox);
    const typed = { email: operator.email, password: PASSWORD };
    expect((await visitor.post('/ops/login', { ...typed, csrf: 'x' })).status).toBe(403);
    await visitor.get('/ops/login');
    expect((await visitor.submit('/ops/login', typed, { 'sec-fetch-site': 'cross-site' })).status).toBe(403);
    expect((await visitor.submit('/ops/login', typed)).status).toBe(303);
  });

  test('a cookie that is no token is none', async () => {
    const visitor = newVisitor(farebox);
    for (const cookie of ['farebox_ops=', 'farebox_ops=%00', `farebox_ops=${'A'.repeat(44)}`, 'other=1', ';;==;']) {
      visitor.cookie = cookie;
      expect(await visitor.get('/ops'), cookie).toMatchObject(away);
    }
  });
});
