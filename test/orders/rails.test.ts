import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { describeOnChain } from '../harness/chain.ts';
import { eventually, type Json } from '../harness/client.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { expire, openRailStage, pricesOf, type RailStage } from './rail-stage.ts';
import { newSession, seen, standing, type Wallet } from './stage.ts';

/** Orders that are paid by other rails than credits: exactly their credits are bought, and pay them in the same moment. */

let stage: RailStage;
beforeAll(async () => {
  stage = await openRailStage();
});
afterEach(async () => {
  expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
});
afterAll(() => stage.close());

const control = () => stage.farebox.omise.control;
/** An order that a wallet has claimed, and its hash. */
async function taken<W extends Wallet>(wallet: W, more: Json = {}, around: Json = {}) {
  const order = await stage.order({ prices: pricesOf(stage), ...more }, around);
  const { body } = await wallet.claim(order);
  return { order, wallet, hash: body.h_contract as string };
}

describe('an order that is paid by Omise', () => {
  const purchaseOf = async (wallet: Wallet, id: string) =>
    (await stage.accountOf(wallet)).ok('GET', `/v1/purchases/${id}`);
  const becomes = (wallet: Wallet, { purchase_id }: Json, wanted: string) =>
    eventually(
      () => purchaseOf(wallet, purchase_id),
      ({ status }) => status === wanted,
    );

  // REQ O1 O3
  test('by a reader without an account: the money opens it for the session that asked, once', async () => {
    const session = newSession();
    const { order, wallet, hash } = await taken(stage.wallet(), {}, { session_id: session });
    const asked = await wallet.pay(order, hash, session, undefined, 'omise');
    expect(asked).toMatchObject({ status: 202, body: { status_url: expect.stringContaining('/checkout/') } });
    const page = await (await fetch(asked.body.status_url)).text();
    expect(page).toContain('฿20.00');
    expect(page).toContain('On paying once');
    const charge = await stage.choosePromptPay(asked.body);
    expect(await standing(stage, order, session)).toMatchObject({ order_status: 'claimed' });
    control().pay(charge);
    await stage.becomes(order, session, 'paid');
    expect((await seen(stage, order, { h_contract: hash, session_id: session })).status).toBe(200);
    expect(await standing(stage, order, newSession())).toMatchObject({ order_status: 'claimed' });
    const reader = await stage.accountOf(wallet);
    expect(await reader.ok('GET', '/v1/credits/balance'), 'bought and spent').toMatchObject({ available: 0, held: 0 });
    expect(await purchaseOf(wallet, asked.body.purchase_id)).toMatchObject({
      ...{ status: 'completed', package_id: null, credits: 40, price: 2_000, currency: 'THB' },
    });
    const other = newSession();
    expect((await wallet.prove(order, hash, other)).status, 'and in another browser, without paying').toBe(200);
    expect(await standing(stage, order, other)).toMatchObject({ order_status: 'paid' });
  });

  test('asked for again, or at the same time, is the same payment', async () => {
    const { order, wallet, hash } = await taken(stage.wallet());
    const replies = await Promise.all(
      Array.from({ length: 6 }, () => wallet.pay(order, hash, null, undefined, 'omise')),
    );
    expect(replies.map(({ status }) => status)).toEqual(Array.from({ length: 6 }, () => 202));
    expect(new Set(replies.map(({ body }) => body.purchase_id)).size).toBe(1);
  });

  test('when it has no price by that rail, or is paid, nothing is opened', async () => {
    const { order, wallet, hash } = await taken(stage.wallet(), { prices: [] });
    const none = await wallet.pay(order, hash, null, undefined, 'omise');
    expect([none.status, none.body.code, none.body.errors[0].pointer]).toEqual([422, 'method_unavailable', '/rail']);
    const rich = await stage.richWallet();
    const paid = await stage.order({ prices: pricesOf(stage) });
    const paidHash = await rich.buy(paid);
    expect((await rich.pay(paid, paidHash, null, undefined, 'omise')).status).toBe(409);
    const bad = await stage.shop.call('POST', '/private/orders', {
      body: {
        order: {
          amount: 'CREDITS:1',
          summary: 'S',
          resource: 'r',
          prices: [{ rail: 'omise', amount: 1, currency: 'USD' }],
        },
      },
    });
    expect(bad.body.errors[0].pointer).toBe('/order/prices/0/currency');
  });

  test('after its end: the credits stay with whoever paid, and can be given back', async () => {
    const { order, wallet, hash } = await taken(stage.wallet());
    const asked = await wallet.pay(order, hash, null, undefined, 'omise');
    const charge = await stage.choosePromptPay(asked.body);
    await expire(stage, order);
    control().pay(charge);
    await becomes(wallet, asked.body, 'completed');
    expect(await standing(stage, order)).toMatchObject({ order_status: 'claimed' });
    const reader = await stage.accountOf(wallet);
    expect(await reader.ok('GET', '/v1/credits/balance')).toMatchObject({ available: 40 });
    const subject = { type: 'purchase', id: asked.body.purchase_id };
    const refund = await reader.call('POST', '/v1/refunds', {
      key: randomUUID(),
      body: { subject, reason: 'too late' },
    });
    expect(refund).toMatchObject({ status: 201, body: { amount: '2000' } });
  });

  test('and with credits, too: it is paid once, and the other money is not lost', async () => {
    const rich = await stage.richWallet(100);
    const order = await stage.order({ prices: pricesOf(stage) });
    const hash = (await rich.claim(order)).body.h_contract;
    const asked = await rich.pay(order, hash, null, undefined, 'omise');
    const charge = await stage.choosePromptPay(asked.body);
    expect((await rich.pay(order, hash, null)).status).toBe(200);
    control().pay(charge);
    await becomes(rich, asked.body, 'completed');
    expect(await rich.customer.ok('GET', '/v1/credits/balance')).toMatchObject({ available: 100, held: 0 });
    const { data } = await stage.shop.ok('GET', '/v1/events?type=payments.order_paid&limit=100');
    expect(data.filter((event: Json) => event.data.order_id === order.id)).toHaveLength(1);
  });

  test('by money that was not as agreed: it opens when an operator says so', async () => {
    const session = newSession();
    const { order, wallet, hash } = await taken(stage.wallet(), {}, { session_id: session });
    const asked = await wallet.pay(order, hash, session, undefined, 'omise');
    control().mutate(await stage.choosePromptPay(asked.body), { data: 'partial_capture' });
    await becomes(wallet, asked.body, 'review');
    expect(await standing(stage, order, session)).toMatchObject({ order_status: 'claimed' });
    const body = { outcome: 'complete', reason: 'the rest came in cash' };
    await stage.operator.ok('POST', `/v1/admin/purchases/${asked.body.purchase_id}/resolve`, { body });
    expect(await standing(stage, order, session)).toMatchObject({ order_status: 'paid' });
  });
});

