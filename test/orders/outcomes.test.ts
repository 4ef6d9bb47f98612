import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readPayUri } from '../../src/payments/orders/addresses.ts';
import { expire } from './rail-stage.ts';
import { newSession, type Order, type OrderStage, openOrderStage, SHOP, standing } from './stage.ts';

/**
 * The table of research §1 with the corrections A1, A2, A9 and A16: every state of an order × claim token × hash of the
 * contract × session × Accept, and what each gets. Written by hand, beside the code that it judges.
 */

const REORDER = `${SHOP}/articles/again`;
const MINE = newSession();

type Token = 'right' | 'wrong' | 'none';
type Hash = 'right' | 'wrong' | 'none';
type Session = 'mine' | 'other' | 'none';
interface Cell {
  state: State;
  token: Token;
  hash: Hash;
  session: Session;
}

/** With the name of what it proves. */
const titles = {
  unclaimed: 'SP3.1: unclaimed: the token, or 403',
  claimed: 'A2: claimed: the token or the hash, or 403',
  paid: 'A9: paid: who has the old link is led to a new order',
  refunded: 'SP2.2: given back: said so to whoever has the hash',
  expired: 'A16: expired: 410',
  'expired claimed': 'A16: expired when a wallet had it: 410',
  'paid, no reorder': 'SP2.1: paid, and no new order to be had: the hash, or 403',
  'open to all': 'A13: made without a claim token: to be paid by whoever knows its name',
};
type State = keyof typeof titles;
const states = Object.keys(titles) as State[];
const shown = ['right', 'wrong', 'none'] as const;
const sessions = ['mine', 'other', 'none'] as const;

/** JSON status, and what a person gets: a page of that status, or the address they are led to. */
type Expected = [json: number, person: number | 'the article' | 'the reorder page'];

function expected({ state, token, hash, session }: Cell): Expected {
  // The browser in which it was paid has the link from before the claim (ADR 25).
  const isWhereItBegan = token === 'right' && hash === 'none' && session === 'mine';
  switch (state) {
    case 'unclaimed': // there is no hash yet
      return token === 'right' ? [402, 402] : [403, 403];
    case 'open to all': // made without a claim token
      return [402, 402];
    case 'claimed': // A2: token or hash
      return token === 'right' || hash === 'right' ? [402, 402] : [403, 403];
    case 'expired': // A16
      return token === 'right' ? [410, 410] : [403, 403];
    case 'expired claimed':
      return token === 'right' || hash === 'right' ? [410, 410] : [403, 403];
    case 'paid':
      if (isWhereItBegan) return [200, 'the article'];
      if (hash === 'right') return session === 'other' ? [402, 402] : [200, 'the article'];
      return token === 'none' ? [403, 403] : [202, 'the reorder page']; // A9, also with a wrong token
    case 'paid, no reorder':
      if (isWhereItBegan) return [200, 'the article'];
      if (hash === 'right') return session === 'other' ? [402, 402] : [200, 'the article'];
      return [403, 403];
    case 'refunded':
      if (hash === 'right') return [200, 200];
      return token === 'none' ? [403, 403] : [202, 'the reorder page'];
  }
}

