import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, clientOf, newCustomer, newOperator, PASSWORD } from '../harness/client.ts';
import { fareboxForFile, type TestFarebox } from '../harness/farebox.ts';
import { expectFieldProblem, expectProblem } from '../harness/problems.ts';

let farebox: TestFarebox;
let root: postgres.Sql;
let operator: Client;
beforeAll(async () => {
  farebox = await fareboxForFile();
  root = postgres(farebox.database.superuserUrl, { max: 1 });
  operator = await newOperator(farebox);
});
afterAll(async () => {
  await root.end();
  await farebox.stop();
});

interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}
/** `farebox …` in a process of its own, as an operator types it. */
const cli = (args: string[], input = ''): Promise<Ran> =>
  new Promise((done) => {
    const env = { PATH: process.env['PATH'], ...farebox.environment };
    const child = execFile(process.execPath, ['src/cli.ts', ...args], { env }, (fault, stdout, stderr) =>
      done({ code: fault ? Number(fault.code ?? 1) : 0, stdout, stderr }),
    );
    child.stdin?.end(input);
  });
const logIn = async (email: string, password: string) =>
  clientOf(farebox.url).call('POST', '/v1/auth/login', { body: { email, password } });
const freshEmail = () => `${randomUUID()}@example.com`;

test('the first operator comes from the command line, and can work at once', async () => {
  const email = freshEmail();
  const made = await cli(['operator', 'create', '--email', email]);
  expect(made, made.stderr).toMatchObject({ code: 0, stderr: '' });
  const password = /^password {2}(\S+) /m.exec(made.stdout)?.[1] ?? '';
  expect(password).toMatch(/^[\w-]{24}$/);
  const session = await logIn(email, password);
  const chief = clientOf(farebox.internalUrl, { token: session.body.access_token });
  expect((await chief.get('/v1/admin/accounts')).status).toBe(200);
  const me = await clientOf(farebox.url, { token: session.body.access_token }).get('/v1/me');
  expect(made.stdout).toContain(me.body.id);
  expect(me.body.role).toBe('operator');
  const rows = await root`select detail from platform.audit_log where action = 'identity.operator_created'`;
  expect(rows).toHaveLength(1);
});

test('with --password-stdin the password is read and never shown', async () => {
  const email = freshEmail();
  const made = await cli(['operator', 'create', '--email', email, '--password-stdin'], 'piped in, quite long\n');
  expect(made.code, made.stderr).toBe(0);
  expect(made.stdout).not.toContain('piped');
  expect((await logIn(email, 'piped in, quite long')).status).toBe(200);
});

test.each([
  ['nobody', 'long enough password', /nobody is not an e-mail address/],
  ['a@example.com', 'short', /password must have at least 8 characters/],
  ['a@example.com', 'password1', /password is a common password/],
])('an operator %s with the password "%s" is not made, and the reason is told', async (email, password, reason) => {
  const made = await cli(['operator', 'create', '--email', email, '--password-stdin'], password);
  expect(made.code).toBe(2);
  expect(made.stderr).toMatch(reason);
  expect(made.stderr).not.toMatch(/ at .*\.ts/);
  expect(await root`select 1 from identity.accounts where email = ${email}`).toHaveLength(0);
});

test('an address that has an account already is not made an operator behind its back', async () => {
  const customer = await newCustomer(farebox);
  const made = await cli(['operator', 'create', '--email', customer.email.toUpperCase()]);
  expect(made.code).toBe(2);
  expect(made.stderr).toContain('The e-mail address has an account');
  expect((await customer.ok('GET', '/v1/me')).role).toBe('user');
});

test('operator reset-password prints a link that works', async () => {
  const customer = await newCustomer(farebox);
  const { code, stdout } = await cli(['operator', 'reset-password', '--email', customer.email.toUpperCase()]);
  expect(code).toBe(0);
  const link = stdout.split('\n')[0] ?? '';
  expect(link.startsWith(`${farebox.url}/reset-password/`)).toBe(true);
  const body = new URLSearchParams({ new_password: 'from the link' });
  expect((await fetch(link, { method: 'POST', body })).status).toBe(200);
  expect((await logIn(customer.email, 'from the link')).status).toBe(200);
  const unknown = await cli(['operator', 'reset-password', '--email', freshEmail()]);
  expect(unknown).toMatchObject({ code: 2, stdout: '' });
});

