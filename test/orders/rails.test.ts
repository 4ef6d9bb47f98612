import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { describeOnChain, dollarsOf, payDollars } from '../harness/chain.ts';
import { eventually, type Json } from '../harness/client.ts';
import { signIn } from '../harness/dids.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { agree, newPayer, openRequestStage, type RequestStage } from '../payments/request-stage.ts';
import {
  newSession,
  type Order,
  type OrderStage,
  openOrderStage,
  orderStageOn,
  SHOP,
  seen,
  standing,
  type Wallet,
} from './stage.ts';

const prices = [{ rail: 'omise', amount: 2_000, currency: 'THB' }];

describe('an order that is paid by Omise', () => {
  let stage: OrderStage;
  beforeAll(async () => {
    stage = await openOrderStage();
  });
  afterEach(async () => {
    expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
  });
  afterAll(() => stage.close());

  const control = () => stage.farebox.omise.control;
  const chargeOf = (purchaseId: string) =>
    eventually(
      async () =>
        control()
          .charges()
          .find((one) => (one['metadata'] as Json).purchase_id === purchaseId) as Json,
      (one) => one !== undefined,
    );
  /** At the hosted checkout, by PromptPay; resolves to the charge, which is still to be paid. */
  async function choosePromptPay({ status_url, purchase_id }: Json): Promise<string> {
    const reply = await fetch(`${status_url}/pay`, {
      ...{ method: 'POST', redirect: 'manual', body: new URLSearchParams({ method: 'promptpay' }) },
    });
    expect(reply.status).toBe(303);
    return (await chargeOf(purchase_id)).id;
  }
  const becomes = (order: Order, session: string, status: string) =>
    eventually(
      () => standing(stage, order, session),
      ({ order_status }) => order_status === status,
    );
  const accountOf = (wallet: Wallet) => signIn(stage.farebox, wallet.holder);
  async function taken(more: Json = {}, around: Json = {}) {
    const [order, wallet] = [await stage.order({ prices, ...more }, around), stage.wallet()];
    const { body } = await wallet.claim(order);
    return { order, wallet, hash: body.h_contract as string };
  }
  const purchaseOf = async (wallet: Wallet, id: string) => (await accountOf(wallet)).ok('GET', `/v1/purchases/${id}`);

  // REQ O1 O3
  test('by a reader without an account: the money opens it for the session that asked, once', async () => {
    const session = newSession();
    const { order, wallet, hash } = await taken({}, { session_id: session });
    const asked = await wallet.pay(order, hash, session, undefined, 'omise');
    expect(asked).toMatchObject({ status: 202, body: { status_url: expect.stringContaining('/checkout/') } });
    const page = await (await fetch(asked.body.status_url)).text();
    expect(page).toContain('฿20.00');
    expect(page).toContain('On paying once');
    const charge = await choosePromptPay(asked.body);
    expect(await standing(stage, order, session)).toMatchObject({ order_status: 'claimed' });
    control().pay(charge);
    await becomes(order, session, 'paid');
    expect((await seen(stage, order, { h_contract: hash, session_id: session })).status).toBe(200);
    expect(await standing(stage, order, newSession())).toMatchObject({ order_status: 'claimed' });
    const reader = await accountOf(wallet);
    expect(await reader.ok('GET', '/v1/credits/balance'), 'bought and spent').toMatchObject({ available: 0, held: 0 });
    expect(await purchaseOf(wallet, asked.body.purchase_id)).toMatchObject({
      ...{ status: 'completed', package_id: null, credits: 40, price: 2_000, currency: 'THB' },
    });
    const other = newSession();
    expect((await wallet.prove(order, hash, other)).status, 'and in another browser, without paying').toBe(200);
    expect(await standing(stage, order, other)).toMatchObject({ order_status: 'paid' });
  });

  test('the canonical sequence by this rail: proved for another session, the second order is not paid', async () => {
    const [S1, S2, S3] = [newSession(), newSession(), newSession()];
    const terms = { fulfillment_url: `${SHOP}/articles/${randomUUID()}` };
    const { order: A, wallet, hash } = await taken(terms, { session_id: S1 });
    control().pay(await choosePromptPay((await wallet.pay(A, hash, S1, undefined, 'omise')).body));
    await becomes(A, S1, 'paid');
    expect(await standing(stage, A, S2)).toMatchObject({ order_status: 'claimed' });
    const B = await stage.order({ prices, ...terms }, { session_id: S3 });
    const again = await wallet.claim(B);
    expect(again.body).toMatchObject({ already_paid_order_id: A.id, already_paid_h_contract: hash });
    await wallet.prove(A, hash, S3);
    expect(await standing(stage, A, S3)).toMatchObject({ order_status: 'paid' });
    expect(
      (await seen(stage, B, { h_contract: again.body.h_contract, session_id: S3 })).body.already_paid_order_id,
    ).toBe(A.id);
  });

  test('asked for again, or at the same time, is the same payment', async () => {
    const { order, wallet, hash } = await taken();
    const replies = await Promise.all(
      Array.from({ length: 6 }, () => wallet.pay(order, hash, null, undefined, 'omise')),
    );
    expect(replies.map(({ status }) => status)).toEqual(Array.from({ length: 6 }, () => 202));
    expect(new Set(replies.map(({ body }) => body.purchase_id)).size).toBe(1);
  });

  test('when it has no price by that rail, or is paid, nothing is opened', async () => {
    const { order, wallet, hash } = await taken({ prices: [] });
    const none = await wallet.pay(order, hash, null, undefined, 'omise');
    expect([none.status, none.body.code, none.body.errors[0].pointer]).toEqual([422, 'method_unavailable', '/rail']);
    const rich = await stage.richWallet();
    const paid = await stage.order({ prices });
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
    const { order, wallet, hash } = await taken();
    const asked = await wallet.pay(order, hash, null, undefined, 'omise');
    const charge = await choosePromptPay(asked.body);
    await stage.root.begin(async (sql) => {
      await sql`alter table payments.orders disable trigger orders_frozen`;
      await sql`update payments.orders set pay_deadline = now() - interval '1 second' where order_id = ${order.id}`;
      await sql`alter table payments.orders enable trigger orders_frozen`;
    });
    control().pay(charge);
    await eventually(
      () => purchaseOf(wallet, asked.body.purchase_id),
      ({ status }) => status === 'completed',
    );
    expect(await standing(stage, order)).toMatchObject({ order_status: 'claimed' });
    const reader = await accountOf(wallet);
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
    const order = await stage.order({ prices });
    const hash = (await rich.claim(order)).body.h_contract;
    const asked = await rich.pay(order, hash, null, undefined, 'omise');
    const charge = await choosePromptPay(asked.body);
    expect((await rich.pay(order, hash, null)).status).toBe(200);
    control().pay(charge);
    await eventually(
      () => rich.customer.ok('GET', `/v1/purchases/${asked.body.purchase_id}`),
      ({ status }) => status === 'completed',
    );
    expect(await rich.customer.ok('GET', '/v1/credits/balance')).toMatchObject({ available: 100, held: 0 });
    const { data } = await stage.shop.ok('GET', '/v1/events?type=payments.order_paid&limit=100');
    expect(data.filter((event: Json) => event.data.order_id === order.id)).toHaveLength(1);
  });

  test('by money that was not as agreed: it opens when an operator says so', async () => {
    const session = newSession();
    const { order, wallet, hash } = await taken({}, { session_id: session });
    const asked = await wallet.pay(order, hash, session, undefined, 'omise');
    control().mutate(await choosePromptPay(asked.body), { data: 'partial_capture' });
    await eventually(
      () => purchaseOf(wallet, asked.body.purchase_id),
      ({ status }) => status === 'review',
    );
    expect(await standing(stage, order, session)).toMatchObject({ order_status: 'claimed' });
    const body = { outcome: 'complete', reason: 'the rest came in cash' };
    await stage.operator.ok('POST', `/v1/admin/purchases/${asked.body.purchase_id}/resolve`, { body });
    expect(await standing(stage, order, session)).toMatchObject({ order_status: 'paid' });
  });
});

