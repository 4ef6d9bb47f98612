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

const NEW = 'the password after the reset';
const logIn = (email: string, password: string) =>
  clientOf(farebox.url).call('POST', '/v1/auth/login', { body: { email, password } });
const offer = async (customer: Client) => {
  const body = { reason: 'called in' };
  const reply = await operator.ok('POST', `/v1/admin/accounts/${customer.accountId}/password-resets`, { body });
  return { ...reply, token: String(reply.url).split('/').at(-1) ?? '' };
};
const useToken = (token: string, new_password = NEW) =>
  clientOf(farebox.url).call('POST', '/v1/auth/password-reset', { body: { token, new_password } });
const open = (token: string) => fetch(`${farebox.url}/reset-password/${token}`);
const submit = (token: string, new_password: string) =>
  fetch(`${farebox.url}/reset-password/${token}`, { method: 'POST', body: new URLSearchParams({ new_password }) });

test('an operator’s link lets the customer choose a new password by the API, once', async () => {
  const customer = await newCustomer(farebox);
  const { url, token, expires_at: ends } = await offer(customer);
  expect(url).toBe(`${farebox.url}/reset-password/${token}`);
  expect(Date.parse(ends) - Date.now()).toBeGreaterThan(23.9 * 3_600_000);

  expect((await useToken(token)).status).toBe(204);
  expectProblem(await customer.get('/v1/me'), 'invalid_token');
  expectProblem(await logIn(customer.email, PASSWORD), 'invalid_credentials');
  expect((await logIn(customer.email, NEW)).status).toBe(200);
  expectProblem(await useToken(token, 'yet another password'), 'link_expired');
  expect((await logIn(customer.email, NEW)).status, 'nothing has changed').toBe(200);

  const [row] = await root`select t::text as everything from identity.password_resets t`;
  expect(row?.['everything']).not.toContain(token);
  const trail = await root`
    select action, detail from platform.audit_log where subject_id =
      (select id::text from identity.accounts where email = ${customer.email}) order by seq`;
  expect(trail.map(({ action }) => action)).toEqual(['identity.password_reset_offered', 'identity.password_reset']);
  expect(JSON.parse(trail[0]?.['detail'])).toEqual({ reason: 'called in' });
});

test('of ten uses of one link at once one wins', async () => {
  const customer = await newCustomer(farebox);
  const { token } = await offer(customer);
  const wishes = Array.from({ length: 10 }, (_, i) => `new password number ${i}`);
  const replies = await Promise.all(wishes.map((wish) => useToken(token, wish)));
  expect(replies.filter(({ status }) => status === 204)).toHaveLength(1);
  for (const reply of replies) if (reply.status !== 204) expectProblem(reply, 'link_expired');
  const won = wishes[replies.findIndex(({ status }) => status === 204)] ?? '';
  expect((await logIn(customer.email, won)).status).toBe(200);
});

test('the page behind the link asks for the new password and takes it, without any script', async () => {
  const customer = await newCustomer(farebox);
  const { token } = await offer(customer);
  const page = await open(token);
  expect(page.status).toBe(200);
  expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
  expect(page.headers.get('cache-control')).toBe('no-store');
  expect(page.headers.get('referrer-policy'), 'the address is a secret').toBe('no-referrer');
  expect(page.headers.get('content-security-policy')).toMatch(/^default-src 'none'; .*form-action 'self'/);
  const text = await page.text();
  expect(text).toContain('name="new_password" type="password"');
  expect(text).not.toContain('<script');
  expect(text, 'nor does it repeat the secret').not.toContain(token);
  expect((await open(token)).status, 'looking does not use it up').toBe(200);

  const refused = await submit(token, 'short');
  expect(refused.status).toBe(422);
  expect(await refused.text()).toContain('Must have at least 8 characters');
  expect((await submit(token, 'password1')).status).toBe(422);

  const saved = await submit(token, NEW);
  expect(saved.status).toBe(200);
  expect(await saved.text()).not.toContain(NEW);
  expect((await logIn(customer.email, NEW)).status).toBe(200);
  for (const spent of [await open(token), await submit(token, NEW)]) {
    expect(spent.status).toBe(410);
    expect(spent.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(await spent.text()).toContain('This link is no longer valid');
  }
});

test.each([
  [410, 'A'.repeat(43)],
  [400, 'A'.repeat(42)],
  [400, '..%2f..%2fetc%2fpasswd'],
  [400, '%3Cscript%3Ealert(1)%3C%2Fscript%3E'],
])('a link that was never given out is a %i page that repeats nothing: %s', async (status, token) => {
  for (const reply of [await open(token), await submit(token, NEW)]) {
    expect(reply.status).toBe(status);
    const text = await reply.text();
    expect(text).toMatch(/^<!doctype html>/);
    expect(text).not.toMatch(/<script|passwd/);
  }
});

test('a link ends after a day, with the next one, and with any other new password', async () => {
  const customer = await newCustomer(farebox);
  const first = await offer(customer);
  const second = await offer(customer);
  expectProblem(await useToken(first.token), 'link_expired');
  await root`update identity.password_resets set expires_at = now() where account_id =
    (select id from identity.accounts where email = ${customer.email})`;
  expectProblem(await useToken(second.token), 'link_expired');

  const third = await offer(customer);
  const body = { current_password: PASSWORD, new_password: 'the customer’s own choice' };
  await customer.ok('POST', '/v1/me/password', { body });
  expectProblem(await useToken(third.token), 'link_expired');
  expect((await logIn(customer.email, 'the customer’s own choice')).status).toBe(200);
});

test('of two links that are made at once only one is good', async () => {
  const customer = await newCustomer(farebox);
  const offers = await Promise.all(Array.from({ length: 6 }, () => offer(customer)));
  const open = await Promise.all(offers.map(({ token }) => fetch(`${farebox.url}/reset-password/${token}`)));
  expect(open.filter(({ status }) => status === 200)).toHaveLength(1);
});

test('a repeat of the offer with the same key shows the same link', async () => {
  const customer = await newCustomer(farebox);
  const path = `/v1/admin/accounts/${customer.accountId}/password-resets`;
  const [first, again] = [
    await operator.post(path, { reason: 'r' }, { key: 'offer-1' }),
    await operator.post(path, { reason: 'r' }, { key: 'offer-1' }),
  ];
  expect(again.text).toBe(first.text);
  expect((await useToken(first.body.url.split('/').at(-1))).status).toBe(204);
});

test('what is no token and what is no password is a 422 that points to it', async () => {
  expectFieldProblem(await useToken(''), '/token');
  expectFieldProblem(await useToken('x'.repeat(201)), '/token');
  expectFieldProblem(await useToken('A'.repeat(43), 'short'), '/new_password');
  expectProblem(await useToken('A'.repeat(43)), 'link_expired');
});

test('a disabled account stays disabled, with whatever password', async () => {
  const customer = await newCustomer(farebox);
  const { token } = await offer(customer);
  const body = { disabled: true, reason: 'fraud' };
  await operator.ok('PATCH', `/v1/admin/accounts/${customer.accountId}`, { body });
  await useToken(token);
  expectProblem(await logIn(customer.email, NEW), 'account_disabled');
});