test('operators see every account, newest first, and find one by its e-mail address', async () => {
  const made = [];
  for (let i = 0; i < 3; i += 1) made.push(await newCustomer(farebox));
  const first = await operator.ok('GET', '/v1/admin/accounts?limit=2');
  expect(first.data.map((one: { id: string }) => one.id)).toEqual([made[2]?.accountId, made[1]?.accountId]);
  expect(first.has_more).toBe(true);
  const next = await operator.ok('GET', `/v1/admin/accounts?limit=2&starting_after=${first.next_cursor}`);
  expect(next.data[0]).toEqual({
    object: 'account',
    id: made[0]?.accountId,
    created_at: expect.any(String),
    email: made[0]?.email,
    role: 'user',
    disabled_at: null,
  });
  const found = await operator.ok('GET', `/v1/admin/accounts?email=${made[1]?.email.toUpperCase()}`);
  expect(found.data.map((one: { id: string }) => one.id)).toEqual([made[1]?.accountId]);
  expect((await operator.ok('GET', '/v1/admin/accounts?email=nobody@example.com')).data).toEqual([]);
  expect(await operator.ok('GET', `/v1/admin/accounts/${made[1]?.accountId}`)).toEqual(found.data[0]);
  expectProblem(await operator.get('/v1/admin/accounts/acct_00000000000000000000000000'), 'not_found');
});

test.each(["' or 1=1 --", '%25', '%00', '\\', '%F0%9F%98%80', '%ED%A0%80'])(
  'a search for %s finds nobody and breaks nothing',
  async (text) => {
    const reply = await operator.get(`/v1/admin/accounts?email=${text}`);
    expect([200, 400, 422], reply.text).toContain(reply.status);
    if (reply.status === 200) expect(reply.body.data).toEqual([]);
  },
);

test('a new role takes effect at once and ends the sessions of before', async () => {
  const customer = await newCustomer(farebox);
  const path = `/v1/admin/accounts/${customer.accountId}`;
  const set = (body: object) => operator.call('PATCH', path, { body });
  expect((await set({ role: 'operator', reason: 'hired' })).body).toMatchObject({ role: 'operator' });
  expectProblem(await customer.get('/v1/me'), 'invalid_token');
  const { body } = await logIn(customer.email, PASSWORD);
  const promoted = clientOf(farebox.internalUrl, { token: body.access_token });
  expect((await promoted.get('/v1/admin/accounts')).status).toBe(200);

  await set({ role: 'user', reason: 'left' });
  expectProblem(await promoted.get('/v1/admin/accounts'), 'invalid_token');
  const again = clientOf(farebox.internalUrl, {
    token: (await logIn(customer.email, PASSWORD)).body.access_token,
  });
  expectProblem(await again.get('/v1/admin/accounts'), 'forbidden');
  const trail = await root`
    select actor, detail from platform.audit_log where action = 'identity.account_changed' order by seq desc limit 1`;
  expect(JSON.parse(trail[0]?.['detail'])).toEqual({ role: 'user', reason: 'left' });
});

test('a change without a reason, of nothing, or of what is not an operator’s to change is refused', async () => {
  const customer = await newCustomer(farebox);
  const set = (body: object) => operator.call('PATCH', `/v1/admin/accounts/${customer.accountId}`, { body });
  expectFieldProblem(await set({ disabled: true }), '/reason');
  expectFieldProblem(await set({ disabled: true, reason: '' }), '/reason');
  expectFieldProblem(await set({ role: 'root', reason: 'r' }), '/role');
  expectFieldProblem(await set({ disabled: 'yes', reason: 'r' }), '/disabled');
  expectFieldProblem(await set({ email: 'x@example.com', reason: 'r' }), '/email');
  expectFieldProblem(await set({ reason: 'r' }), '');
  expect((await customer.get('/v1/me')).status, 'the session lives').toBe(200);
});