describeOnChain('an order that is paid on chain', () => {
  let chainStage: RequestStage;
  let stage: Omit<OrderStage, 'root' | 'close'>;
  beforeAll(async () => {
    chainStage = await openRequestStage({ usual: 2 });
    stage = await orderStageOn(chainStage.farebox, chainStage.operator);
  });
  afterEach(async () => {
    expect(await faultsAtRest(chainStage.farebox.database.superuserUrl)).toEqual([]);
  });
  afterAll(() => chainStage.close());

  test('by the wallet of its DID: once the transfer is final it is open, and again in another browser', async () => {
    const [S1, S2] = [newSession(), newSession()];
    const payer = await newPayer(chainStage);
    const wallet = stage.wallet(payer);
    const TWO = 2_000_000n;
    const order = await stage.order(
      {
        ...{ fulfillment_url: undefined, resource: 'an article' },
        prices: [{ rail: 'evm', asset: dollarsOf(chainStage.chain), amount: TWO.toString() }],
      },
      { session_id: S1 },
    );
    const { h_contract: hash } = (await wallet.claim(order)).body;
    const asked = await wallet.pay(order, hash, S1, undefined, 'evm');
    expect(asked).toMatchObject({ status: 202, body: { status_url: expect.stringContaining('/pay/') } });
    const purchase = await payer.client.ok('GET', `/v1/purchases/${asked.body.purchase_id}`);
    const request = await payer.client.ok('GET', `/v1/payment-requests/${purchase.payment_request_id}`);
    await agree(chainStage, payer, request);
    await payDollars(payer.wallet, chainStage.chain, TWO);
    await chainStage.chain.control.mine(3);
    await eventually(
      async () => {
        await chainStage.root`update payments.request_transactions set next_check_at = now() where next_check_at is not null`;
        return standing(stage, order, S1);
      },
      ({ order_status }) => order_status === 'paid',
    );
    expect(await standing(stage, order, S2)).toMatchObject({ order_status: 'claimed' });
    expect((await wallet.prove(order, hash, S2)).status).toBe(200);
    expect(await standing(stage, order, S2)).toMatchObject({ order_status: 'paid' });
    expect(await payer.client.ok('GET', '/v1/credits/balance')).toMatchObject({ available: 0, held: 0 });
  });

  test('in an asset that is not taken here is not offered', async () => {
    const order = {
      amount: 'CREDITS:1',
      summary: 'S',
      resource: 'r',
      prices: [{ rail: 'evm', asset: 'eip155:1/slip44:60', amount: '1' }],
    };
    const reply = await stage.shop.call('POST', '/private/orders', { body: { order } });
    expect([reply.status, reply.body.errors?.[0].pointer]).toEqual([422, '/order/prices/0/asset']);
  });
});
