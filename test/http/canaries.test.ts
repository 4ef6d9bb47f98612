import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clientOf, eventually, type Json } from '../harness/client.ts';
import { cloneDatabase } from '../harness/database.ts';
import { keyHolder, signIn } from '../harness/dids.ts';
import { omiseKeys } from '../harness/farebox.ts';
import { startProxy, type TcpProxy } from '../harness/tcp-proxy.ts';
import { logInAgain, openWorld, type World } from './world.ts';

// One long day with values that must not be seen again, and then a look into every log line, every reply and every
// column of every table.

const PASSWORD = `canary-password-${randomUUID()}`;
const NEW_PASSWORD = `canary-new-password-${randomUUID()}`;
const WRONG_PASSWORD = `canary-wrong-password-${randomUUID()}`;
const ENCRYPTION_KEY = Buffer.from('canary-encryption-key-32-bytes!!').toString('base64');
const CARD = '4242424242424242';
const REQUEST_SECRET = `canary-in-an-address-${randomUUID()}`;

let world: World;
let wire: TcpProxy;
const lines: string[] = [];
const replies: { of: string; text: string }[] = [];
const secrets: Record<string, string> = {
  'a password': PASSWORD,
  'a new password': NEW_PASSWORD,
  'a wrong password': WRONG_PASSWORD,
  'the provider’s secret key': omiseKeys.secretKey,
  'the webhook secret': omiseKeys.webhookSecret,
  'the encryption key': ENCRYPTION_KEY,
  'the database password': 'app-password',
  'a card number': CARD,
  'a card number, spelled': '4242-4242-4242-4242',
  'a secret in an address': REQUEST_SECRET,
};
/** Where a secret may be seen: the one reply that is there to show it. */
const shownBy: Record<string, RegExp> = {
  'an access token': /^POST \/v1\/(auth\/(login|refresh)|me\/password)$/,
  'a refresh token': /^POST \/v1\/(auth\/(login|refresh)|me\/password)$/,
  'an API key': /^POST \/v1\/api-keys$/,
  'a signing secret': /^POST \/v1\/admin\/services(\/\w+\/signing-secrets)?$/,
  'a secret in an address': /^GET \/v1\/(me|purchases)\/canary/, // `instance`, for whoever wrote it
  'a reset token': /^POST \/v1\/admin\/accounts\/\w+\/password-resets$/,
};
const originalFetch = globalThis.fetch;

