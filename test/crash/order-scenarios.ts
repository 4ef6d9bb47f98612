import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import { clientOf, type Json } from '../harness/client.ts';
import { newSession, type Order, orderStageOn, type Wallet } from '../orders/stage.ts';
import type { Cell, Scenario } from './cell.ts';
import { agePayments } from './purchase-scenarios.ts';

/** What is sold for credits and read in a browser, whoever dies on the way. */

interface Selling {
  order: Order;
  wallet: Wallet & { customer: ReturnType<typeof clientOf> };
  nonce: string;
  sessions: [string, string];
}

/** A deed until it is answered: an answer that was lost has used its challenge up, and then there is another one. */
async function deed(cell: Cell, { order, wallet }: Selling, wish: Json, to: string, body: Json): Promise<Json> {
  const anybody = clientOf(cell.stage.farebox.url);
  const isAnswered = ({ status }: { status: number }) => status < 500 && status !== 429;
  return cell.until(`${to} is answered`, async () => {
    const asked = await cell.insist(anybody, 'POST', `/orders/${order.id}/challenges`, { body: wish }, isAnswered);
    if (asked.challenge_id === undefined) throw new Error(JSON.stringify(asked));
    const answer = { challenge_id: asked.challenge_id, proof: await wallet.holder.prove(asked) };
    const told = { body: { ...body, ...answer } };
    const reply = await cell.insist(anybody, 'POST', `/orders/${order.id}/${to}`, told, isAnswered);
    return reply.status === undefined ? reply : undefined; // a refusal has a status
  });
}

const sold: Scenario<Selling> = {
  name: 'an order is taken, paid and shown for two browsers',
  points: [
    'payments.order.before_claim_commit',
    'payments.order.after_hold',
    'payments.order.before_pay_commit',
    'payments.order.before_prove_commit',
  ],
  set: async (stage) => {
    const orders = await orderStageOn(stage.farebox, stage.operator);
    const sessions: Selling['sessions'] = [newSession(), newSession()];
    const terms = { fulfillment_url: undefined, resource: 'an article', max_sessions: 2 };
    const order = await orders.order(terms, { session_id: sessions[0] });
    return { order, sessions, wallet: await orders.richWallet(100), nonce: randomBytes(16).toString('hex') };
  },
  play: async (cell, state) => {
    const { order, wallet, nonce, sessions } = state;
    const told = { did: wallet.holder.did, nonce, token: order.token };
    const { h_contract } = await deed(cell, state, { action: 'claim', ...told }, 'claim', told);
    const paying = { h_contract, session_id: sessions[0], rail: 'credits' };
    await deed(cell, state, { action: 'pay', ...paying }, 'pay', paying);
    const proving = { h_contract, session_id: sessions[1] };
    await deed(cell, state, { action: 'prove', ...proving }, 'paid', proving);
  },
  check: async ({ sql }, { order, wallet, sessions }) => {
    const [row] = await sql`
      select o.state, o.price::int as price,
        (select count(*)::int from credits.transfers t where t.ref_type = 'order' and t.ref_id = o.id) as moves,
        (select count(*)::int from platform.events e where e.subject_id = o.id and e.type = 'payments.order_paid') as told,
        (select array_agg(s.session_id order by s.proven_at) from payments.order_sessions s
         where s.order_id = o.id and s.evicted_at is null) as sessions
      from payments.orders o where o.order_id = ${order.id}`;
    expect(row).toEqual({ state: 'paid', price: 40, moves: 2, told: 1, sessions });
    expect(await wallet.customer.ok('GET', '/v1/credits/balance')).toMatchObject({ available: 60, held: 0 });
  },
};

interface Charged extends Selling {
  hash: string;
  purchase?: Json;
}

