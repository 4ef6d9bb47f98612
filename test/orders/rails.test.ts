import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { findAnvil } from '../../sandbox/chain/anvil.ts';
import { fromWire } from '../../src/platform/ids.ts';
import { type Chain, describeOnChain, newWallet, payDollars } from '../harness/chain.ts';
import { type Client, eventually, type Json, newCustomer } from '../harness/client.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { agree, submit } from '../payments/request-stage.ts';
import { grant } from '../workflows/stage.ts';
import { expire, openRailStage, pricesOf, type RailStage } from './rail-stage.ts';
import { newSession, type Order, SHOP, seen, standing, type Wallet } from './stage.ts';

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
    const pay_deadline = { t_s: Math.floor(Date.now() / 1_000) + 600 };
    const { order, wallet, hash } = await taken(await stage.payer(), { pay_deadline }, { session_id: S1 });
    const asked = await wallet.pay(order, hash, S1, undefined, 'evm');
    expect(asked).toMatchObject({ status: 202, body: { status_url: expect.stringContaining('/pay/') } });
    const request = await stage.payOnChain(wallet.payer, asked.body.purchase_id);
    expect(Date.parse(request.expires_at), 'no longer than the order').toBeLessThan((pay_deadline.t_s + 2) * 1_000);
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

/**
 * An order that has ended, is paid by another rail or was taken by another wallet is not paid by money that comes then. It
 * buys credits for whoever paid, who can have it back.
 */
