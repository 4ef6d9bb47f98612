import { execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { articles } from '../../examples/storefront/articles.ts';
import { openPaywall } from '../../examples/storefront/paywall.ts';
import type { Client } from '../harness/client.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { standing } from '../orders/stage.ts';
import { openStorefrontStage, orderAt, type StorefrontStage } from './stage.ts';

/** The steps SF1 to SF9 of a storefront, its scenarios and requirements, with the shop and Farebox on two hosts. */

let stage: StorefrontStage;
beforeAll(async () => {
  stage = await openStorefrontStage();
});
afterEach(async () => {
  expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
});
afterAll(() => stage.close());

const CHEAP = '/articles/small-change';
const DEAR = '/articles/double-entry';
const PAID_FOR = articles.flatMap(({ text }) => text);
const isContent = (text: string) => PAID_FOR.some((paragraph) => text.includes(paragraph.slice(0, 40)));
const JSON_ONLY = { accept: 'application/json' };

const ordersMade = async () => Number((await stage.root`select count(*) from payments.orders`)[0]?.['count']);
const refund = (orderId: string) =>
  stage.shop.ok('POST', `/private/orders/${orderId}/refund`, { body: { refund: 'CREDITS:1', reason: 'not needed' } });
const availableOf = async (customer: Client) => (await customer.ok('GET', '/v1/credits/balance')).available;

/** A browser that has bought an article with a wallet, and the wallet. */
async function reader(path = CHEAP) {
  const [browser, wallet] = [stage.browser(), await stage.richWallet(100)];
  const order = orderAt((await browser.open(path)).location);
  const hash = await wallet.buy(order);
  return { browser, wallet, order, hash };
}

// REQ O6
describe('a visit', () => {
  test('SF1: an address that is of nothing is not found, makes no order and no session', async () => {
    const before = await ordersMade();
    for (const path of ['/articles/none', '/articles/%00', '/articles/..%2f..%2fx', '/articles/', '/x']) {
      const seen = await stage.browser().open(path);
      expect([seen.status, seen.headers.getSetCookie()], path).toEqual([404, []]);
    }
    expect((await stage.browser().open('/articles/%zz')).status).toBe(400);
    expect(await ordersMade()).toBe(before);
  });

  test('SF2: a cookie that is forged, cut, or signed by another key is no session, and no error', async () => {
    const { browser } = await reader();
    expect(isContent((await browser.open(CHEAP)).text), 'with the real one').toBe(true);
    const [secret = '', signature = ''] = browser.session().split('.');
    const byOther = createHmac('sha256', 'another key, which is as long as ours').update(secret).digest('base64url');
    const forged = {
      ...{ 'no signature': secret, 'an empty one': `${secret}.`, 'half of one': `${secret}.${signature.slice(0, 20)}` },
      ...{ 'of another key': `${secret}.${byOther}`, 'of another secret': `x${secret}.${signature}` },
      ...{
        'more than one': `${secret}.${signature}.${signature}`,
        nothing: '',
        dots: '...',
        'no secret': `.${signature}`,
      },
      'not ASCII': '%F0%9F%98%80.x',
    };
    for (const [what, value] of Object.entries(forged)) {
      const seen = await stage.browser().open(CHEAP, { cookie: `farebox_session=${value}` });
      expect([seen.status, isContent(seen.text)], what).toEqual([302, false]);
      expect(seen.headers.getSetCookie()[0], what).toMatch(/^farebox_session=/);
      expect(seen.headers.getSetCookie()[0], what).not.toContain(secret);
    }
    const both = `farebox_session=${secret}.bad; farebox_session=${browser.session()}`;
    expect(isContent((await stage.browser().open(CHEAP, { cookie: both })).text), 'one good, one not').toBe(true);
  });

  test('SF3: what is known to be paid is served without asking again', async () => {
    const { browser } = await reader();
    const server = await stage.server({ cacheMs: 60_000 });
    onTestFinished(server.close);
    for (let n = 0; n < 3; n += 1)
      expect(isContent((await browser.open(server.url + CHEAP)).text), String(n)).toBe(true);
    expect(server.relay.calls).toEqual(['POST /private/entitlements/check']);
  });

  test('SF4: a new session comes along with whatever is answered', async () => {
    const server = await stage.server();
    onTestFinished(server.close);
    const answers = [await stage.browser().open(CHEAP), await stage.browser().open(CHEAP, JSON_ONLY)];
    server.relay.meet(({ reply }) => Boolean(reply.destroy()));
    answers.push(await stage.browser().open(server.url + CHEAP));
    expect(answers.map(({ status }) => status)).toEqual([302, 402, 503]);
    for (const { headers } of answers) {
      const [cookie = ''] = headers.getSetCookie();
      expect(cookie).toMatch(/^farebox_session=[\w-]{32}\.[\w-]{43}; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Lax$/);
    }
    const { browser } = await reader();
    expect((await browser.open(CHEAP)).headers.getSetCookie().join(), 'no new one for who has one').not.toContain(
      'session',
    );
  });

  test('SF4: over https the cookie is Secure, and no other host of the domain can set it', async () => {
    const server = await stage.server({ url: 'https://shop.example.com' });
    onTestFinished(server.close);
    const seen = await stage.browser().open(server.url + CHEAP);
    expect(seen.headers.getSetCookie()[0]).toMatch(
      /^__Host-farebox_session=.*; Path=\/; .*HttpOnly; SameSite=Lax; Secure$/,
    );
  });

  test('SF5: without an order one is made, for this article and session', async () => {
    const browser = stage.browser();
    const order = orderAt((await browser.open(DEAR)).location);
    expect(await standing(stage, order, order.sessionId)).toMatchObject({
      ...{ order_status: 'unpaid', total_amount: 'CREDITS:25', summary: articles[1]?.title },
    });
    const [row] = await stage.root`select * from payments.orders where order_id = ${order.id}`;
    expect(row).toMatchObject({
      ...{ resource: 'double-entry', session_id: order.sessionId },
      ...{ fulfillment_url: stage.shopUrl + DEAR, public_reorder_url: `${stage.shopUrl}${DEAR}?again` },
    });
  });

  test('SF6: an order that is named and does not exist, or is another shop’s, is as good as none', async () => {
    for (const hint of ['ord_01jd00000000000000000000', 'nothing', '%27%20or%201=1', 'x'.repeat(300), '..%2f..', '%00'])
      expect((await stage.browser().open(`${CHEAP}?order_id=${hint}`)).status, hint).toBe(302);
  });

  test('SF7: of what went back the reader is told, and can buy it again', async () => {
    const { browser, order, wallet } = await reader();
    expect(isContent((await browser.open(CHEAP)).text)).toBe(true);
    await refund(order.id);
    const told = await browser.open(CHEAP);
    expect([told.status, isContent(told.text)]).toEqual([200, false]);
    expect(told.text).toContain('Your money went back');
    expect((await browser.open(CHEAP, JSON_ONLY)).body).toMatchObject({ status: 402, refunded: true });
    const link = /href="([^"]*again)"/.exec(told.text)?.[1] ?? '';
    const again = orderAt((await browser.open(link)).location);
    expect(again.id).not.toBe(order.id);
    await wallet.buy(again);
    expect(isContent((await browser.open(CHEAP)).text)).toBe(true);
  });

  test('SF8: paid content is served, for this browser alone, and kept by nobody on the way', async () => {
    const { browser } = await reader();
    const seen = await browser.open(CHEAP);
    expect([seen.status, isContent(seen.text)]).toEqual([200, true]);
    expect(seen.headers.get('cache-control')).toBe('private, no-store');
    expect(seen.headers.get('vary')).toMatch(/\bCookie\b/);
    expect(seen.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(isContent((await browser.open(CHEAP, JSON_ONLY)).text), 'to programs, too').toBe(true);
  });

  test('SF9: everybody else is led to the order, and a program gets it in its hand', async () => {
    const browser = stage.browser();
    const seen = await browser.open(CHEAP);
    expect([seen.status, new URL(seen.location).origin]).toEqual([302, stage.farebox.url]);
    expect(seen.headers.get('cache-control')).toBe('private, no-store');
    expect((await browser.go(CHEAP)).status).toBe(402);
    const program = await browser.open(CHEAP, JSON_ONLY);
    expect(program.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect(program.body).toMatchObject({
      ...{ status: 402, order_id: orderAt(seen.location).id, order_status_url: seen.location, refunded: false },
      ...{ pay_uri: expect.stringMatching(/^farebox\+http:\/\/pay\//), expires_at: expect.stringMatching(/Z$/) },
    });
    expect((await browser.open(CHEAP, { accept: '*/*' })).status).toBe(302);
    expect((await browser.open(CHEAP, { method: 'HEAD' })).status).toBe(302);
  });

  /** Another shop with the same paywall, on routes that the example does not have. */
  async function otherShop(): Promise<{ app: FastifyInstance; port: number }> {
    const app = Fastify();
    onTestFinished(() => app.close());
    const paywall = openPaywall({
      farebox: { url: stage.farebox.url, apiKey: stage.settings['FAREBOX_API_KEY'] ?? '' },
      ...{ url: stage.shopUrl, cookieKey: stage.cookieKey },
    });
    const guard = { preHandler: paywall({ resource: ({ url }) => url.slice(0, 100), price: 3, summary: 'Letters' }) };
    app.post('/letters', guard, () => 'sent');
    app.get('/*', guard, () => 'read');
    await app.listen({ host: '127.0.0.1', port: 0 });
    return { app, port: (app.server.address() as AddressInfo).port };
  }

  test('SF9: after a form it is 303, so that the browser comes by GET', async () => {
    const { app } = await otherShop();
    const reply = await app.inject({ method: 'POST', url: '/letters' });
    expect([reply.statusCode, reply.body]).toEqual([303, '']);
  });

  // K04
  test('SF9: the way back is the shop, whatever the address and the host of the request look like', async () => {
    const { port } = await otherShop();
    const back = async (path: string) => {
      const asked = get({ host: '127.0.0.1', port, path, headers: { host: 'evil.example' } });
      const [{ headers }] = (await once(asked, 'response')) as [IncomingMessage];
      const id = orderAt(headers.location ?? '').id;
      const [row] = await stage.root`select fulfillment_url from payments.orders where order_id = ${id}`;
      return row?.['fulfillment_url'];
    };
    expect(await back('/letters?next=https://evil.example/')).toBe(`${stage.shopUrl}/letters`);
    for (const path of ['//evil.example/x', '/\\evil.example/x', '/@evil.example', '/.evil.example:1@x'])
      expect(await back(path), path).toMatch(new RegExp(`^${stage.shopUrl}/`));
  });
});

// REQ O9
test('SC1: a wallet that has paid opens it in another browser, and nothing is charged', async () => {
  const { browser: first, wallet, order, hash } = await reader();
  const second = stage.browser();
  const waiting = await second.open(CHEAP);
  const fresh = orderAt(waiting.location);
  const claimed = await wallet.claim(fresh);
  expect(claimed.body).toMatchObject({ already_paid_order_id: order.id });
  await wallet.prove(order, hash, fresh.sessionId ?? '');
  const landed = await second.go(waiting.location);
  expect([landed.url, isContent(landed.text)]).toEqual([stage.shopUrl + CHEAP, true]);
  expect(await availableOf(wallet.customer), 'paid once').toBe(95);
  expect(isContent((await first.open(CHEAP)).text), 'one browser at a time').toBe(false);
});

// REQ O10
test('SC2: without the wallet a bookmark says that it is paid, and leads to a purchase that can be paid', async () => {
  const { order, hash } = await reader();
  const other = stage.browser();
  const bookmark = `${stage.farebox.url}/orders/${order.id}?h_contract=${hash}&session_id=${'s'.repeat(20)}`;
  const page = await other.open(bookmark);
  expect(page.status).toBe(402);
  expect(page.text).toContain('Already paid');
  const link = /href="([^"]+)">Make a new purchase/.exec(page.text)?.[1] ?? '';
  expect(link).toBe(`${stage.shopUrl}${CHEAP}?again`);
  const fresh = orderAt((await other.open(link)).location);
  await (await stage.richWallet(10)).buy(fresh);
  expect(isContent((await other.open(CHEAP)).text)).toBe(true);
});

// REQ O3
describe('R3: a link that is passed on opens nothing', () => {
  test('A4: whatever stands in it: an order in an address or cookie is a hint, and opens nothing', async () => {
    const { browser, order, hash } = await reader();
    await browser.open(CHEAP);
    const links = [
      ...[CHEAP, `${CHEAP}?order_id=${order.id}`, `${CHEAP}?session_id=${order.sessionId}&order_id=${order.id}`],
      `${CHEAP}?h_contract=${hash}&token=${order.token}`,
    ];
    for (const link of links) {
      const seen = await stage.browser().open(link);
      expect([seen.status, isContent(seen.text)], link).toEqual([302, false]);
    }
    const hinted = await stage.browser().open(CHEAP, { cookie: `farebox_order=${order.id}` });
    expect([hinted.status, isContent(hinted.text)], 'nor the cookie that names the order').toEqual([302, false]);
  });

  test('A17: nor does the public id of a session, as a cookie or in the address', async () => {
    const { browser, order } = await reader();
    const id = order.sessionId ?? '';
    const tries = [`farebox_session=${id}`, `farebox_session=${id}.${browser.session().split('.')[1]}`];
    for (const cookie of tries) expect(isContent((await stage.browser().open(CHEAP, { cookie })).text)).toBe(false);
  });

  test('A17: session fixation: a session from the address never becomes the browser’s', async () => {
    const fixed = 'attackers-own-session-id';
    const victim = stage.browser();
    const seen = await victim.open(`${CHEAP}?session_id=${fixed}&farebox_session=${fixed}`);
    expect(orderAt(seen.location).sessionId).not.toBe(fixed);
    expect(victim.session()).not.toContain(fixed);
    expect(orderAt((await victim.open(CHEAP)).location).sessionId).toBe(orderAt(seen.location).sessionId);
  });
});

// REQ O3
// Pay for the cheap article, and put its order on the dear one.
test('A5: a resource swap opens nothing: an order is for its own article, wherever it is put', async () => {
  const { browser, order } = await reader(CHEAP);
  expect(isContent((await browser.open(CHEAP)).text)).toBe(true);
  const tries = [
    await browser.open(DEAR),
    await browser.open(`${DEAR}?order_id=${order.id}`),
    await browser.open(DEAR, { cookie: `${browser.cookies()}; farebox_order=${order.id}` }),
    await browser.open(`${DEAR}?resource=small-change&order_id=${order.id}`),
  ];
  for (const seen of tries) {
    expect([seen.status, isContent(seen.text)]).toEqual([302, false]);
    expect(orderAt(seen.location).id).not.toBe(order.id);
  }
});

// REQ O4
test('R4: a visit is one call to Farebox', async () => {
  const server = await stage.server();
  onTestFinished(server.close);
  const browser = stage.browser();
  await browser.open(server.url + CHEAP);
  await browser.open(server.url + CHEAP);
  expect(server.relay.calls).toEqual(['POST /private/entitlements/check', 'POST /private/entitlements/check']);
});

// REQ O4
test('R4: the recipe for shops in other languages works as it is written', async () => {
  const readme = readFileSync('examples/storefront/README.md', 'utf8').split('## Without this code')[1] ?? '';
  const [check = '', wait = ''] = [...readme.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, lines = '']) => lines);
  const sh = async (lines: string) => {
    const env = { PATH: process.env['PATH'] ?? '', ...stage.settings };
    return JSON.parse((await promisify(execFile)('bash', ['-euc', lines], { env })).stdout);
  };
  const first = await sh(check);
  expect(first).toMatchObject({ entitled: false, order_status_url: expect.stringContaining(stage.farebox.url) });
  const order = orderAt(first.order_status_url);
  const waiting = sh(wait.replace('ord_…', order.id));
  await (await stage.richWallet()).buy(order);
  expect(await waiting).toMatchObject({ order_status: 'paid' });
  expect(await sh(check)).toMatchObject({ entitled: true, order_id: order.id });
});

