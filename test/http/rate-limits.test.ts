import { createHmac, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, clientOf, newCustomer, PASSWORD, type Reply } from '../harness/client.ts';
import { fareboxForFile, fareboxForTest, omiseKeys, type TestFarebox } from '../harness/farebox.ts';
import { expectProblem } from '../harness/problems.ts';
import { exchange, repliesIn } from '../harness/raw-http.ts';

const LIMITS = { RATE_AUTH_PER_MIN: '6', RATE_MONEY_PER_MIN: '5', RATE_READ_PER_MIN: '8', RATE_WEBHOOK_PER_MIN: '4' };
const LOGINS = 2; // per e-mail address: a third of the first

// Behind a proxy that is trusted, so that each test comes from an address of its own.
let farebox: TestFarebox;
beforeAll(async () => {
  farebox = await fareboxForFile({ env: { ...LIMITS, TRUST_PROXY: '127.0.0.1' } });
});
afterAll(() => farebox.stop());

const addresses = Array.from({ length: 250 }, (_, i) => `198.51.100.${i + 1}`);
const newAddress = () => addresses.pop() ?? '';
const from = (address: string) => ({ 'x-forwarded-for': address });
const times = async (n: number, send: (i: number) => Promise<Reply>): Promise<Reply[]> => {
  const replies = [];
  for (let i = 0; i < n; i += 1) replies.push(await send(i));
  return replies;
};
const statuses = (replies: Reply[]) => replies.map(({ status }) => status);

const post = (path: string, body: unknown, address: string) =>
  clientOf(farebox.url).call('POST', path, { body, headers: from(address) });
const refresh = (address: string) => post('/v1/auth/refresh', { refresh_token: 'x' }, address);
const logIn = (email: string, address: string, password = PASSWORD) =>
  post('/v1/auth/login', { email, password }, address);
/** A customer whose making counts for addresses that nobody else uses. */
async function customer(): Promise<Client & { at: string }> {
  const [email, at] = [`${randomUUID()}@example.com`, newAddress()];
  const account = await post('/v1/auth/register', { email, password: PASSWORD }, at);
  const session = await logIn(email, at);
  return {
    ...clientOf(farebox.url, { token: session.body.access_token, email, accountId: account.body.id }),
    at,
  };
}

test('what is too much is a 429 that says when to come back, and every reply says what is left', async () => {
  const address = newAddress();
  const replies = await times(8, () => refresh(address));
  expect(statuses(replies)).toEqual([401, 401, 401, 401, 401, 401, 429, 429]);
  for (const [i, { headers }] of replies.entries()) {
    expect(headers.get('ratelimit-policy')).toBe('"auth";q=6;w=60');
    const [, left, ends] = /^"auth";r=(\d+);t=(\d+)$/.exec(headers.get('ratelimit') ?? '') ?? [];
    expect(Number(left)).toBe(Math.max(0, 5 - i));
    expect(Number(ends)).toBeGreaterThan(50);
  }
  const [last] = replies.slice(-1);
  if (!last) throw new Error('no reply');
  expectProblem(last, 'rate_limited');
  expect(last.headers.get('retry-after')).toBe(/t=(\d+)/.exec(last.headers.get('ratelimit') ?? '')?.[1]);
  expect((await refresh(newAddress())).status, 'another address is another matter').toBe(401);
});

test('a refused request does nothing: the right password does not help', async () => {
  const { email } = await customer();
  const address = newAddress();
  await times(6, () => refresh(address));
  expectProblem(await logIn(email, address), 'rate_limited');
});

test('log-ins are counted by e-mail address, too, wherever they come from and however it is written', async () => {
  const email = `${randomUUID()}@example.com`;
  const spellings = [email, email.toUpperCase(), email];
  const replies = await times(3, (i) => logIn(spellings[i] ?? '', newAddress(), 'wrong'));
  expect(statuses(replies)).toEqual([401, 401, 429]);
  const [, , refused] = replies;
  if (!refused) throw new Error('no reply');
  expectProblem(refused, 'rate_limited');
  expect(refused.headers.get('ratelimit-policy')).toBe(`"login";q=${LOGINS};w=60`);
  expectProblem(await post('/v1/auth/register', { email, password: PASSWORD }, newAddress()), 'rate_limited');
  expect((await logIn(`${randomUUID()}@example.com`, newAddress())).status, 'others log in').toBe(401);
});

test('whoever has a token may not try passwords faster than at the log-in', async () => {
  const { at: _, ...client } = await customer();
  const attempt = () =>
    client.call('POST', '/v1/me/password', {
      body: { current_password: 'guess', new_password: 'x'.repeat(20) },
      headers: from(newAddress()),
    });
  expect(statuses(await times(3, attempt))).toEqual([401, 401, 429]);
  const byEmail = await client.call('PATCH', '/v1/me', {
    body: { email: 'thief@example.com', current_password: 'guess' },
    headers: from(newAddress()),
  });
  expectProblem(byEmail, 'rate_limited');
});

test('work is counted by account: token and API key together, other accounts and addresses apart', async () => {
  const [one, two] = [await customer(), await customer()];
  const { key } = await one.ok('POST', '/v1/api-keys', {
    body: { name: 'k', scopes: ['workflows:write'] },
    headers: from(newAddress()),
  });
  const work = (token: string) =>
    clientOf(farebox.url, { token }).post('/v1/workflows', { name: '' }, { headers: from(newAddress()) });
  expect(statuses(await times(6, (i) => work(i % 2 ? key : one.token)))).toEqual([422, 422, 422, 422, 422, 429]);
  expect((await work(two.token)).status).toBe(422);
  expect((await one.get('/v1/me')).status, 'reading is another class').toBe(200);
});

