import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { clientOf, newCustomer, newOperator, PASSWORD } from '../harness/client.ts';
import { fareboxForFile, type TestFarebox } from '../harness/farebox.ts';
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
const register = (email: string, password = PASSWORD) =>
  anybody().call('POST', '/v1/auth/register', { body: { email, password } });
const logIn = (email: string, password = PASSWORD) =>
  anybody().call('POST', '/v1/auth/login', { body: { email, password } });
const freshEmail = () => `${randomUUID()}@example.com`;

// REQ E1.1
test('registering opens an account, and the database keeps a hash and not the password', async () => {
  const email = freshEmail();
  const reply = await register(email);
  expect(reply.status).toBe(201);
  expect(reply.headers.get('location')).toBe('/v1/me');
  expect(reply.body).toEqual({
    object: 'account',
    id: expect.stringMatching(/^acct_/),
    created_at: expect.stringMatching(/Z$/),
    email,
    role: 'user',
  });
  const [row] = await root`select *, a::text as everything from identity.accounts a where email = ${email}`;
  expect(row?.['password_hash']).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[\w+/]{22}\$[\w+/]{43}$/);
  expect(row?.['everything']).not.toContain(PASSWORD);
});

// REQ E1.2 E1.3
test('logging in gives a token that the protected addresses accept, and nothing else does', async () => {
  const customer = await newCustomer(farebox);
  const session = await logIn(customer.email);
  expect(session.body).toEqual({
    object: 'session',
    access_token: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/),
    token_type: 'Bearer',
    expires_in: 900,
    refresh_token: expect.stringMatching(/^[\w-]{43}$/),
  });
  const me = await anybody().get('/v1/me', { token: session.body.access_token });
  expect(me.body).toMatchObject({ id: customer.accountId, email: customer.email });
  const refused = await anybody().get('/v1/me');
  expectProblem(refused, 'unauthenticated');
  expect(refused.headers.get('www-authenticate')).toBe('Bearer realm="farebox"');
});

test('fifty registrations of one e-mail address at once open one account', async () => {
  const email = freshEmail();
  const spellings = Array.from({ length: 50 }, (_, i) => (i % 2 === 0 ? email : email.toUpperCase()));
  const replies = await Promise.all(spellings.map((spelling) => register(spelling)));
  expect(replies.filter(({ status }) => status === 201)).toHaveLength(1);
  for (const reply of replies) {
    if (reply.status === 201) continue;
    expectProblem(reply, reply.status === 503 ? 'overloaded' : 'email_taken');
  }
  const [count] = await root`select count(*)::int as n from identity.accounts where lower(email) = ${email}`;
  expect(count?.['n']).toBe(1);
});

test('an e-mail address has no case, and stays as it was typed', async () => {
  const email = `Mixed.${randomUUID()}@Example.COM`;
  expect((await register(email)).body.email).toBe(email);
  expectProblem(await register(email.toLowerCase()), 'email_taken');
  const session = await logIn(email.toUpperCase());
  expect(session.status).toBe(200);
  const me = await anybody().get('/v1/me', { token: session.body.access_token });
  expect(me.body.email).toBe(email);
});

// REQ E1.4
test('a wrong password, an unknown address and a password that is too long get the same answer, but for its id', async () => {
  const customer = await newCustomer(farebox);
  const replies = [
    await logIn(customer.email, 'wrong'),
    await logIn(freshEmail(), PASSWORD),
    await logIn(customer.email, 'x'.repeat(1000)),
    await logIn(customer.email, ''),
  ];
  const shape = (reply: (typeof replies)[number]) => {
    const { request_id: _, ...rest } = expectProblem(reply, 'invalid_credentials');
    const names = [...reply.headers.keys()].filter((name) => name !== 'keep-alive').sort();
    return { rest, names, challenge: reply.headers.get('www-authenticate') };
  };
  for (const reply of replies) expect(shape(reply)).toEqual(shape(replies[0] as (typeof replies)[number]));
});