describeOnChain('an order that is paid on chain', () => {
  test('by the wallet of its DID: once the transfer is final it is open, and again in another browser', async () => {
    const [S1, S2] = [newSession(), newSession()];
    const { order, wallet, hash } = await taken(await stage.payer(), {}, { session_id: S1 });
    const asked = await wallet.pay(order, hash, S1, undefined, 'evm');
    expect(asked).toMatchObject({ status: 202, body: { status_url: expect.stringContaining('/pay/') } });
    await stage.payOnChain(wallet.payer, asked.body.purchase_id);
    await stage.becomes(order, S1, 'paid');
    expect(await standing(stage, order, S2)).toMatchObject({ order_status: 'claimed' });
    expect((await wallet.prove(order, hash, S2)).status).toBe(200);
    expect(await standing(stage, order, S2)).toMatchObject({ order_status: 'paid' });
    expect(await wallet.payer.client.ok('GET', '/v1/credits/balance')).toMatchObject({ available: 0, held: 0 });
  });

  test('in an asset that is not taken here is not offered', async () => {
    const prices = [{ rail: 'evm', asset: 'eip155:1/slip44:60', amount: '1' }];
    const order = { amount: 'CREDITS:1', summary: 'S', resource: 'r', prices };
    const reply = await stage.shop.call('POST', '/private/orders', { body: { order } });
    expect([reply.status, reply.body.errors?.[0].pointer]).toEqual([422, '/order/prices/0/asset']);
  });
});