describe('every state, proof, session and kind of reader has its outcome', () => {
  let stage: OrderStage;
  const known = {} as Record<State, { order: Order; hash: string }>;
  const article = (state: State) => `${SHOP}/${encodeURIComponent(state)}`;

  beforeAll(async () => {
    stage = await openOrderStage();
    for (const state of states) known[state] = await make(state);
  });
  afterAll(() => stage.close());

  async function make(state: State): Promise<{ order: Order; hash: string }> {
    const order = await stage.order(
      {
        fulfillment_url: article(state),
        ...(state === 'paid, no reorder' ? {} : { public_reorder_url: REORDER }),
      },
      { session_id: MINE, ...(state === 'open to all' ? { create_token: false } : {}) },
    );
    const wallet = await stage.richWallet();
    const isClaimed = ['claimed', 'expired claimed'].includes(state);
    const isPaid = ['paid', 'refunded', 'paid, no reorder'].includes(state);
    const hash = isClaimed ? (await wallet.claim(order)).body.h_contract : isPaid ? await wallet.buy(order, MINE) : '';
    if (state === 'refunded') {
      const body = { refund: 'CREDITS:1', reason: 'a misprint' };
      await stage.shop.ok('POST', `/private/orders/${order.id}/refund`, { body });
    }
    if (state.startsWith('expired')) await expire(stage, order);
    return { order, hash };
  }

  function linkOf({ state, token, hash, session }: Cell, tokenName = 'token'): string {
    const { order, hash: right } = known[state];
    const query = new URLSearchParams();
    if (token !== 'none') query.set(tokenName, token === 'right' ? (order.token ?? 'x') : 'AAAAAAAAAAAAAAAAAAAAAA');
    if (hash !== 'none') query.set('h_contract', hash === 'right' ? right || 'x' : 'A'.repeat(103));
    if (session !== 'none') query.set('session_id', session === 'mine' ? MINE : newSession());
    return `${stage.farebox.url}/orders/${order.id}?${query}`;
  }

  const ask = (link: string, accept: string) => fetch(link, { redirect: 'manual', headers: { accept } });
  const cells: Cell[] = states.flatMap((state) =>
    shown.flatMap((token) =>
      shown.flatMap((hash) => sessions.map((session): Cell => ({ state, token, hash, session }))),
    ),
  );

  // REQ O5 O8
  test.each(states.map((state) => ({ state, title: titles[state] })))('$title', async ({ state }) => {
    for (const cell of cells.filter((one) => one.state === state)) {
      const [json, person] = expected(cell);
      const name = JSON.stringify(cell);
      const reply = await ask(linkOf(cell), 'application/json');
      expect(reply.status, name).toBe(json);
      expect(reply.headers.get('content-type'), name).toMatch(
        json === 403 || json === 410 ? /problem\+json/ : /application\/json/,
      );
      const body = JSON.parse(await reply.text());
      if (json === 402) expect(body.taler_pay_uri, name).toMatch(/^farebox\+http:\/\/pay\//);
      if (json === 202) expect(body, name).toEqual({ public_reorder_url: REORDER });
      if (json === 200) expect(body, name).toMatchObject({ refunded: state === 'refunded' });
      const page = await ask(linkOf(cell), 'text/html,application/xhtml+xml');
      const html = await page.text();
      const wanted =
        person === 'the article'
          ? [302, article(state)]
          : person === 'the reorder page'
            ? [302, REORDER]
            : [person, null];
      expect([page.status, page.headers.get('location')], name).toEqual(wanted);
      if (page.status !== 302) expect(html, name).toMatch(/^<!doctype html>/);
      expect(page.headers.get('cache-control'), name).toBe('no-store');
      expect(page.headers.get('referrer-policy'), name).toBe('no-referrer');
      // A17: links lead on; what opens an order is in no page that does not show it already.
      if (json === 403) expect(html, name).not.toContain('On paying once');
    }
  });

  test('BU2 SP1: an order that nobody made is 404, in both ways, whatever is shown', async () => {
    for (const query of [
      '',
      '?token=x',
      `?h_contract=${'A'.repeat(103)}&session_id=${MINE}`,
      '?session_id=<script>&timeout_ms=x',
    ]) {
      const link = `${stage.farebox.url}/orders/ord_nobody${query}`;
      expect((await ask(link, 'application/json')).status).toBe(404);
      const page = await ask(link, 'text/html');
      expect([page.status, await page.text()]).toEqual([404, expect.stringContaining('There is no such order')]);
    }
  });

  test('A1: the token under its older name does the same', async () => {
    const cell: Cell = { state: 'unclaimed', token: 'right', hash: 'none', session: 'none' };
    expect((await ask(linkOf(cell, 'claim_token'), 'application/json')).status).toBe(402);
  });

  test('R5: the table has every state, token, hash and session, twice: for programs and for people', () => {
    expect(cells).toHaveLength(8 * 3 * 3 * 3);
  });

  // REQ O10
  test('SC2: a lost wallet is told that this is paid, and can buy anew', async () => {
    const page = await ask(linkOf({ state: 'paid', token: 'none', hash: 'right', session: 'other' }), 'text/html');
    const html = await page.text();
    expect(html).toContain('Already paid');
    expect(html).toContain('Make a new purchase');
    expect(html).toContain(`href="${REORDER}"`);
  });

  /** A page as a person gets it: its address where it leads to, or what stands on it. */
  const page = async (link: string) => {
    const reply = await ask(link, 'text/html');
    const { status, headers } = reply;
    return { status, to: headers.get('location'), rel: headers.get('link'), html: await reply.text() };
  };
  const linkTo = ({ id }: Order, query: Record<string, string | undefined>) => {
    const told = Object.entries(query).filter((pair): pair is [string, string] => pair[1] !== undefined);
    return `${stage.farebox.url}/orders/${id}?${new URLSearchParams(told)}`;
  };
  /** For a browser session and an address of its own. */
  const newOrder = async () => {
    const [session, address] = [newSession(), `${SHOP}/${randomUUID()}`];
    return { session, address, order: await stage.order({ fulfillment_url: address }, { session_id: session }) };
  };
  const uriOn = (html: string) => readPayUri(/href="(farebox[^"]+)"/.exec(html)?.[1]?.replaceAll('&#38;', '&') ?? '');

  // REQ O7
  test('BU1: the address of the page is for the session that asks, whoever has proved before', async () => {
    const { order, session } = await newOrder();
    await (await stage.richWallet()).buy(order, session);
    const other = newSession();
    const { order_status_url } = await standing(stage, order, other);
    expect(new URL(order_status_url).searchParams.get('session_id')).toBe(other);
    expect(new URL((await standing(stage, order)).order_status_url).searchParams.has('session_id')).toBe(false);
  });

  // REQ O8
  test('SP3.2: unpaid it shows a pay URI with the token; it leads on once it is paid for this session', async () => {
    const { order, session, address } = await newOrder();
    const shown = await page(linkTo(order, { token: order.token, session_id: session }));
    expect(shown.status).toBe(402);
    expect(uriOn(shown.html)).toMatchObject({ orderId: order.id, sessionId: session, token: order.token });
    const hash = await (await stage.richWallet()).buy(order, session);
    expect(await page(linkTo(order, { h_contract: hash, session_id: session }))).toMatchObject({
      ...{ status: 302, to: address },
    });
  });

  test('SP3.2: unpaid it leads to what this session has paid before at the same address', async () => {
    const { order, session, address } = await newOrder();
    const fresh = await stage.order({ fulfillment_url: address }, { session_id: session });
    const link = linkTo(fresh, { token: fresh.token, session_id: session });
    expect((await page(link)).status).toBe(402);
    await (await stage.richWallet()).buy(order, session);
    expect(await page(link)).toMatchObject({ status: 302, to: address });
  });

  test('SP2.3: paid, in another browser, it shows a pay URI without a token; it leads on once that is proved', async () => {
    const { order, session, address } = await newOrder();
    const wallet = await stage.richWallet();
    const hash = await wallet.buy(order, session);
    const other = newSession();
    const link = linkTo(order, { h_contract: hash, session_id: other });
    const shown = await page(link);
    expect(shown.status).toBe(402);
    const uri = uriOn(shown.html);
    expect([uri?.orderId, uri?.sessionId, uri?.token]).toEqual([order.id, other, undefined]);
    await wallet.prove(order, hash, other);
    expect(await page(link)).toMatchObject({ status: 302, to: address });
  });

  // REQ O1 O8
  test('R1: one page for every wallet: a QR code, a link, a header, and without a script it looks again by itself', async () => {
    const { order, session } = await newOrder();
    const { html, rel } = await page(linkTo(order, { token: order.token, session_id: session }));
    expect(html).toMatch(/<img src="data:image\/[^"]+"[^>]*alt="QR code/);
    expect(uriOn(html)).toMatchObject({ orderId: order.id });
    const told = /^<(\S+)>; rel="payment"$/.exec(rel ?? '')?.[1] ?? '';
    expect(readPayUri(told), 'and for a wallet in the browser, before it reads the page').toEqual(uriOn(html));
    expect(html).toMatch(/<noscript><meta http-equiv="refresh" content="\d+; url=[^"]+"><\/noscript>/);
  });

  // REQ O2
  test('R2: an order without a session is paid from its address alone, and leads to what it opens', async () => {
    const address = `${SHOP}/${randomUUID()}`;
    const order = await stage.order({ fulfillment_url: address });
    const shown = await page((await standing(stage, order)).order_status_url);
    const target = uriOn(shown.html);
    expect(shown.status).toBe(402);
    expect(target?.sessionId, 'one of ours, by which the browser gets into the shop (A12)').toMatch(/^[\w-]{43}$/);
    const fromMail = { id: target?.orderId ?? '', token: target?.token, sessionId: target?.sessionId };
    const hash = await (await stage.richWallet()).buy(fromMail);
    expect(await page(linkTo(order, { h_contract: hash }))).toMatchObject({ status: 302, to: address });
  });

  test('A16: past its end the page says so, and where a new order can be had', async () => {
    const { status, html } = await page(linkOf({ state: 'expired', token: 'right', hash: 'none', session: 'mine' }));
    expect([status, html]).toEqual([410, expect.stringContaining('Not paid in time')]);
    expect(html).toContain(`href="${REORDER}"`);
  });

  test('A18: the hash shows how an order stands, and does nothing: that takes the signature of its wallet', async () => {
    const { order } = await newOrder();
    const [wallet, thief] = [await stage.richWallet(), await stage.richWallet()];
    const { h_contract: hash } = (await wallet.claim(order)).body;
    expect((await ask(linkTo(order, { h_contract: hash }), 'application/json')).status).toBe(402);
    const deeds = [
      () => thief.unclaim(order, hash),
      () => thief.pay(order, hash, null),
      () => thief.pay(order, hash, null, thief.customer),
      () => thief.pay(order, hash, null, undefined, 'omise'),
    ];
    for (const deed of deeds) expect((await deed()).body.code).toBe('did_auth_failed');
    await wallet.pay(order, hash, null);
    expect((await thief.prove(order, hash, newSession())).body.code).toBe('did_auth_failed');
    const asked = await stage.anybody.call('POST', `/orders/${order.id}/refund`, { body: { h_contract: hash } });
    expect(asked.status, 'tells, and moves nothing').toBe(204);
  });
});
