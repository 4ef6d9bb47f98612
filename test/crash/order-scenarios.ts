import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import { clientOf, type Json } from '../harness/client.ts';
import { newSession, type Order, orderStageOn, type Wallet } from '../orders/stage.ts';
import type { Cell, Scenario } from './cell.ts';

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
    const paying = { h_contract, session_id: sessions[0] };
    await deed(cell, state, { action: 'pay', ...paying }, 'pay', { ...paying, rail: 'credits' });
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

export const orderScenarios = [sold];
