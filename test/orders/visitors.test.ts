import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { createVisitors } from '../../src/payments/orders/visitors.ts';
import { createVault } from '../../src/platform/secrets.ts';
import { type Client, type Json, newMerchant } from '../harness/client.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { newSession, type Order, type OrderStage, openOrderStage, SHOP } from './stage.ts';

/** Browsers that come from an e-mail or a message: they have no session of the shop's, and get into the shop in one go. */

let stage: OrderStage;
beforeAll(async () => {
  stage = await openOrderStage();
});
afterEach(async () => {
  expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
});
afterAll(() => stage.close());

const ARTICLE = `${SHOP}/articles/by-mail`;

/** As a browser opens it: what it was sent, and what it keeps. */
async function open(address: string, cookie = '') {
  const headers = { accept: 'text/html', ...(cookie === '' ? {} : { cookie }) };
  const reply = await fetch(address, { redirect: 'manual', headers });
  const html = await reply.text();
  return {
    ...{ status: reply.status, html, location: reply.headers.get('location') ?? '' },
    ...{ setCookie: reply.headers.get('set-cookie') ?? '', link: reply.headers.get('link') ?? '' },
    sessionId: /data-session="([^"]*)"/.exec(html)?.[1] ?? '',
  };
}

/** A paid order whose link came by mail, the browser that it was paid in, and the code that it is led on with. */
async function paidByMail(more: Json = {}) {
  const resource = randomUUID();
  const order = await stage.order({ fulfillment_url: ARTICLE, resource, ...more });
  const link = `${stage.farebox.url}/orders/${order.id}?token=${order.token}`;
  const page = await open(link);
  const cookie = page.setCookie.split(';', 1)[0] ?? '';
  const mine: Order = { ...order, sessionId: page.sessionId };
  const hash = await (await stage.richWallet()).buy(mine);
  const led = await open(link, cookie);
  const code = new URL(led.location).searchParams.get('farebox_code') ?? '';
  return { order: mine, link, cookie, resource, hash, code, led };
}

const check = (session: string, resource: string, more: Json = {}, shop: Client = stage.shop): Promise<Json> =>
  shop.ok('POST', '/private/entitlements/check', {
    body: {
      ...{ session_id: session, resource },
      order: { amount: 'CREDITS:40', summary: 'On paying once', fulfillment_url: ARTICLE },
      ...more,
    },
  });

test('A12: the page gives a newcomer a session of its own, which stands in links and code; its secret does not', async () => {
  const order = await stage.order({ fulfillment_url: ARTICLE });
  const link = `${stage.farebox.url}/orders/${order.id}?token=${order.token}`;
  const page = await open(link);
  expect(page.status).toBe(402);
  expect(page.setCookie).toMatch(/^farebox_visit=[\w-]{32}; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Lax$/);
  const secret = /=([\w-]{32});/.exec(page.setCookie)?.[1] ?? '?';
  expect(page.html + page.link).not.toContain(secret);
  expect(page.link).toBe(
    `<farebox+http://pay/${new URL(stage.farebox.url).host}/orders/`.replace('/orders/', '/') +
      `${order.id}/${page.sessionId}?c=${order.token}>; rel="payment"`,
  );
  const again = await open(link, `farebox_visit=${secret}`);
  expect([again.sessionId, again.setCookie]).toEqual([page.sessionId, '']);
  const other = await stage.order({ fulfillment_url: ARTICLE });
  const elsewhere = await open(
    `${stage.farebox.url}/orders/${other.id}?token=${other.token}`,
    `farebox_visit=${secret}`,
  );
  expect(elsewhere.sessionId, 'one browser has another name for each order').not.toBe(page.sessionId);
  // Who comes with a session of the shop's keeps that one, and is given nothing.
  const session = newSession();
  const own = await open(`${link}&session_id=${session}`);
  expect([own.sessionId, own.setCookie]).toEqual([session, '']);
});

test('A12: the code opens the article to the session that brings it, once', async () => {
  const { led, code, resource, order, link } = await paidByMail();
  expect([led.status, led.location.startsWith(ARTICLE)]).toEqual([302, true]);
  const [mine, thief] = [newSession(), newSession()];
  expect(await check(mine, resource, { code })).toMatchObject({ entitled: true, order_id: order.id });
  expect(await check(mine, resource, { code }), 'asked again, since an answer may be lost').toMatchObject({
    entitled: true,
  });
  expect(await check(thief, resource, { code })).toMatchObject({ entitled: false });
  expect(await check(mine, resource)).toMatchObject({ entitled: true });
  const alive = await stage.root`
    select s.session_id from payments.order_sessions s join payments.orders o on o.id = s.order_id
    where o.order_id = ${order.id} and s.evicted_at is null`;
  expect(alive.map((row) => row['session_id'])).toEqual([mine]);
  // Without the cookie the link leads to no code, whoever has it.
  expect((await open(link)).location).toBe('');
  expect((await open(`${link}&session_id=${order.sessionId}`)).location).toBe('');
});