test.each([
  ['no at', 'nobody'],
  ['a space behind', 'a@example.com '],
  ['a space before', ' a@example.com'],
  ['a line break', 'a@example.com\nbcc: b@example.com'],
  ['a NUL', 'a\0@example.com'],
  ['a dotted capital I', 'İ@example.com'],
  ['a homoglyph', 'аdmin@example.com'],
  ['a right-to-left override', '\u202ea@example.com'],
  ['too long', `${'a'.repeat(60)}@${'b'.repeat(60)}.${'c'.repeat(60)}.${'d'.repeat(60)}.${'e'.repeat(60)}.com`],
  ['fifty thousand characters', `${'a'.repeat(50_000)}@`],
  ['not a text', 7],
  ['a list', ['a@example.com']],
  ['nothing', null],
])('an e-mail address with %s is refused in a moment', async (_name, email) => {
  const began = performance.now();
  expectFieldProblem(
    await anybody().call('POST', '/v1/auth/register', { body: { email, password: PASSWORD } }),
    '/email',
  );
  expect(performance.now() - began).toBeLessThan(1000);
});

test('an address with a plus or dots is another address', async () => {
  const tag = randomUUID();
  expect((await register(`a+b${tag}@example.com`)).status).toBe(201);
  expect((await register(`a${tag}@example.com`)).status).toBe(201);
});

test('nobody gives himself a role, an id, credits or a state at registration', async () => {
  for (const field of [
    'role',
    'id',
    'credits',
    'balance',
    'token_version',
    'disabled_at',
    'account_id',
    'created_at',
  ]) {
    const body = { email: freshEmail(), password: PASSWORD, [field]: 'operator' };
    expectFieldProblem(await anybody().call('POST', '/v1/auth/register', { body }), `/${field}`);
  }
});

test('the e-mail address changes with the password only, and the old one logs in no more', async () => {
  const customer = await newCustomer(farebox);
  const other = await newCustomer(farebox);
  const email = freshEmail();
  const change = (body: unknown) => customer.call('PATCH', '/v1/me', { body });
  expectProblem(await change({ email, current_password: 'wrong' }), 'invalid_credentials');
  expectProblem(await change({ email: other.email.toUpperCase(), current_password: PASSWORD }), 'email_taken');
  expectFieldProblem(await change({ email }), '/current_password');
  expect((await customer.get('/v1/me')).body.email).toBe(customer.email);

  const changed = await change({ email, current_password: PASSWORD });
  expect(changed.body).toMatchObject({ id: customer.accountId, email });
  expectProblem(await logIn(customer.email), 'invalid_credentials');
  expect((await logIn(email)).status).toBe(200);
  const trail = await root`select action from platform.audit_log where actor = (
    select id::text from identity.accounts where email = ${email}) order by seq`;
  expect(trail.map(({ action }) => action)).toEqual(['security.password_refused', 'identity.email_changed']);
});

test('a disabled account is shut out everywhere, and comes back whole', async () => {
  const customer = await newCustomer(farebox);
  const operator = await newOperator(farebox);
  const session = (await logIn(customer.email)).body;
  const key = await customer.ok('POST', '/v1/api-keys', { body: { name: 'k', scopes: ['read'] } });
  const set = (disabled: boolean) =>
    operator.ok('PATCH', `/v1/admin/accounts/${customer.accountId}`, { body: { disabled, reason: 'abuse' } });
  const withKey = () => anybody().get('/v1/me', { token: key.key });
  expect((await withKey()).status).toBe(200);

  expect(await set(true)).toMatchObject({ id: customer.accountId, disabled_at: expect.any(String) });
  // At once on the replica that did it, though both were remembered.
  expectProblem(await customer.get('/v1/me'), 'invalid_token');
  expectProblem(await withKey(), 'account_disabled');
  expectProblem(await logIn(customer.email), 'account_disabled');
  expectProblem(await logIn(customer.email, 'wrong'), 'invalid_credentials');
  const refreshing = await anybody().call('POST', '/v1/auth/refresh', {
    body: { refresh_token: session.refresh_token },
  });
  expectProblem(refreshing, 'account_disabled');

  expect(await set(false)).toMatchObject({ disabled_at: null });
  expect((await withKey()).status, 'the key works again at once').toBe(200);
  expectProblem(await customer.get('/v1/me'), 'invalid_token');
  expect((await logIn(customer.email)).status).toBe(200);
});