// REQ O5
test('R5: links and bookmarks of every age end at a page for people', async () => {
  const { browser, order, hash } = await reader();
  const status = `${stage.farebox.url}/orders/${order.id}`;
  expect(isContent((await browser.go(`${status}?h_contract=${hash}&session_id=${order.sessionId}`)).text)).toBe(true);
  const old = await stage.browser().go(`${status}?token=${order.token}&session_id=${order.sessionId}`);
  expect(old.status, 'the link from before it was paid, in the hands of somebody else').toBe(402);
  expect(old.url, 'an order of their own').not.toContain(order.id);
  for (const link of [status, `${status}?token=wrong`, `${stage.farebox.url}/orders/nothing`]) {
    const seen = await stage.browser().go(link);
    expect(seen.status < 500 && seen.text.includes('<h1>'), link).toBe(true);
    expect(isContent(seen.text), link).toBe(false);
  }
});

test('A15: two tabs, a reload and a retry are about one order', async () => {
  const browser = stage.browser();
  const first = orderAt((await browser.open(CHEAP)).location);
  const tabs = await Promise.all(Array.from({ length: 6 }, () => browser.open(CHEAP)));
  expect(new Set(tabs.map(({ location }) => orderAt(location).id))).toEqual(new Set([first.id]));
});

