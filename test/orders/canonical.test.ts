import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { findAnvil } from '../../sandbox/chain/anvil.ts';
import type { Client, Json } from '../harness/client.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { openRailStage, pricesOf, type RailStage } from './rail-stage.ts';
import { newSession, type Order, SHOP, seen, standing, type Wallet } from './stage.ts';

/** GNU Taler's own acceptance test (`test-paywall-flow.ts`, research §1), step by step, by each rail. */

let stage: RailStage;
beforeAll(async () => {
  stage = await openRailStage();
});
afterEach(async () => {
  expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
});
afterAll(() => stage.close());

interface Reader {
  wallet: Wallet;
  /** Pays an order that it has claimed. */
  pay(order: Order, hash: string, session: string): Promise<unknown>;
  account(): Promise<Client>;
  /** What lies on the account once forty credits were paid, once. */
  left: number;
  /** So many purchases were made for them. */
  purchases: number;
}

const open = async (rail: string, wallet: Wallet, [order, hash, session]: Parameters<Reader['pay']>): Promise<Json> => {
  const asked = await wallet.pay(order, hash, session, undefined, rail);
  expect(asked.status).toBe(202);
  expect(await standing(stage, order, session), 'not paid by asking').toMatchObject({ order_status: 'claimed' });
  return asked.body;
};

const readers: Record<'credits' | 'omise' | 'evm', () => Promise<Reader>> = {
  credits: async () => {
    const wallet = await stage.richWallet(100);
    const pay: Reader['pay'] = async (...paying) => expect((await wallet.pay(...paying)).status).toBe(200);
    return { wallet, pay, account: async () => wallet.customer, left: 60, purchases: 0 };
  },
  omise: async () => {
    const wallet = stage.wallet();
    const pay: Reader['pay'] = async (...paying) => {
      const charge = await stage.choosePromptPay(await open('omise', wallet, paying));
      stage.farebox.omise.control.pay(charge);
    };
    return { wallet, pay, account: () => stage.accountOf(wallet), left: 0, purchases: 1 };
  },
  evm: async () => {
    const wallet = await stage.payer();
    const pay: Reader['pay'] = async (...paying) =>
      stage.payOnChain(wallet.payer, (await open('evm', wallet, paying)).purchase_id);
    return { wallet, pay, account: async () => wallet.payer.client, left: 0, purchases: 1 };
  },
};

// REQ O1 O6 O9
describe('the canonical sequence: one payment, proved for other sessions, and never paid again', () => {
  const rails = Object.keys(readers) as (keyof typeof readers)[];

  test.each(findAnvil() ? rails : rails.filter((rail) => rail !== 'evm'))('by %s', async (rail) => {
    const [S1, S2, S3, S4] = [newSession(), newSession(), newSession(), newSession()];
    const { wallet, pay, account, left, purchases } = await readers[rail]();
    const terms = { fulfillment_url: `${SHOP}/articles/${randomUUID()}`, prices: pricesOf(stage) };

    // 1: the shop makes an order; it is unpaid, and nothing else opens the same
    const A = await stage.order(terms, { session_id: S1 });
    const unpaid = await standing(stage, A, S1);
    expect(unpaid).toMatchObject({ order_status: 'unpaid', total_amount: 'CREDITS:40', summary: 'On paying once' });
    expect(unpaid).not.toHaveProperty('already_paid_order_id');
    // 2: its public page asks for a payment
    const before = { token: A.token, session_id: S1 };
    expect((await seen(stage, A, before)).status).toBe(402);
    // 3: the wallet takes it; the address from before still asks
    const hash = (await wallet.claim(A)).body.h_contract;
    expect((await seen(stage, A, before)).status).toBe(402);
    // 4: the wallet pays, and the page says so
    await pay(A, hash, S1);
    await stage.becomes(A, S1, 'paid');
    expect((await seen(stage, A, { h_contract: hash, session_id: S1 })).status).toBe(200);
    // 5: another session is not served by it
    expect(await standing(stage, A, S2)).toMatchObject({ order_status: 'claimed' });
    // 6: which gets an order of its own, for the same address
    const B = await stage.order(terms, { session_id: S3 });
    expect(await standing(stage, B, S3)).toMatchObject({ order_status: 'unpaid' });
    // 7: the wallet knows that it has paid, and shows the old order for the new session
    const again = await wallet.claim(B);
    expect(again.body).toMatchObject({ already_paid_order_id: A.id, already_paid_h_contract: hash });
    expect((await wallet.prove(A, hash, S3)).body).toMatchObject({ refunded: false });
    // 8: so the old order is open to that session
    expect(await standing(stage, A, S3)).toMatchObject({ order_status: 'paid' });
    // 9: and to no further one
    expect(await standing(stage, A, S4)).toMatchObject({ order_status: 'claimed' });
    // 10: and the page of the new one, which is never paid, leads to the old one
    const told = await seen(stage, B, { h_contract: again.body.h_contract, session_id: S3 });
    expect(told).toMatchObject({
      ...{ status: 402, body: { already_paid_order_id: A.id, fulfillment_url: terms.fulfillment_url } },
    });

    const payer = await account();
    expect(await payer.ok('GET', '/v1/credits/balance'), 'charged once').toMatchObject({ available: left, held: 0 });
    expect((await payer.ok('GET', '/v1/purchases')).data).toHaveLength(purchases);
  });
});
