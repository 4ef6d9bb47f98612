import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Json } from '../harness/client.ts';
import { newMerchant } from '../harness/client.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { newSession, type Order, type OrderStage, openOrderStage, SHOP, seen, standing } from './stage.ts';

let stage: OrderStage;
beforeAll(async () => {
  stage = await openOrderStage({ env: { REFUND_AUTO_CREDITS: '100' } });
});
afterEach(async () => {
  expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
});
afterAll(() => stage.close());

const giveBack = ({ id }: Order, refund: string, shop = stage.shop) =>
  shop.call('POST', `/private/orders/${id}/refund`, { body: { refund, reason: 'a misprint' } });
const pickUp = ({ id }: Order, h_contract: string) =>
  stage.anybody.call('POST', `/orders/${id}/refund`, { body: { h_contract } });

async function sold(more: Json = {}) {
  const session = newSession();
  const wallet = await stage.richWallet(1_000);
  const order = await stage.order({ amount: 'CREDITS:40', ...more }, { session_id: session });
  const hash = await wallet.buy(order, session);
  const balance = async () => (await wallet.customer.ok('GET', '/v1/credits/balance')).available;
  return { session, wallet, order, hash, balance };
}

describe('a shop gives back', () => {
  // REQ O11
  test('a total that only grows: the credits come at once, and the same total again changes nothing', async () => {
    const { order, hash, balance } = await sold({ refund_policy: 'revoke_on_full' });
    expect((await pickUp(order, hash)).status).toBe(204);
    expect(await giveBack(order, 'CREDITS:10')).toMatchObject({
      status: 200,
      body: { h_contract: hash, refund_id: expect.stringMatching(/^rfd_/) },
    });
    expect(await balance()).toBe(970);
    expect((await giveBack(order, 'CREDITS:10')).body).toMatchObject({ refund_id: null });
    expect((await giveBack(order, 'CREDITS:4')).body).toMatchObject({ refund_id: null });
    expect(await balance()).toBe(970);
    await giveBack(order, 'CREDITS:40');
    expect(await balance()).toBe(1_000);
    expect((await pickUp(order, hash)).body).toMatchObject({ refund_amount: 'CREDITS:40', refund_pending: false });
    expect((await giveBack(order, 'CREDITS:41')).body).toMatchObject({ code: 'refund_too_large' });
  });

  test('once, however many ask at the same time', async () => {
    const { order, balance } = await sold();
    const totals = Array.from({ length: 12 }, (_, n) => 5 + (n % 4) * 5);
    const replies = await Promise.all(totals.map((n) => giveBack(order, `CREDITS:${n}`)));
    expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200]));
    expect(await balance(), 'the largest total').toBe(980);
  });

  test('A6: and what it opened is closed in the same moment, for every session, until it is bought anew', async () => {
    const { order, hash, session, wallet } = await sold({ max_sessions: 2 });
    const other = newSession();
    await wallet.prove(order, hash, other);
    const waiting = seen(stage, order, { h_contract: hash, session_id: newSession(), timeout_ms: '60000' });
    await giveBack(order, 'CREDITS:1');
    expect((await waiting).body, 'whoever waits hears of it').toMatchObject({ refunded: true });
    for (const one of [session, other]) {
      expect(await standing(stage, order, one)).toMatchObject({
        order_status: 'paid',
        refunded: true,
        refund_amount: 'CREDITS:1',
      });
      const asked = { session_id: one, resource: 'x', order: { amount: 'CREDITS:1', summary: 'S' } };
      expect(await stage.shop.ok('POST', '/private/entitlements/check', { body: asked })).toMatchObject({
        entitled: false,
      });
    }
    expect((await wallet.prove(order, hash, newSession())).body).toMatchObject({ refunded: true });
    const page = await fetch(`${stage.farebox.url}/orders/${order.id}?h_contract=${hash}&session_id=${session}`, {
      headers: { accept: 'text/html' },
    });
    expect([page.status, await page.text()]).toEqual([200, expect.stringContaining('Given back')]);
  });

  test('A7: a part only, where the shop’s policy lets the reader read on', async () => {
    const { order, hash, session } = await sold({ refund_policy: 'revoke_on_full' });
    await giveBack(order, 'CREDITS:39');
    expect(await standing(stage, order, session)).toMatchObject({
      order_status: 'paid',
      refunded: false,
      refund_amount: 'CREDITS:39',
    });
    expect((await seen(stage, order, { h_contract: hash, session_id: session })).body).toMatchObject({
      refunded: false,
    });
    await giveBack(order, 'CREDITS:40');
    expect(await standing(stage, order, session)).toMatchObject({ refunded: true });
  });

  test('more than an operator lets go by itself only when the operator agrees; meanwhile it is pending', async () => {
    const { order, hash, session, balance } = await sold({ amount: 'CREDITS:400' });
    const { body } = await giveBack(order, 'CREDITS:300');
    expect(await balance()).toBe(600);
    expect(await standing(stage, order, session)).toMatchObject({ refunded: false, refund_pending: true });
    expect((await pickUp(order, hash)).body).toMatchObject({ refund_amount: 'CREDITS:0', refund_pending: true });
    const decide = { key: randomUUID(), body: { reason: 'fair' } };
    await stage.operator.ok('POST', `/v1/admin/refunds/${body.refund_id}/approve`, decide);
    expect(await balance()).toBe(900);
    expect(await standing(stage, order, session)).toMatchObject({ refunded: true, refund_pending: false });
  });

  test('its own paid orders only, in time', async () => {
    const { order } = await sold();
    expect((await giveBack(order, 'CREDITS:1', await newMerchant(stage.farebox))).status).toBe(404);
    const unpaid = await stage.order();
    expect((await giveBack(unpaid, 'CREDITS:1')).body.code).toBe('order_not_paid');
    await stage.root.begin(async (sql) => {
      await sql`alter table payments.orders disable trigger orders_frozen`;
      await sql`update payments.orders set refund_deadline = now() - interval '1 second' where order_id = ${order.id}`;
      await sql`alter table payments.orders enable trigger orders_frozen`;
    });
    expect((await giveBack(order, 'CREDITS:1')).status).toBe(410);
    for (const wrong of ['CREDITS:0', '5', 'THB:1']) expect((await giveBack(order, wrong)).status).toBe(422);
  });

  test('says so to whoever asks with a session that could read it', async () => {
    const [session, resource] = [newSession(), randomUUID()];
    const asked = {
      ...{ session_id: session, resource },
      order: { amount: 'CREDITS:40', summary: 'S', fulfillment_url: `${SHOP}/${resource}` },
    };
    const check = (more: Json = {}) =>
      stage.shop.ok('POST', '/private/entitlements/check', { body: { ...asked, ...more } });
    const { order_id, order_status_url } = await check();
    const token = new URL(order_status_url).searchParams.get('token') ?? undefined;
    const order = { id: order_id, token, sessionId: session };
    await (await stage.richWallet()).buy(order, session);
    expect(await check()).toMatchObject({ entitled: true });
    await giveBack(order, 'CREDITS:40');
    expect(await check({ order_id })).toMatchObject({ entitled: false, refunded: true, order_id });
    expect(await check(), 'and can buy it anew').toMatchObject({ entitled: false, refunded: false });
    const stranger = await stage.shop.ok('POST', '/private/entitlements/check', {
      body: { ...asked, session_id: newSession(), order_id },
    });
    expect(stranger, 'nobody else is told').toMatchObject({ refunded: false });
  });
});
