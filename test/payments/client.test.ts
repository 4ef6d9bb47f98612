import { randomUUID } from 'node:crypto';
import http from 'node:http';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { call } from '../../src/payments/rails/omise-client.ts';
import type { ChargeOrder, Outcome, Rail } from '../../src/payments/rails/rail.ts';
import type { Json } from '../harness/client.ts';
import { type CannedProvider, railTo, type Says, SECRET_KEY, startCannedProvider } from './canned-provider.ts';

const DEADLINE_MS = 250;
const SLACK_MS = 750; // the machine has other things to do

let provider: CannedProvider;
let rail: Rail;
const told: [string, string, string | undefined][] = [];

beforeAll(async () => {
  provider = await startCannedProvider();
  rail = railTo(provider.url, {
    deadlineMs: DEADLINE_MS,
    onCall: (operation, outcome, reason) => void told.push([operation, outcome, reason]),
  });
});
afterAll(async () => {
  rail.close();
  await provider.close();
});
beforeEach(() => {
  provider.asked.length = 0;
  told.length = 0;
});

const ID = 'chrg_test_5xuyzuxqhdhw7ysa1l9';
const order = (): ChargeOrder => ({
  attemptId: randomUUID(),
  purchaseId: 'pur_01m80v042pf9rta86ac64jyj45',
  amount: 50_000n,
  currency: 'THB',
  description: 'Starter',
  method: { type: 'promptpay' },
  returnUri: 'https://farebox.example.com/return',
});
const chargeFor = (attemptId: string, id = ID): Json => ({
  ...{ object: 'charge', id, livemode: false, status: 'pending', paid: false, amount: 50_000, currency: 'THB' },
  metadata: { attempt_id: attemptId },
});
const json = (value: unknown, status = 200): Says => ({ status, body: JSON.stringify(value) });

async function timed<T>(work: Promise<Outcome<T>>): Promise<Outcome<T>> {
  const begun = performance.now();
  const outcome = await work;
  expect(performance.now() - begun).toBeLessThan(DEADLINE_MS + SLACK_MS);
  return outcome;
}

/** Ways to keep a client waiting, or to leave it in the middle. */
const unanswered: [string, Says][] = [
  ['says nothing', () => {}],
  ['sends headers and nothing more', (response) => response.writeHead(200, { 'content-length': '100' }).flushHeaders()],
  [
    'stops in the middle of the body',
    (response) => response.writeHead(200, { 'content-length': '100' }).write('{"object":"charge","id":'),
  ],
  ['stops in the middle of a body without a length', (response) => response.writeHead(200).write('{"object":')],
  [
    'cuts the body',
    (response) =>
      response.writeHead(200, { 'content-length': '100' }).write('{"object":"charge"', () => response.destroy()),
  ],
  ['cuts a chunked body', (response) => response.writeHead(200).write('{"object":"charge"', () => response.destroy())],
  ['resets', (response) => response.socket?.resetAndDestroy()],
  ['ends the connection', (response) => response.socket?.end()],
  [
    'drips, a byte at a time',
    (response) => {
      response.writeHead(200);
      const drip = setInterval(() => response.write(' '), 20);
      response.once('close', () => clearInterval(drip));
    },
  ],
];

describe('a provider that does not answer', () => {
  // REQ E7.4
  test.each(unanswered)(
    '%s: the outcome of a creation is unknown, in time, and it is not repeated',
    async (_name, says) => {
      provider.says = says;
      expect(await timed(rail.start(order()))).toMatchObject({ outcome: 'unknown' });
      expect(provider.asked).toHaveLength(1);
    },
  );

  test.each(unanswered)('%s: reading ends in time as well', async (_name, says) => {
    provider.says = says;
    const reads = [timed<unknown>(rail.check(ID)), timed<unknown>(rail.list(new Date(0), 0))];
    for (const outcome of await Promise.all(reads)) expect(outcome).toMatchObject({ outcome: 'unknown' });
  });

  // REQ E7.4
  test('a read that failed is repeated after a pause, three times at most, and one good answer is enough', async () => {
    const patient = railTo(provider.url, { deadlineMs: 10_000 });
    const at: number[] = [];
    const answers: Says[] = [json({ message: 'busy' }, 503), json('', 500), json(chargeFor(randomUUID()))];
    provider.says = (response, asked) => {
      at.push(performance.now());
      const says = answers.shift() ?? json({}, 500);
      if (typeof says === 'function') return says(response, asked);
      return response.writeHead(says.status ?? 200).end(says.body);
    };
    expect(await patient.check(ID)).toMatchObject({ outcome: 'ok', value: { id: ID } });
    expect((at[1] ?? 0) - (at[0] ?? 0)).toBeGreaterThan(200);
    expect((at[2] ?? 0) - (at[1] ?? 0)).toBeGreaterThan(400);
    expect(await patient.check(ID)).toEqual({ outcome: 'unknown', reason: 'http_500' });
    expect(at).toHaveLength(6);
    patient.close();
  });
});