beforeAll(async () => {
  const database = await cloneDatabase();
  wire = await startProxy({ target: { port: Number(new URL(database.appUrl).port) } });
  globalThis.fetch = async (input, init) => {
    const response = await originalFetch(input, init);
    const { pathname } = new URL(String(input));
    const text = await response.clone().text();
    const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`).join('\n');
    replies.push({ of: `${init?.method ?? 'GET'} ${pathname}`, text: `${headers}\n${text}` });
    return response;
  };
  world = await openWorld({
    database,
    env: { DATABASE_URL: wire.url(database.appUrl), ENCRYPTION_KEYS: `k1:${ENCRYPTION_KEY}` },
    log: { write: (line) => lines.push(line) },
  });
  await theDay();
}, 120_000);
afterAll(async () => {
  globalThis.fetch = originalFetch;
  await world.stop();
  await wire.close();
});

async function theDay() {
  const { farebox, operator, owner, pack, service } = world;
  Object.assign(secrets, { 'a signing secret': service.signing_secret });
  await identities();
  await money();
  await runs();
  await badInput();
  // The database goes away in the middle of things, and comes back.
  wire.refuse();
  wire.resetAll();
  await owner.post('/v1/purchases', { package_id: pack.id, method: { type: 'promptpay' } });
  const anybody = clientOf(farebox.url);
  await anybody.call('POST', '/v1/auth/login', { body: { email: owner.email, password: WRONG_PASSWORD } });
  await operator.post(`/v1/admin/accounts/${owner.accountId}/grants`, { credits: 1, reason: 'r' });
  await wire.pass();
  await eventually(
    () => owner.get('/v1/workflows'),
    ({ status }) => status === 200,
  );
  await clientOf(farebox.internalUrl).get('/metrics');
}

async function identities() {
  const { farebox, operator } = world;
  const anybody = clientOf(farebox.url);
  const post = (path: string, body: Json, token?: string) =>
    anybody.call('POST', path, { body, ...(token ? { token } : {}) });
  const email = `${randomUUID()}@example.com`;
  await post('/v1/auth/register', { email, password: PASSWORD });
  const { body: account } = await post('/v1/auth/register', { email, password: PASSWORD });
  expect(account.code).toBe('email_taken');
  const login = { email, password: PASSWORD };
  const session = (await post('/v1/auth/login', login)).body;
  await post('/v1/auth/login', { email, password: WRONG_PASSWORD });
  await post('/v1/auth/login', { email, password: PASSWORD, extra: WRONG_PASSWORD });
  await post('/v1/auth/login', { email: WRONG_PASSWORD, password: [PASSWORD] });
  const renewed = (await post('/v1/auth/refresh', { refresh_token: session.refresh_token })).body;
  await post('/v1/auth/refresh', { refresh_token: session.refresh_token }); // theft
  const again = (await post('/v1/auth/login', login)).body;
  const change = { current_password: PASSWORD, new_password: NEW_PASSWORD };
  await post('/v1/me/password', { ...change, current_password: WRONG_PASSWORD }, again.access_token);
  const fresh = (await post('/v1/me/password', change, again.access_token)).body;
  const me = (await anybody.get('/v1/me', { token: fresh.access_token })).body;
  await anybody.get(`/v1/me?access_token=${fresh.access_token}&x=${REQUEST_SECRET}`);
  await anybody.get(`/v1/me/${REQUEST_SECRET}`, { token: `${fresh.access_token}x` });
  const wish = { name: 'k', scopes: ['read'] };
  const made = await anybody.call('POST', '/v1/api-keys', { token: fresh.access_token, key: 'canary', body: wish });
  await anybody.call('POST', '/v1/api-keys', { token: fresh.access_token, key: 'canary', body: wish });
  await anybody.get('/v1/me', { token: made.body.key });
  await anybody.get('/v1/api-keys', { token: made.body.key });
  const path = `/v1/admin/accounts/${me.id}/password-resets`;
  const { url } = await operator.ok('POST', path, { body: { reason: 'r' } });
  const token = url.split('/').at(-1);
  await originalFetch(url); // the page at the link shows the link, if anything
  await fetch(url, { method: 'POST', body: new URLSearchParams({ new_password: NEW_PASSWORD }) });
  await post('/v1/auth/password-reset', { token, new_password: NEW_PASSWORD });
  const anew = await signIn(farebox, keyHolder());
  Object.assign(secrets, {
    'an access token of a DID': anew.token,
    'an access token': session.access_token,
    'a refresh token': renewed.refresh_token,
    'a second access token': fresh.access_token,
    'a second refresh token': fresh.refresh_token,
    'an API key': made.body.key,
    'a reset token': token,
  });
  Object.assign(shownBy, {
    'an access token of a DID': /^POST \/v1\/auth\/did\/tokens$/,
    'a second access token': shownBy['an access token'],
    'a second refresh token': shownBy['a refresh token'],
  });
  const env = { PATH: process.env['PATH'], ...farebox.environment };
  const args = ['src/cli.ts', 'operator', 'create', '--email', email];
  const cli = await promisify(execFile)(process.execPath, args, { env }).catch((fault) => fault);
  replies.push({ of: 'cli', text: `${cli.stdout}\n${cli.stderr}` });
}

async function money() {
  const { farebox, owner, pack, buy } = world;
  const control = farebox.omise.control;
  const card = await originalFetch(`${farebox.omise.url}/tokens`, {
    method: 'POST',
    headers: { authorization: `Basic ${Buffer.from(`${omiseKeys.publicKey}:`).toString('base64')}` },
    body: new URLSearchParams({
      ...{ 'card[number]': CARD, 'card[name]': 'C', 'card[expiration_month]': '12' },
      ...{ 'card[expiration_year]': '2030', 'card[security_code]': '123' },
    }),
  });
  const { id: token } = (await card.json()) as Json;
  expect(token).toMatch(/^tokn_/);
  secrets['a card token'] = token;
  await buy(owner, { type: 'card', token });
  const purchase = (method: Json) => owner.post('/v1/purchases', { package_id: pack.id, method });
  for (const wrong of [CARD, '4242-4242-4242-4242', Number(CARD)]) {
    await purchase({ type: 'card', token: wrong });
    await purchase({ type: 'card', token: 'tokn_test_x', number: wrong });
  }
  const paid = await buy(owner);
  const mine = control.charges().find((charge) => (charge['source'] as Json)?.type === 'promptpay');
  control.pay(String(mine?.['id']));
  await eventually(
    () => owner.ok('GET', `/v1/purchases/${paid.id}`),
    ({ status }) => status === 'completed',
  );
  for (const fault of ['server_error', 'bad_gateway', 'reset_after_execution', 'null_body', 'unauthorized'] as const) {
    control.fault({ api: fault, times: 2 });
    await purchase({ type: 'promptpay' });
    control.clearFaults();
  }
  const headers = { 'omise-signature': omiseKeys.webhookSecret, 'omise-signature-timestamp': '1' };
  await clientOf(farebox.url).call('POST', '/v1/webhooks/omise', { headers, body: { secret: omiseKeys.secretKey } });
}

async function runs() {
  const { executor, owner, operator, service, startRun } = world;
  const { run, callback } = await startRun();
  secrets['a callback token'] = callback;
  const report = (what: string, body: Json, token = callback) =>
    owner.call('POST', `/v1/executor/runs/${run.id}/${what}`, { token, body });
  await report('progress', { percent: 200, message: CARD });
  await report('progress', { percent: 50 }, `${callback}x`);
  await report('complete', { output: { done: true } });
  await report('complete', { output: { done: true } });
  executor.behave(() => ({ status: 500, text: 'the executor is broken' }));
  await owner.post(`/v1/workflows/${world.workflow.id}/runs`, { input: { note: CARD } });
  await owner.post(`/v1/workflows/${world.workflow.id}/runs`, {});
  const rotated = await operator.ok('POST', `/v1/admin/services/${service.id}/signing-secrets`, {});
  secrets['a second signing secret'] = rotated.signing_secret;
  shownBy['a second signing secret'] = shownBy['a signing secret'] as RegExp;
  await operator.ok('GET', `/v1/admin/services/${service.id}`);
}

async function badInput() {
  const { owner, operator, farebox } = world;
  await operator.get(`/v1/admin/accounts?email=%00${REQUEST_SECRET}`);
  await owner.get(`/v1/purchases/${REQUEST_SECRET}`);
  await owner.get(`/v1/purchases?starting_after=${REQUEST_SECRET}`);
  await owner.post('/v1/workflows', { [`${REQUEST_SECRET}\0`]: 1 });
  await fetch(`${farebox.url}/v1/auth/login`, {
    ...{ method: 'POST', headers: { 'content-type': 'application/json' } },
    body: `{"password":"${PASSWORD}", broken`,
  });
  await logInAgain(farebox, owner.email);
}

/** The secret as it is, in hex as a column of bytes shows it, and in base64 of its three alignments. */
function spellings(secret: string): string[] {
  const aligned = [0, 1, 2].map((shift) => {
    const text = Buffer.concat([Buffer.alloc(shift), Buffer.from(secret)]).toString('base64');
    return text.slice(shift === 0 ? 0 : 4, -4);
  });
  return [secret, Buffer.from(secret).toString('hex'), ...aligned.filter((text) => text.length > 12)];
}

describe('nobody sees again', () => {
  test('in a log line, a reply or the database, what was meant for one pair of eyes', async () => {
    const root = postgres(world.farebox.database.superuserUrl, { max: 1 });
    const columns = await root`
      select format('%I.%I', table_schema, table_name) as name from information_schema.tables
      where table_schema in ('identity', 'credits', 'payments', 'workflows', 'refunds', 'platform', 'migrations')
        and table_type = 'BASE TABLE'`;
    const rows: { of: string; text: string }[] = [];
    for (const { name } of columns) {
      for (const { line } of await root.unsafe(`select t::text as line from ${name} t`))
        rows.push({ of: name, text: line });
    }
    await root.end();
    const hits: string[] = [];
    for (const [name, secret] of Object.entries(secrets)) {
      expect(secret.length, name).toBeGreaterThan(8);
      for (const spelling of spellings(secret)) {
        const places = [
          ...lines.filter((line) => line.includes(spelling)).map((line) => `log ${line.slice(0, 300)}`),
          ...rows
            .filter(({ text }) => text.includes(spelling))
            .map(({ of, text }) => `table ${of} ${text.slice(0, 200)}`),
          ...replies
            .filter(({ of, text }) => text.includes(spelling) && !shownBy[name]?.test(of))
            .map(({ of }) => `reply of ${of}`),
        ];
        hits.push(...places.map((place) => `${name}: ${place}`));
      }
    }
    expect(hits).toEqual([]);
    expect([lines.length, rows.length, replies.length].every((count) => count > 50)).toBe(true);
  });

  test('and the net has no holes: it finds what is there', () => {
    const [, key = ''] = Object.entries(secrets).find(([name]) => name === 'an API key') ?? [];
    expect(replies.some(({ text }) => text.includes(key))).toBe(true);
    expect(lines.some((line) => line.includes('request_id'))).toBe(true);
    expect(lines.filter((line) => /"level":"(error|fatal)"/.test(line)).map((line) => line.slice(0, 500))).toEqual([]);
  });
});
