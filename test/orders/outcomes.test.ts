import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newSession, type Order, type OrderStage, openOrderStage, SHOP } from './stage.ts';

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

const states = [
  'unclaimed',
  'claimed',
  'paid',
  'refunded',
  'expired',
  'expired claimed',
  'paid, no reorder',
  'open to all',
] as const;
type State = (typeof states)[number];
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
    if (state.startsWith('expired')) {
      await stage.root.begin(async (sql) => {
        await sql`alter table payments.orders disable trigger orders_frozen`;
        await sql`update payments.orders set pay_deadline = now() - interval '1 second' where order_id = ${order.id}`;
        await sql`alter table payments.orders enable trigger orders_frozen`;
      });
    }
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
  test.each(states)('%s', async (state) => {
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

  test('SC2: a lost wallet is told that this is paid, and can buy anew', async () => {
    const page = await ask(linkOf({ state: 'paid', token: 'none', hash: 'right', session: 'other' }), 'text/html');
    const html = await page.text();
    expect(html).toContain('Already paid');
    expect(html).toContain('Make a new purchase');
    expect(html).toContain(`href="${REORDER}"`);
  });
});