describe('what an answer means', () => {
  const refusal = (code: string) => ({ object: 'error', location: 'x', code, message: `it is ${code}` });

  test.each([
    ['an error with 400', json(refusal('invalid_charge'), 400), { outcome: 'rejected', code: 'invalid_charge' }],
    ['an error with 404', json(refusal('not_found'), 404), { outcome: 'rejected', code: 'not_found' }],
    ['an error with 422', json(refusal('used_token'), 422), { outcome: 'rejected', code: 'used_token' }],
    ['401', json(refusal('authentication_failure'), 401), { outcome: 'unavailable', reason: 'unauthorized' }],
    ['403', json(refusal('not_authorized'), 403), { outcome: 'unavailable', reason: 'unauthorized' }],
    ['401 in HTML', { status: 401, body: '<html>' }, { outcome: 'unavailable', reason: 'unauthorized' }],
    ['429', json(refusal('too_many_requests'), 429), { outcome: 'unavailable', reason: 'rate_limited' }],
    ['429 without a body', { status: 429, body: '' }, { outcome: 'unavailable', reason: 'rate_limited' }],
    ['429 with some JSON', json({ wait: true }, 429), { outcome: 'unavailable', reason: 'rate_limited' }],
    ['an error with 500', json(refusal('backend_error'), 500), { outcome: 'unknown', reason: 'http_500' }],
    ['an error with 200', json(refusal('invalid_charge')), { outcome: 'unknown', reason: 'http_200' }],
    ['a charge with 503', json(chargeFor(randomUUID()), 503), { outcome: 'unknown', reason: 'http_503' }],
    ['a charge with 302', json(chargeFor(randomUUID()), 302), { outcome: 'unknown', reason: 'http_302' }],
    ['JSON that is no error, with 400', json({ message: 'no' }, 400), { outcome: 'unknown', reason: 'http_400' }],
    ['HTML with 404, as a proxy says it', { status: 404, body: '<html>' }, { outcome: 'unknown', reason: 'http_404' }],
    ['204', { status: 204, body: '' }, { outcome: 'unknown', reason: 'http_204' }],
    ['nothing with 200', { body: '' }, { outcome: 'unknown', reason: 'http_200' }],
    ['null', json(null), { outcome: 'unknown', reason: 'http_200' }],
    ['a list', json([]), { outcome: 'unknown', reason: 'unreadable_reply' }],
    ['a number', json(5), { outcome: 'unknown', reason: 'unreadable_reply' }],
    [
      'the charge of another attempt',
      json(chargeFor(randomUUID())),
      { outcome: 'unknown', reason: 'unreadable_reply' },
    ],
    ['a charge without metadata', json({ ...chargeFor(''), metadata: null }), { reason: 'unreadable_reply' }],
  ] satisfies [string, Says, Json][])('%s', async (_name, says, expected) => {
    provider.says = says;
    expect(await rail.start(order())).toMatchObject(expected);
    expect(told).toEqual([['charges.create', expect.any(String), (expected as Json).reason]]);
  });

  test('the charge that was asked for, with everything that is needed to pay it', async () => {
    const wanted = order();
    const source = { scannable_code: { image: { download_uri: `${provider.url}/qr` } } };
    provider.says = json({ ...chargeFor(wanted.attemptId), source, expires_at: '2026-01-01T00:00:00Z' });
    const value = {
      id: ID,
      qrUri: `${provider.url}/qr`,
      expiresAt: new Date('2026-01-01T00:00:00Z'),
      attemptId: wanted.attemptId,
    };
    expect(await rail.start(wanted)).toMatchObject({ outcome: 'ok', value });
  });

  test('a charge that was not asked for is not taken for the one that was', async () => {
    provider.says = json(chargeFor(randomUUID(), `${ID}x`));
    expect(await rail.check(ID)).toEqual({ outcome: 'unknown', reason: 'unreadable_reply' });
  });

  test('a reply that does not end is cut off', async () => {
    let sent = 0;
    let gone: Promise<unknown> | undefined;
    provider.says = (response) => {
      gone = new Promise((resolve) => response.once('close', resolve));
      const more = () => {
        while (!response.destroyed && sent < 64_000_000) {
          sent += 65_536;
          if (!response.write('x'.repeat(65_536))) return void response.once('drain', more);
        }
        if (!response.destroyed) response.end();
      };
      response.writeHead(200);
      more();
    };
    const large = railTo(provider.url, { deadlineMs: 10_000 });
    expect(await large.start(order())).toMatchObject({ outcome: 'unknown' });
    await gone;
    expect(sent).toBeLessThan(64_000_000);
    large.close();
  });
});