test('reading is counted by account, or by address for who has none', async () => {
  const { at: _, ...client } = await customer();
  const read = await times(9, () => client.get('/v1/me', { headers: from(newAddress()) }));
  expect(statuses(read)).toEqual([...Array(8).fill(200), 429]);
  const address = newAddress();
  const open = await times(9, () => clientOf(farebox.url).get('/v1/packages', { headers: from(address) }));
  expect(statuses(open)).toEqual([...Array(8).fill(200), 429]);
  expect((await refresh(address)).status, 'each class counts for itself').toBe(401);
});

test('webhooks are counted by address, the signed ones as well', async () => {
  const address = newAddress();
  const event = () => {
    const id = `evnt_test_${randomUUID().replaceAll('-', '')}`;
    const body = JSON.stringify({ object: 'event', id, key: 'customer.update', data: { object: 'customer' } });
    const timestamp = String(Math.floor(Date.now() / 1000));
    const secret = Buffer.from(omiseKeys.webhookSecret, 'base64');
    const signature = createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex');
    const headers = { 'omise-signature': signature, 'omise-signature-timestamp': timestamp, ...from(address) };
    return clientOf(farebox.url).call('POST', '/v1/webhooks/omise', { body: JSON.parse(body), headers });
  };
  expect(statuses(await times(5, event))).toEqual([200, 200, 200, 200, 429]);
});

test('bad tokens are counted by address; good ones from there go on', async () => {
  const { at: _, ...client } = await customer();
  const address = newAddress();
  const bad = (token: string) => clientOf(farebox.url, { token }).get('/v1/me', { headers: from(address) });
  const replies = await times(61, (i) => bad(i % 2 ? 'a.b.c' : `fbx_${i}`));
  expect(new Set(statuses(replies.slice(0, 60)))).toEqual(new Set([401]));
  expectProblem(await bad('a.b.c'), 'rate_limited');
  expect((await client.get('/v1/me', { headers: from(address) })).status).toBe(200);
});

test('what the client writes into X-Forwarded-For before the proxy does not count', async () => {
  const address = newAddress();
  const replies = await times(7, (i) => refresh(`203.0.113.${i}, ${address}`));
  expect(statuses(replies)).toEqual([401, 401, 401, 401, 401, 401, 429]);
});

test('without a trusted proxy X-Forwarded-For and its kin count for nothing', async () => {
  const bare = await fareboxForTest({ env: LIMITS });
  const replies = await times(7, (i) => {
    const headers = {
      'x-forwarded-for': `203.0.113.${i}`,
      'x-real-ip': `203.0.113.${i}`,
      forwarded: `for=203.0.113.${i}`,
    };
    return clientOf(bare.url).call('POST', '/v1/auth/refresh', { body: { refresh_token: 'x' }, headers });
  });
  expect(statuses(replies)).toEqual([401, 401, 401, 401, 401, 401, 429]);
});

test('the addresses of one IPv6 network are one', async () => {
  const replies = await times(7, (i) => refresh(`2001:db8:1:2::${i + 1}`));
  expect(statuses(replies)).toEqual([401, 401, 401, 401, 401, 401, 429]);
  expect((await refresh('2001:db8:1:3::1')).status).toBe(401);
});

test('the port that some proxies write behind an address makes no other client', async () => {
  const four = newAddress();
  expect(statuses(await times(7, (i) => refresh(`${four}:${4_000 + i}`))).at(-1)).toBe(429);
  expect((await refresh(four)).status).toBe(429);
  expect(statuses(await times(7, (i) => refresh(`[2001:db8:9::1]:${4_000 + i}`))).at(-1)).toBe(429);
});

test.each([
  'garbage',
  '',
  ',,,',
  'unknown',
  '_hidden',
  '999.1.1.1',
  '::1%25eth0',
  'a'.repeat(9_000),
  '[',
  '[]:1',
  ':80',
])('an X-Forwarded-For of "%.12s" breaks nothing', async (address) => {
  expect((await clientOf(farebox.url).get('/nowhere', { headers: from(address) })).status).toBe(404);
  expect([401, 429]).toContain((await refresh(address)).status);
});

test('a flood of other addresses does not make one forgotten', async () => {
  const address = newAddress();
  const read = () => clientOf(farebox.url).get('/v1/packages', { headers: from(address) });
  await times(9, read);
  const flood = Array.from({ length: 6_000 }, (_, i) => {
    const other = `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`;
    const last = i === 5_999 ? 'Connection: close\r\n' : '';
    return `HEAD /v1/packages HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: ${other}\r\n${last}\r\n`;
  });
  const answer = await exchange(farebox.url, flood.join(''), 60_000);
  expect(answer.bytes.split('HTTP/1.1 200 OK')).toHaveLength(6_001);
  expect(repliesIn(answer.bytes).length).toBeGreaterThan(0);
  expectProblem(await read(), 'rate_limited');
}, 70_000);

test('what the caller may not do is counted like what he may', async () => {
  const bare = await fareboxForTest({ env: LIMITS });
  const { token } = await newCustomer(bare);
  const refused = await times(6, () => clientOf(bare.internalUrl, { token }).post('/v1/admin/packages', {}));
  expect(statuses(refused)).toEqual([403, 403, 403, 403, 403, 429]);
});