describe('money for an order that does not wait for it any more', () => {
  interface Paying {
    wallet: Wallet;
    pay(): Promise<unknown>;
    account(): Promise<Client>;
    /** Asks for it back and lets it go, to its end. */
    getBack(account: Client): Promise<Json>;
  }
  const decide = (refund: Json, what: string, body: Json) =>
    stage.operator.ok('POST', `/v1/admin/refunds/${refund.id}/${what}`, { key: randomUUID(), body });
  const askBack = (account: Client, body: Json) =>
    account.ok('POST', '/v1/refunds', { key: randomUUID(), body: { reason: 'too late', ...body } });
  const over = (account: Client, refund: Json, wanted: string) =>
    eventually(
      async () => {
        await stage.root`update refunds.refunds set next_step_at = least(next_step_at, now()) where next_step_at is not null`;
        return account.ok('GET', `/v1/refunds/${refund.id}`);
      },
      ({ status }) => status === wanted,
    );

  /** What is opened by each rail, and not paid yet. */
  const rails = {
    omise: async (order: Order, wallet: Wallet, hash: string): Promise<Paying> => {
      const { body } = await wallet.pay(order, hash, order.sessionId ?? null, undefined, 'omise');
      const charge = await stage.choosePromptPay(body);
      const account = () => stage.accountOf(wallet);
      return {
        ...{ wallet, account },
        pay: async () => {
          control().pay(charge);
          await eventually(
            async () => (await account()).ok('GET', `/v1/purchases/${body.purchase_id}`),
            ({ status }) => status === 'completed',
          );
        },
        // PromptPay takes nothing back: an operator does, by bank.
        getBack: async (by) => {
          const refund = await askBack(by, { subject: { type: 'purchase', id: body.purchase_id } });
          await over(by, refund, 'reserved');
          await decide(refund, 'payouts', { type: 'bank_transfer', reference: `KBANK ${refund.id}` });
          return over(by, refund, 'completed');
        },
      };
    },
    evm: async (order: Order, wallet: Wallet, hash: string): Promise<Paying> => {
      const { payer } = wallet as Awaited<ReturnType<RailStage['payer']>>;
      const { body } = await wallet.pay(order, hash, order.sessionId ?? null, undefined, 'evm');
      let request: Json;
      return {
        ...{ wallet, account: async () => payer.client },
        pay: async () => {
          request = await stage.payOnChain(payer, body.purchase_id);
          await eventually(
            () => payer.client.ok('GET', `/v1/purchases/${body.purchase_id}`),
            ({ status }) => status === 'completed',
          );
        },
        getBack: async (by) => {
          const about = { payment_request_id: request.id };
          const asked = await by.ok('POST', '/v1/refunds/challenges', { body: about });
          const proof = { challenge_id: asked.challenge_id, answer: await payer.prove(asked) };
          const refund = await askBack(by, { subject: { type: 'payment_request', id: request.id }, proof });
          await decide(refund, 'approve', { reason: 'fair' });
          const cold = await newWallet(stage.chain as Chain);
          const hash = await payDollars(
            cold,
            stage.chain as Chain,
            BigInt(refund.amount),
            payer.wallet.account.address,
          );
          await stage.chain?.control.mine(3);
          await decide(refund, 'payouts', { type: 'transaction', tx_hash: hash });
          return over(by, refund, 'completed');
        },
      };
    },
  };
  const newWalletOf = (rail: keyof typeof rails): Promise<Wallet> =>
    rail === 'evm' ? stage.payer() : Promise.resolve(stage.wallet());

  const address = `${SHOP}/articles/${randomUUID()}`;
  const ends: [how: string, end: (order: Order, paying: Wallet, hash: string) => Promise<string>][] = [
    [
      'because its time is over',
      async (order) => {
        await expire(stage, order);
        return 'claimed';
      },
    ],
    [
      'because it was paid with credits meanwhile',
      async (order, wallet, hash) => {
        const rich = await newCustomer(stage.farebox);
        await grant(stage.operator, rich, 40);
        expect((await wallet.pay(order, hash, order.sessionId ?? null, rich)).status).toBe(200);
        return 'paid';
      },
    ],
    [
      'because another order has opened the same',
      async ({ sessionId: session_id }) => {
        const [rich, other] = [
          await stage.richWallet(),
          await stage.order({ fulfillment_url: address }, { session_id }),
        ];
        await rich.buy(other);
        return 'claimed';
      },
    ],
    [
      'because another wallet has taken it since',
      async (order, wallet, hash) => {
        expect((await wallet.unclaim(order, hash)).status).toBe(204);
        expect((await stage.wallet().claim(order)).status).toBe(200);
        return 'claimed';
      },
    ],
  ];
  const all = ends.flatMap(([how, end]) => (['omise', 'evm'] as const).map((rail) => ({ how, end, rail })));

  test.each(findAnvil() ? all : all.filter(({ rail }) => rail !== 'evm'))(
    'by $rail, $how, pays nothing, and goes back',
    async ({ rail, end }) => {
      const session = newSession();
      const terms = { fulfillment_url: address };
      const { order, wallet, hash } = await taken(await newWalletOf(rail), terms, { session_id: session });
      const paying = await rails[rail](order, wallet, hash);
      const state = await end(order, wallet, hash);
      await paying.pay();
      expect(await standing(stage, order)).toMatchObject({ order_status: state });
      const account = await paying.account();
      expect(await account.ok('GET', '/v1/credits/balance')).toMatchObject({ available: 40, held: 0 });
      expect(await paying.getBack(account)).toMatchObject({ credits: 40 });
      expect(await account.ok('GET', '/v1/credits/balance')).toMatchObject({ available: 0, held: 0, debt: 0 });
      const { data } = await stage.shop.ok('GET', '/v1/events?type=payments.order_paid&limit=100');
      const times = data.filter((event: Json) => event.data.order_id === order.id).length;
      expect(times).toBe(state === 'paid' ? 1 : 0);
    },
  );
});