/** By a wallet without an account, at the provider. */
const charged: Scenario<Charged> = {
  name: 'an order is paid at the provider',
  points: ['payments.order.before_open_commit', 'payments.order.before_settle_commit'],
  set: async (stage) => {
    const orders = await orderStageOn(stage.farebox, stage.operator);
    const sessions: Selling['sessions'] = [newSession(), newSession()];
    const prices = [{ rail: 'omise', amount: 2_000, currency: 'THB' }];
    const order = await orders.order({ fulfillment_url: undefined, resource: 'an article', prices });
    const wallet = { ...orders.wallet(), customer: orders.anybody };
    const { body } = await wallet.claim(order);
    return { order, wallet, sessions, nonce: '', hash: body.h_contract };
  },
  play: async (cell, state) => {
    const { order, sessions, hash } = state;
    const paying = { h_contract: hash, session_id: sessions[0], rail: 'omise' };
    const opened = await deed(cell, state, { action: 'pay', ...paying }, 'pay', paying);
    state.purchase ??= opened;
    expect(opened.purchase_id, 'one order, one way to pay').toBe(state.purchase.purchase_id);
    const charges = () =>
      cell.stage.omise.charges().filter((one) => (one['metadata'] as Json).purchase_id === opened.purchase_id);
    await cell.until('there is a charge', async () => {
      const body = new URLSearchParams({ method: 'promptpay' });
      await fetch(`${opened.status_url}/pay`, {
        method: 'POST',
        redirect: 'manual',
        body,
        signal: AbortSignal.timeout(3_000),
      });
      return charges().length > 0;
    });
    for (const { id, status } of charges()) if (status === 'pending') cell.stage.omise.pay(String(id));
    await cell.until('the order is paid', async () => {
      const [row] = await cell.stage.sql`select state from payments.orders where order_id = ${order.id}`;
      return row?.['state'] === 'paid';
    });
  },
  lend: agePayments,
  check: async ({ sql, omise }, { order, purchase, sessions }) => {
    const [row] = await sql`
      select o.state,
        (select array_agg(t.kind || ' ' || t.amount order by t.seq) from credits.transfers t where t.account_id = o.payer_id) as moves,
        (select array_agg(s.session_id) from payments.order_sessions s where s.order_id = o.id and s.evicted_at is null) as sessions
      from payments.orders o where o.order_id = ${order.id}`;
    expect(row).toEqual({ state: 'paid', moves: ['purchase 40', 'hold 40', 'capture 40'], sessions: [sessions[0]] });
    const ours = omise.charges().filter((one) => (one['metadata'] as Json).purchase_id === purchase.purchase_id);
    expect(
      ours.map(({ status }) => status),
      'one charge',
    ).toEqual(['successful']);
  },
};

interface Mailed extends Selling {
  cookie: string;
  link: string;
}

/** By somebody who came from an e-mail: the browser becomes the shop's own by a code that is good once. */
const mailed: Scenario<Mailed & { shop: ReturnType<typeof clientOf>; resource: string }> = {
  name: 'a browser that came by mail is let into the shop',
  points: ['payments.order.before_move_commit'],
  set: async (stage) => {
    const orders = await orderStageOn(stage.farebox, stage.operator);
    const sessions: Selling['sessions'] = [newSession(), newSession()];
    const resource = randomBytes(8).toString('hex');
    const order = await orders.order({ fulfillment_url: `${stage.farebox.url}/article`, resource });
    const link = `${stage.farebox.url}/orders/${order.id}?token=${order.token}`;
    const page = await fetch(link, { headers: { accept: 'text/html' } });
    const sessionId = /data-session="([^"]+)"/.exec(await page.text())?.[1] ?? '';
    const cookie = page.headers.get('set-cookie')?.split(';', 1)[0] ?? '';
    const wallet = await orders.richWallet(100);
    await wallet.buy(order, sessionId);
    return { order, wallet, sessions, nonce: '', cookie, link, shop: orders.shop, resource };
  },
  play: async (cell, { shop, link, cookie, sessions, resource }) => {
    const code = await cell.until('the browser is led on', async () => {
      const led = await fetch(link, { redirect: 'manual', headers: { accept: 'text/html', cookie } });
      const location = led.headers.get('location');
      return (location && new URL(location).searchParams.get('farebox_code')) || undefined;
    });
    const order = {
      amount: 'CREDITS:40',
      summary: 'On paying once',
      fulfillment_url: `${cell.stage.farebox.url}/article`,
    };
    await cell.until('the shop lets it in', async () => {
      const body = { session_id: sessions[0], resource, order, code };
      return (await cell.insist(shop, 'POST', '/private/entitlements/check', { body })).entitled as boolean;
    });
  },
  check: async ({ sql }, { order, sessions }) => {
    const alive = await sql`
      select s.session_id from payments.order_sessions s join payments.orders o on o.id = s.order_id
      where o.order_id = ${order.id} and s.evicted_at is null`;
    expect(alive.map((row) => row['session_id'])).toEqual([sessions[0]]);
  },
};

export const orderScenarios = [sold, charged, mailed];
