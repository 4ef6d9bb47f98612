import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, clientOf, newCustomer, newOperator, PASSWORD } from '../harness/client.ts';
import { fareboxForFile, type TestFarebox } from '../harness/farebox.ts';

// In this file's database a refresh token takes 300 ms to be written: what ends a session arrives in the middle.
const WRITING_MS = 300;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

let farebox: TestFarebox;
let operator: Client;
beforeAll(async () => {
  farebox = await fareboxForFile();
  operator = await newOperator(farebox);
  const root = postgres(farebox.database.superuserUrl, { max: 1 });
  await root.unsafe(`
    create function public.dawdle() returns trigger language plpgsql as $$
      begin perform pg_sleep(${WRITING_MS / 1000}); return new; end $$;
    create trigger dawdle before insert on identity.refresh_tokens for each row execute function public.dawdle();`);
  await root.end();
});
afterAll(() => farebox.stop());

const anybody = () => clientOf(farebox.url);
const logIn = (email: string) => anybody().call('POST', '/v1/auth/login', { body: { email, password: PASSWORD } });
const refresh = (refresh_token: string) => anybody().call('POST', '/v1/auth/refresh', { body: { refresh_token } });

/** Whether anything of a session that was begun still opens a door. */
async function isAlive(session: { access_token?: string; refresh_token?: string }): Promise<boolean> {
  if (!session.refresh_token) return false; // it was refused
  const renewed = await refresh(session.refresh_token);
  const shown = await anybody().get('/v1/me', { token: session.access_token ?? '' });
  return renewed.status === 200 || shown.status === 200;
}

const ends: [name: string, end: (customer: Client) => Promise<unknown>][] = [
  ['a log-out', (customer) => customer.ok('POST', '/v1/auth/logout')],
  [
    'a new password',
    (customer) =>
      customer.ok('POST', '/v1/me/password', {
        body: { current_password: PASSWORD, new_password: 'another long password' },
      }),
  ],
  [
    'an operator who changes the role',
    ({ accountId }) =>
      operator.ok('PATCH', `/v1/admin/accounts/${accountId}`, { body: { role: 'merchant', reason: 'a shop' } }),
  ],
];

test.each(ends)('a refresh that is under way when %s ends the session gives nothing that lives on', async (_n, end) => {
  const customer = await newCustomer(farebox);
  const session = (await logIn(customer.email)).body;
  const sameSession = { ...customer, ...clientOf(farebox.url, { ...customer, token: session.access_token }) };
  const refreshing = refresh(session.refresh_token);
  await pause(WRITING_MS / 2);
  await end(sameSession);
  expect(await isAlive((await refreshing).body)).toBe(false);
});

test.each(ends.slice(1, 2))(
  'a log-in that is under way when %s ends the sessions does not outlive it',
  async (_n, end) => {
    const customer = await newCustomer(farebox);
    const loggingIn = logIn(customer.email);
    await pause(50);
    const [session] = await Promise.all([loggingIn, end(customer)]);
    expect(await isAlive(session.body)).toBe(false);
  },
);

test('a stolen token that is used again while the owner refreshes ends the owner’s next session, too', async () => {
  const customer = await newCustomer(farebox);
  const first = (await logIn(customer.email)).body;
  const second = (await refresh(first.refresh_token)).body;
  const refreshing = refresh(second.refresh_token);
  await pause(WRITING_MS / 2);
  expect((await refresh(first.refresh_token)).status).toBe(401);
  expect(await isAlive((await refreshing).body)).toBe(false);
});