// REQ O3
test('A17: the value of the cookie stands in no address, QR code, page, table or log', async () => {
  const { browser, order, hash } = await reader();
  const [secret = ''] = browser.session().split('.');
  const read = [
    await browser.open(CHEAP),
    await browser.open(DEAR),
    await browser.open(DEAR, JSON_ONLY),
    await browser.go(DEAR),
    await browser.go(`${stage.farebox.url}/orders/${order.id}?h_contract=${hash}&session_id=${order.sessionId}`),
  ];
  expect(secret).toHaveLength(32);
  for (const { text, url, location } of read) expect(`${text} ${url} ${location}`).not.toContain(secret);
  const rows = await stage.root`select to_jsonb(o)::text as text from payments.orders o
    union all select payload::text from platform.events`;
  expect(rows.map(({ text }) => text).join()).not.toContain(secret);
  expect(stage.log(), 'the shop logs its requests').toContain(DEAR);
  expect(stage.log()).not.toContain(secret);
});

test('what stands in a title is text, in the shop, on the status page and in the terms', async () => {
  const title = `</title><script>alert(1)</script>"'><img src=x onerror=alert(2)>\u0000\r\nSet-Cookie: x=1`;
  const evil = { slug: 'e', title, price: 1, text: [`<script>alert(3)</script>`] };
  const server = await stage.server({}, [evil]);
  onTestFinished(server.close);
  const browser = stage.browser();
  const waiting = await browser.open(`${server.url}/articles/e`);
  const pages = [await browser.open(`${server.url}/`), await browser.open(waiting.location)];
  await (await stage.richWallet()).buy(orderAt(waiting.location));
  pages.push(await browser.open(`${server.url}/articles/e`));
  expect(pages.map(({ status }) => status)).toEqual([200, 402, 200]);
  for (const { text, headers } of pages) {
    expect(text).not.toMatch(/<script>alert|<img src=x/);
    expect(text).toContain('&#60;script&#62;');
    expect(headers.getSetCookie().join()).not.toContain('x=1');
  }
});