describe('what is sent', () => {
  test('the key, the version and the attempt; ids and amounts as they are', async () => {
    const wanted = order();
    provider.says = json(chargeFor(wanted.attemptId));
    await railTo(provider.url, { webhookUrl: 'https://farebox.example.com/v1/webhooks/omise' }).start(wanted);
    const [asked] = provider.asked;
    expect(asked).toMatchObject({ method: 'POST', path: '/charges' });
    expect(asked?.headers).toMatchObject({
      authorization: `Basic ${Buffer.from(`${SECRET_KEY}:`).toString('base64')}`,
      'omise-version': '2019-05-29',
      'idempotency-key': wanted.attemptId,
    });
    expect(JSON.parse(asked?.body ?? '')).toEqual({
      amount: 50_000,
      currency: 'THB',
      description: `Starter (${wanted.attemptId})`,
      metadata: { attempt_id: wanted.attemptId, purchase_id: wanted.purchaseId },
      webhook_endpoints: ['https://farebox.example.com/v1/webhooks/omise'],
      source: { type: 'promptpay' },
    });
  });

  test('one connection serves one call after the other', async () => {
    provider.says = json(chargeFor(randomUUID()));
    const before = provider.connections;
    for (let n = 0; n < 20; n += 1) expect((await rail.check(ID)).outcome).toBe('ok');
    expect(provider.connections - before).toBeLessThanOrEqual(1);
  });

  test('a kept connection that was closed meanwhile: a creation is unknown, never called undone', async () => {
    provider.says = json(chargeFor(randomUUID()));
    await rail.check(ID);
    provider.says = (response) => response.socket?.resetAndDestroy();
    expect(await rail.start(order())).toMatchObject({ outcome: 'unknown' });
  });

  test.each([
    ['', 'nothing'],
    ['../account', 'a way up'],
    [`${ID}/capture`, 'a way down'],
    [`${ID}?expand=true`, 'a query'],
    [`${ID}#`, 'a fragment'],
    [`${ID}\n`, 'a line'],
    ['chrg_test_..%2faccount', 'a hidden way up'],
    ['CHRG_TEST_5XUYZUXQHDHW7YSA1L9', 'capitals'],
    ['evnt_test_5xuyzuxqhdhw7ysa1l9', 'another kind'],
  ])('an id like "%s" (%s) never leaves', async (id) => {
    expect(await rail.check(id)).toMatchObject({ outcome: 'rejected', code: 'not_found' });
    expect(await rail.expire(id)).toMatchObject({ outcome: 'rejected', code: 'not_found' });
    expect(provider.asked).toEqual([]);
  });
});

describe('in one process with others', () => {
  test('two accounts at two providers, fifty calls each at once: nobody gets the other’s key or answer', async () => {
    const second = await startCannedProvider();
    const rails = [
      railTo(provider.url, { deadlineMs: 10_000 }),
      railTo(second.url, { secretKey: 'skey_test_5anotheraccount', deadlineMs: 10_000 }),
    ];
    const ids = Array.from({ length: 50 }, (_, n) => `chrg_test_5number${String(n).padStart(3, '0')}`);
    const saying =
      (amount: number): Says =>
      (response, { path }) =>
        response.end(JSON.stringify({ ...chargeFor(randomUUID(), path.split('/')[2]), amount }));
    provider.says = saying(1);
    second.says = saying(2);
    const outcomes: Json[] = await Promise.all(
      rails.flatMap((one, n) => ids.map(async (id) => ({ n, id, ...(await one.check(id)) }))),
    );
    for (const { n, id, value } of outcomes) expect(value).toMatchObject({ id, amount: BigInt(n + 1) });
    const keys = (one: CannedProvider) => new Set(one.asked.map(({ headers }) => headers.authorization));
    expect([...keys(provider)]).toEqual([`Basic ${Buffer.from(`${SECRET_KEY}:`).toString('base64')}`]);
    expect([...keys(second)]).toEqual([`Basic ${Buffer.from('skey_test_5anotheraccount:').toString('base64')}`]);
    for (const one of rails) one.close();
    await second.close();
  });

  test('other code’s requests keep their own address while a call of ours is under way', async () => {
    const other = await startCannedProvider();
    other.says = { body: 'other' };
    provider.says = () => {};
    const ours = rail.check(ID);
    const theirs = await new Promise<string>((resolve, reject) => {
      http
        .get(other.url, (response) => {
          response.setEncoding('utf8').once('data', resolve);
        })
        .once('error', reject);
    });
    expect(theirs).toBe('other');
    expect(other.asked[0]?.headers.authorization).toBeUndefined();
    await ours;
    await other.close();
  });

  test('promises are as they were', () => {
    const names: string[] = [];
    for (const name in Promise.resolve()) names.push(name);
    expect(names).toEqual([]);
    expect(Object.getOwnPropertyNames(Promise.prototype).sort()).toEqual(['catch', 'constructor', 'finally', 'then']);
  });

  test('the deadline holds for work that never asks anybody, and its timer does not stay', async () => {
    const trace = { status: null, isSent: false };
    await expect(
      call({ port: 1, deadlineMs: 20, headers: {} }, trace, () => new Promise(() => {})),
    ).rejects.toMatchObject({ code: 'DEADLINE' });
    expect(await call({ port: 1, deadlineMs: 60_000, headers: {} }, trace, async () => 'done')).toBe('done');
  });
});
