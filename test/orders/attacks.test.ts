import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Json, Reply } from '../harness/client.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { expire } from './rail-stage.ts';
import { newSession, type Order, type OrderStage, openOrderStage, SHOP, seen } from './stage.ts';

/** What somebody with bad intentions tries at an order whose address they have seen, or half of it. */

let stage: OrderStage;
beforeAll(async () => {
  stage = await openOrderStage();
});
afterEach(async () => {
  expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
});
afterAll(() => stage.close());

const page = async ({ id }: Pick<Order, 'id'>, query: Record<string, string>) => {
  const link = `${stage.farebox.url}/orders/${id}?${new URLSearchParams(query)}`;
  const reply = await fetch(link, { redirect: 'manual', headers: { accept: 'text/html' } });
  return { status: reply.status, to: reply.headers.get('location'), html: await reply.text() };
};
/** All of a refusal, but for what names this one request. */
const told = ({ status, body }: Reply) => {
  const { request_id: _, instance: __, ...rest } = body;
  return { status, ...rest };
};

describe('guessing the claim token', () => {
  const guesses = (right: string | undefined) => [
    undefined,
    '',
    'A'.repeat(22),
    `${right?.slice(0, -1)}${right?.endsWith('A') ? 'B' : 'A'}`,
    `${right}x`,
    right?.toLowerCase(),
  ];

  test('tells nothing: a wrong token, none, and no order at all are answered alike to whoever would claim', async () => {
    const order = await stage.order();
    const nobody = told(await stage.wallet().claim({ ...order, id: `ord_${randomUUID()}` }));
    expect(nobody).toMatchObject({ status: 404, code: 'not_found' });
    for (const token of guesses(order.token)) {
      expect(told(await stage.wallet().claim({ ...order, token })), token).toEqual(nobody);
    }
  });

  test('tells nothing at the status page, before the payment and after it', async () => {
    const [order, session] = [await stage.order({ public_reorder_url: `${SHOP}/again` }), newSession()];
    const looks = async () => {
      const all = [];
      for (const token of guesses(order.token)) {
        const shown = { ...(token === undefined ? {} : { token }), session_id: session };
        all.push({ token, json: told(await seen(stage, order, shown)), html: await page(order, shown) });
      }
      return all;
    };
    for (const { token, json, html } of await looks()) {
      expect([json.status, html.status], token).toEqual([403, 403]);
      expect(html.html, 'and nothing of the order').not.toContain('On paying once');
    }
    await (await stage.richWallet()).buy(order, session);
    // An old link is told by its having a token, whatever stands in it.
    const paid = (await looks()).filter(({ token }) => token !== undefined);
    expect(new Set(paid.map(({ json, html }) => JSON.stringify([json.status, html.status, html.to]))).size).toBe(1);
    expect(told(await seen(stage, order, { token: order.token }))).toEqual(paid[0]?.json);
  });
});

test('an open redirect: the page leads to what the shop has said, and to nothing that stands in a link', async () => {
  const [address, session] = [`${SHOP}/${randomUUID()}`, newSession()];
  const order = await stage.order({ fulfillment_url: address }, { session_id: session });
  const evil = 'https://evil.example/';
  const more = { fulfillment_url: evil, public_reorder_url: evil, return_uri: evil, redirect: evil, next: evil };
  const waiting = await page(order, { token: order.token ?? '', session_id: session, ...more });
  expect([waiting.status, waiting.html.includes('evil.example')]).toEqual([402, false]);
  const hash = await (await stage.richWallet()).buy(order, session);
  expect((await page(order, { h_contract: hash, session_id: session, ...more })).to).toBe(address);
});

describe('a script', () => {
  const EVIL = `"'><script>alert(1)</script><img src=x onerror=alert(2)>`;
  const isClean = (html: string) => !/<script>alert|<img src=x|onerror=alert\(2\)>/.test(html);

  test('in what the shop says is text, in every state that shows it', async () => {
    const texts = { summary: EVIL, fulfillment_message: EVIL, resource: EVIL, extra: { [EVIL]: EVIL } };
    const order = await stage.order({ ...texts, fulfillment_url: undefined });
    const token = { token: order.token ?? '' };
    const wallet = await stage.richWallet();
    const states: [status: number, change: () => Promise<Record<string, string>>][] = [
      [402, async () => token],
      [402, async () => ({ h_contract: (await wallet.claim(order)).body.h_contract })],
    ];
    for (const [status, change] of states) {
      const { html, ...shown } = await page(order, await change());
      expect([shown.status, isClean(html), html.includes('&#60;script&#62;')]).toEqual([status, true, true]);
    }
    const again = await stage.order({ ...texts, fulfillment_url: undefined });
    const hash = await wallet.buy(again, null);
    const paid = await page(again, { h_contract: hash });
    expect([paid.status, isClean(paid.html), paid.html.includes('&#60;script&#62;')]).toEqual([200, true, true]);
    await expire(stage, order);
    const over = await page(order, token);
    expect([over.status, isClean(over.html)]).toEqual([410, true]);
  });

  test('in what stands in a link is not repeated', async () => {
    const order = await stage.order();
    const hash = await (await stage.richWallet()).buy(order, null);
    const queries: Record<string, string>[] = [
      ...['token', 'claim_token', 'h_contract', 'session_id', 'timeout_ms'].map((name) => ({
        [name]: EVIL.slice(0, 190),
      })),
      { h_contract: hash, session_id: EVIL },
      { h_contract: hash, [EVIL]: EVIL },
    ];
    for (const query of queries) {
      const { html, to, status } = await page(order, query);
      expect(status, JSON.stringify(query)).toBeLessThan(500);
      expect(isClean(html), JSON.stringify(query)).toBe(true);
      expect(to ?? '', JSON.stringify(query)).not.toContain('script');
    }
    const names = await page({ id: encodeURIComponent(EVIL) }, {});
    expect([names.status < 500, isClean(names.html)]).toEqual([true, true]);
  });

  test.each<[pointer: string, more: Json, around: Json]>([
    ['/order/order_id', { order_id: EVIL }, {}],
    ['/session_id', {}, { session_id: EVIL }],
    ['/order/fulfillment_url', { fulfillment_url: `javascript:alert(1)` }, {}],
    ['/order/public_reorder_url', { public_reorder_url: `data:text/html,${EVIL}` }, {}],
  ])('in %s is refused', async (pointer, more, around) => {
    const order = { amount: 'CREDITS:7', summary: 'S', resource: 'r', ...more };
    const reply = await stage.shop.call('POST', '/private/orders', { body: { order, ...around } });
    expect([reply.status, reply.body.errors?.[0].pointer]).toEqual([422, pointer]);
  });
});
