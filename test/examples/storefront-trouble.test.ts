import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { articles } from '../../examples/storefront/articles.ts';
import type { Trouble } from '../harness/relay.ts';
import { type Browser, openStorefrontStage, orderAt, type Server, type StorefrontStage } from './stage.ts';

/** What a shop does when Farebox is away, slow, or says what makes no sense: nobody is let in, and nobody is led astray. */

let stage: StorefrontStage;
let server: Server;
/** Has paid, and would be served by any honest Farebox. */
let reader: Browser;

const PATH = '/articles/small-change';
const PAID_FOR = articles[2]?.text[0] ?? '';

beforeAll(async () => {
  stage = await openStorefrontStage();
  server = await stage.server();
  reader = stage.browser();
  await (await stage.richWallet()).buy(orderAt((await reader.open(PATH)).location));
});
afterEach(async () => {
  server.relay.meet();
  const seen = await reader.open(server.url + PATH);
  expect(seen.text, 'as soon as Farebox is back, it is open').toContain(PAID_FOR);
});
afterAll(async () => {
  await server.close();
  await stage.close();
});

const STATUS = () => `${stage.farebox.url}/orders/ord_1?h_contract=x`;
/** An answer as Farebox would give it, with something else in it. */
const answer = (more: object, status = 200): Trouble => {
  const honest = {
    ...{ entitled: false, refunded: false, order_id: 'ord_1', version: 1, order_status_url: STATUS() },
    ...{ taler_pay_uri: null, expires_at: null },
  };
  return says(status, JSON.stringify({ ...honest, ...more }));
};
const says =
  (status: number, body: string, headers: Record<string, string> = {}): Trouble =>
  ({ reply }) =>
    Boolean(reply.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body));

const lies: [what: string, trouble: () => Trouble][] = [
  [
    'the connection breaks',
    () =>
      ({ reply }) =>
        Boolean(reply.destroy()),
  ],
  [
    'the answer breaks off',
    () =>
      ({ reply }) => {
        reply.writeHead(200, { 'content-length': '500' }).write('{"entitled":true');
        setImmediate(() => reply.destroy());
        return true;
      },
  ],
  ['it is a page', () => says(200, '<!doctype html><h1>entitled: true</h1>')],
  ['it is nothing', () => says(200, '')],
  ['it is null', () => says(200, 'null')],
  ['it is a list', () => says(200, '[{"entitled":true}]')],
  ['yes is a text', () => answer({ entitled: 'true' })],
  ['yes is a number', () => answer({ entitled: 1 })],
  ['yes, and nothing else', () => says(200, '{"entitled":true}')],
  ['yes, without a version', () => answer({ entitled: true, version: undefined })],
  ['yes, by another status', () => answer({ entitled: true }, 201)],
  ['yes, with an error', () => answer({ entitled: true }, 500)],
  ['no such key', () => says(401, '{"code":"unauthenticated","entitled":true}')],
  ['an origin that is not allowed', () => says(422, '{"code":"return_uri_refused"}')],
  ['it leads elsewhere', () => says(302, '', { location: 'https://evil.example/' })],
  ['the order is elsewhere', () => answer({ order_status_url: 'https://evil.example/orders/ord_1' })],
  ['the order is a script', () => answer({ order_status_url: 'javascript:alert(1)' })],
  [
    'the order is on a host that begins alike',
    () => answer({ order_status_url: `${stage.farebox.url}.evil.example/` }),
  ],
  ['the order is behind a user name', () => answer({ order_status_url: `${stage.farebox.url}@evil.example/` })],
  ['the order is a line of a header', () => answer({ order_id: 'x\r\nset-cookie: a=b' })],
  ['the wallet is a script', () => answer({ taler_pay_uri: 'javascript:alert(1)' })],
  ['it is endless', () => says(200, `{"entitled":true,"x":"${'x'.repeat(200_000)}"}`)],
];