test('of ten shops’ servers that bring one code at once, one lets its browser in', async () => {
  const { code, resource } = await paidByMail();
  const all = await Promise.all(Array.from({ length: 10 }, () => check(newSession(), resource, { code })));
  expect(all.filter(({ entitled }) => entitled)).toHaveLength(1);
});

test('a code that is forged, of another article, another shop, too old or of what was given back opens nothing', async () => {
  const { code, resource, order } = await paidByMail();
  const [orderId = '', sessionId = '', until = '', signature = ''] = code.split('~');
  const changed = [
    '',
    'x',
    '~~~',
    code.slice(0, -1),
    `${code}~`,
    [orderId, newSession(), until, signature].join('~'),
    [orderId, sessionId, String(Number(until) + 1), signature].join('~'),
    [orderId, sessionId, until, ''].join('~'),
    'x'.repeat(400),
  ];
  for (const one of changed)
    expect(await check(newSession(), resource, { code: one }), one).toMatchObject({ entitled: false });
  expect(await check(newSession(), randomUUID(), { code })).toMatchObject({ entitled: false });
  const other = await newMerchant(stage.farebox);
  expect(await check(newSession(), resource, { code }, other)).toMatchObject({ entitled: false });
  await stage.shop.ok('POST', `/private/orders/${order.id}/refund`, {
    body: { refund: 'CREDITS:40', reason: 'a misprint' },
  });
  expect(await check(newSession(), resource, { code })).toMatchObject({ entitled: false });
  const tooLong = await stage.shop.call('POST', '/private/entitlements/check', {
    body: {
      session_id: newSession(),
      resource,
      order: { amount: 'CREDITS:40', summary: 'x', fulfillment_url: ARTICLE },
      code: 'x'.repeat(401),
    },
  });
  expect([tooLong.status, tooLong.body.errors?.[0]?.pointer]).toEqual([422, '/code']);
});

test('a code is good for five minutes', () => {
  const vault = createVault([{ id: 'k1', key: Buffer.alloc(32, 1) }]);
  const visitors = createVisitors({ vault, publicUrl: 'https://pay.example.com' });
  const code = visitors.codeFor('ord_1', 'session-1');
  expect(visitors.readCode(code)).toEqual({ orderId: 'ord_1', sessionId: 'session-1' });
  const now = Date.now();
  const later = (ms: number) => {
    const real = Date.now;
    Date.now = () => now + ms;
    try {
      return visitors.readCode(code);
    } finally {
      Date.now = real;
    }
  };
  expect(later(298_000)).toBeDefined();
  expect(later(301_000)).toBeUndefined();
  expect(visitors.welcome('ord_1').setCookie).toMatch(/^__Host-farebox_visit=.*; Secure$/);
});

test('a phone that proves an older order for the page of a mail leads its browser on with a code, too', async () => {
  const resource = randomUUID();
  const wallet = await stage.richWallet();
  const older = await stage.order({ fulfillment_url: ARTICLE, resource });
  const hash = await wallet.buy(older, newSession());
  const order = await stage.order({ fulfillment_url: ARTICLE, resource });
  const link = `${stage.farebox.url}/orders/${order.id}?token=${order.token}`;
  const page = await open(link);
  await wallet.prove(older, hash, page.sessionId);
  const led = await open(link, page.setCookie.split(';', 1)[0]);
  const code = new URL(led.location).searchParams.get('farebox_code') ?? '';
  expect(await check(newSession(), resource, { code })).toMatchObject({ entitled: true, order_id: older.id });
});

test('A3 A15: a shop may ask for a new order when another wallet has taken the one that is open; else it gets the same', async () => {
  const [session, resource] = [newSession(), randomUUID()];
  const first = await check(session, resource);
  expect(await check(session, resource, { again: true })).toMatchObject({ order_id: first.order_id });
  const address = new URL(first.order_status_url);
  const order = { id: first.order_id, token: address.searchParams.get('token') ?? undefined, sessionId: session };
  const wallet = await stage.richWallet();
  const { body } = await wallet.claim(order);
  expect(await check(session, resource)).toMatchObject({ order_id: first.order_id });
  const second = await check(session, resource, { again: true });
  expect(second.order_id).not.toBe(first.order_id);
  expect(await check(session, resource)).toMatchObject({ order_id: second.order_id });
  // The one that was left may still be paid: then it opens, and nothing is lost.
  await wallet.pay(order, body.h_contract, session);
  expect(await check(session, resource, { again: true })).toMatchObject({ entitled: true, order_id: first.order_id });
});