describeOnChain('a wallet that changes its mind about the rail', () => {
  test('ends what it has begun, at the provider, too; and pays once by the other one', async () => {
    const session = newSession();
    const { order, wallet, hash } = await taken(await stage.payer(), {}, { session_id: session });
    const open = async (rail: string) => (await wallet.pay(order, hash, session, undefined, rail)).body;
    const stateOf = async ({ purchase_id }: Json) =>
      (await wallet.payer.client.ok('GET', `/v1/purchases/${purchase_id}`)).status;
    const scanned = await open('omise');
    const charge = await stage.choosePromptPay(scanned);
    const sent = await open('evm');
    expect(await stateOf(scanned)).toBe('cancelled');
    expect(control().charge(charge)['status'], 'nobody can pay it any more').toBe('expired');
    const again = await open('omise');
    expect([await stateOf(sent), again.purchase_id !== scanned.purchase_id]).toEqual(['cancelled', true]);
    control().pay(await stage.choosePromptPay(again));
    await stage.becomes(order, session, 'paid');
  });

  test('is told to wait where its money is on the way already', async () => {
    const { order, wallet, hash } = await taken(await stage.payer());
    const { body } = await wallet.pay(order, hash, null, undefined, 'evm');
    await stage.payOnChain(wallet.payer, body.purchase_id, 1_000_000n);
    await eventually(
      async () => {
        const { payment_request_id: id } = await wallet.payer.client.ok('GET', `/v1/purchases/${body.purchase_id}`);
        return wallet.payer.client.ok('GET', `/v1/payment-requests/${id}`);
      },
      ({ status }) => status === 'underpaid',
    );
    const other = await wallet.pay(order, hash, null, undefined, 'omise');
    expect([other.status, other.body.detail]).toEqual([409, 'The payment request is underpaid.']);
  });

  test('when its payment on chain had ended, and is seen after all: it counts', async () => {
    const session = newSession();
    const { order, wallet, hash } = await taken(await stage.payer(), {}, { session_id: session });
    const { client } = wallet.payer;
    const sent = (await wallet.pay(order, hash, session, undefined, 'evm')).body;
    const { payment_request_id: id } = await client.ok('GET', `/v1/purchases/${sent.purchase_id}`);
    const requests = { ...stage, chain: stage.chain as Chain, merchant: stage.shop };
    await agree(requests, wallet.payer, { id });
    const ends = (inS: number) =>
      stage.root.begin(async (tx) => {
        await tx`alter table payments.payment_requests disable trigger payment_requests_frozen`;
        await tx`update payments.payment_requests set expires_at = now() + make_interval(secs => ${inS})
          where id = ${fromWire('paymentRequest', id)}`;
        await tx`alter table payments.payment_requests enable trigger payment_requests_frozen`;
      });
    await ends(0);
    await eventually(
      () => client.ok('GET', `/v1/purchases/${sent.purchase_id}`),
      ({ status }) => status === 'expired',
    );
    expect((await wallet.pay(order, hash, session, undefined, 'omise')).status).toBe(202);
    await ends(60);
    await submit(wallet.payer, { id }, await payDollars(wallet.payer.wallet, requests.chain, 2_000_000n));
    await requests.chain.control.mine(3);
    await stage.becomes(order, session, 'paid');
    expect((await client.ok('GET', `/v1/purchases/${sent.purchase_id}`)).status).toBe('completed');
  });
});

describe('a wallet that takes an order after another one gave it up', () => {
  test('pays by a purchase of its own, whatever the other one has begun', async () => {
    const session = newSession();
    const { order, wallet: first, hash } = await taken(stage.wallet(), {}, { session_id: newSession() });
    const begun = (await first.pay(order, hash, newSession(), undefined, 'omise')).body;
    await first.unclaim(order, hash);
    const second = stage.wallet();
    const agreed = (await second.claim(order)).body.h_contract;
    const asked = await second.pay(order, agreed, session, undefined, 'omise');
    expect(asked.status).toBe(202);
    expect(asked.body.purchase_id).not.toBe(begun.purchase_id);
    control().pay(await stage.choosePromptPay(asked.body));
    await stage.becomes(order, session, 'paid');
    control().pay(await stage.choosePromptPay(begun));
    const loser = await stage.accountOf(first);
    await eventually(
      () => loser.ok('GET', '/v1/credits/balance'),
      ({ available }) => available === 40,
    );
    expect((await second.prove(order, agreed, session)).status).toBe(200);
  });
});