describe('entitlements that are kept', () => {
  test('end with their time: a refund counts from then on', async () => {
    let now = 1_000_000;
    const server = await stage.server({ cacheMs: 5_000, now: () => now });
    onTestFinished(server.close);
    const { browser, order } = await reader();
    const look = async () => isContent((await browser.open(server.url + CHEAP)).text);
    expect(await look()).toBe(true);
    await refund(order.id);
    now += 4_999;
    expect(await look(), 'so long it may still be read').toBe(true);
    expect(server.relay.calls).toHaveLength(1);
    now += 1;
    expect(await look()).toBe(false);
  });

  test('end at once when another browser of the order takes its place', async () => {
    const server = await stage.server({ cacheMs: 3_600_000 });
    onTestFinished(server.close);
    const { browser: first, wallet, order, hash } = await reader();
    const look = async (browser: typeof first) => isContent((await browser.open(server.url + CHEAP)).text);
    expect(await look(first)).toBe(true);
    const second = stage.browser();
    const { sessionId = '' } = orderAt((await second.open(server.url + CHEAP)).location);
    await wallet.prove(order, hash, sessionId);
    expect(await look(second)).toBe(true);
    expect(await look(first)).toBe(false);
  });

  test('are of one session and one article', async () => {
    const server = await stage.server({ cacheMs: 3_600_000 });
    onTestFinished(server.close);
    const { browser } = await reader();
    expect(isContent((await browser.open(server.url + CHEAP)).text)).toBe(true);
    expect(isContent((await browser.open(server.url + DEAR)).text)).toBe(false);
    expect(isContent((await stage.browser().open(server.url + CHEAP)).text)).toBe(false);
  });
});