describe('nobody is let in, and the reader is told to come back, when', () => {
  test.each(lies)('%s', async (_what, trouble) => {
    server.relay.meet(trouble());
    const page = await reader.open(server.url + PATH);
    expect([page.status, page.location, page.text.includes(PAID_FOR)]).toEqual([503, '', false]);
    expect(page.text).toContain('Nothing was charged');
    expect(Number(page.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(page.headers.get('cache-control')).toBe('private, no-store');
    const program = await reader.open(server.url + PATH, { accept: 'application/json' });
    expect([program.status, program.body.status, program.headers.get('retry-after')]).toEqual([503, 503, '5']);
  });

  test('it is not there at all', async () => {
    const gone = await stage.server();
    await gone.relay.close();
    const seen = await reader.open(gone.url + PATH);
    expect([seen.status, seen.text.includes(PAID_FOR)]).toEqual([503, false]);
    await gone.app.close();
  });

  test.each([
    ['never answers', (): Trouble => () => true],
    [
      'never comes to an end',
      (): Trouble =>
        ({ reply }) =>
          reply.writeHead(200).write('{"entitled":true,') || true,
    ],
  ])('it %s: the reader waits no longer than the deadline', async (_what, trouble) => {
    const slow = await stage.server({
      farebox: { url: server.relay.url, publicUrl: stage.farebox.url, apiKey: 'any', deadlineMs: 200 },
    });
    server.relay.meet(trouble());
    const seen = await reader.open(slow.url + PATH); // without a deadline it would never end
    expect([seen.status, seen.text.includes(PAID_FOR)]).toEqual([503, false]);
    await slow.close();
  });
});

test('when Farebox has too much to do, its word for how long is handed on, within reason', async () => {
  for (const [told, handedOn] of [
    ['7', '7'],
    ['86400', '120'],
    ['soon', '5'],
    ['-1', '5'],
  ] as const) {
    server.relay.meet(says(429, '{"code":"rate_limited"}', { 'retry-after': told }));
    expect((await reader.open(server.url + PATH)).headers.get('retry-after'), told).toBe(handedOn);
  }
});

test('an answer that is entitled and refunded at once opens nothing', async () => {
  server.relay.meet(answer({ entitled: true, refunded: true }));
  const seen = await reader.open(server.url + PATH);
  expect([seen.status, seen.text.includes(PAID_FOR)]).toEqual([200, false]);
  expect(seen.text).toContain('Your money went back');
});

test('what is known to be paid is served on while Farebox is away', async () => {
  const kept = await stage.server({ cacheMs: 3_600_000 });
  expect((await reader.open(kept.url + PATH)).text).toContain(PAID_FOR);
  kept.relay.meet(({ reply }) => Boolean(reply.destroy()));
  expect((await reader.open(kept.url + PATH)).text).toContain(PAID_FOR);
  expect((await reader.open(`${kept.url}/articles/double-entry`)).status).toBe(503);
  await kept.close();
});

describe('the shop does not open', () => {
  const start = async (settings: Record<string, string>) => {
    const child = spawn(process.execPath, ['examples/storefront/main.ts'], {
      env: { PATH: process.env['PATH'] ?? '', FAREBOX_HOME: '/nowhere', ...settings },
    });
    const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
    return { said, code };
  };

  test('without its settings, and says which and what to do', async () => {
    const { said, code } = await start({ SHOP_URL: stage.shopUrl });
    expect(code).toBe(2);
    expect(said).toContain('FAREBOX_URL, FAREBOX_API_KEY, SHOP_COOKIE_KEY not set');
    expect(said).toContain('npm start');
  });

  test('where something else listens', async () => {
    const settings = { FAREBOX_URL: stage.farebox.url, FAREBOX_API_KEY: 'k', SHOP_COOKIE_KEY: stage.cookieKey };
    const { said, code } = await start({ SHOP_URL: stage.shopUrl, ...settings });
    expect(code).toBe(2);
    expect(said).toContain('EADDRINUSE');
    expect(said).not.toContain('    at ');
  });
});
