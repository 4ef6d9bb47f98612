import { afterAll, beforeAll, expect, test } from 'vitest';
import { choose } from '../../src/payments/requests/watch.ts';
import { fromWire } from '../../src/platform/ids.ts';
import { describeOnChain, payDollars } from '../harness/chain.ts';
import { eventually, type Json } from '../harness/client.ts';
import {
  agree,
  askFor,
  newPayer,
  openRequestStage,
  type Payer,
  type RequestStage,
  requestOf,
  TEN,
} from './request-stage.ts';

/** Payments that nobody reports: found by what arrives at the treasury. */

describeOnChain('the watcher of chains', () => {
  let stage: RequestStage;
  beforeAll(async () => {
    stage = await openRequestStage();
    await eventually(
      () => stage.root`select chain from payments.chain_cursors`, // it has begun to watch
      (rows) => rows.length === 1,
    );
  });
  afterAll(() => stage.close());

  const agreed = async (payer: Payer, more: Json = {}): Promise<Json> => {
    const request = await askFor(stage, payer, more);
    await agree(stage, payer, request);
    return request;
  };
  const stands = (payer: Payer, request: Json, status: string) =>
    eventually(
      () => requestOf(payer.client, request),
      (now) => now.status === status,
    );
  const unclaimed = async (hash: string): Promise<boolean> =>
    (
      await stage.root`select from payments.differences where kind = 'unclaimed_transfer' and resolved_at is null
        and reference like ${`%${hash}%`}`
    ).length === 1;

  // REQ P4
  test('a payment that nobody reported is found and credited, and so is the rest of it', async () => {
    const payer = await newPayer(stage);
    const request = await agreed(payer);
    const hash = await payDollars(payer.wallet, stage.chain, TEN - 3n);
    await stands(payer, request, 'underpaid');
    await payDollars(payer.wallet, stage.chain, 3n);
    const paid = await stands(payer, request, 'completed');
    expect(paid.transactions).toHaveLength(2);
    expect(paid.transactions[0].tx_hash).toBe(hash);
    expect((await payer.client.ok('GET', '/v1/credits/balance')).available).toBe(1000);
    const what = await stage.root`select what from payments.request_history
      where request_id = ${fromWire('paymentRequest', request.id)} and what = 'transaction_found'`;
    expect(what).toHaveLength(2);
  });

  test('of several open requests the one of that amount is paid', async () => {
    const payer = await newPayer(stage);
    const [small, large] = [await agreed(payer, { amount: '7' }), await agreed(payer, { amount: '9' })];
    await payDollars(payer.wallet, stage.chain, 9n);
    await stands(payer, large, 'completed');
    expect((await requestOf(payer.client, small)).status).toBe('authenticated');
  });

  test('a known payer’s money that fits nothing is told to the operator, until the payer says what it is for', async () => {
    const payer = await newPayer(stage);
    const requests = [await agreed(payer, { amount: '70' }), await agreed(payer, { amount: '90' })] as const;
    const hash = await payDollars(payer.wallet, stage.chain, 80n);
    await eventually(() => unclaimed(hash), Boolean);
    const path = `/v1/payment-requests/${requests[0].id}/transactions`;
    await payer.client.ok('POST', path, { body: { tx_hash: hash } });
    expect(await stands(payer, requests[0], 'completed')).toMatchObject({ excess: '10' });
    expect(await unclaimed(hash)).toBe(false);
  });

  test('who is first to report somebody else’s payment does not keep it from being found', async () => {
    const [payer, stranger] = [await newPayer(stage), await newPayer(stage)];
    const [own, other] = [await agreed(payer), await agreed(stranger)];
    const hash = await payDollars(payer.wallet, stage.chain, TEN);
    await stranger.client.ok('POST', `/v1/payment-requests/${other.id}/transactions`, { body: { tx_hash: hash } });
    await stands(payer, own, 'completed');
    expect((await stands(stranger, other, 'authenticated')).transactions[0].outcome).toBe('wrong_payer');
  });
});

const request = (
  id: string,
  amount: string,
  received = '0',
  state: 'authenticated' | 'underpaid' | 'expired' = 'authenticated',
) => ({
  ...{ id, amount, received, state },
});
test.each([
  ['nothing to choose from', [], 5n, undefined],
  ['one that is open takes any amount', [request('a', '9')], 5n, 'a'],
  ['the missing rest is an exact amount', [request('a', '5', '2', 'underpaid'), request('b', '5')], 3n, 'a'],
  ['two that are open, and neither fits', [request('a', '9'), request('b', '8')], 5n, undefined],
  ['what has expired only when it fits exactly', [request('a', '9', '0', 'expired')], 5n, undefined],
  ['… and then it may have been in time', [request('a', '5', '0', 'expired')], 5n, 'a'],
])('%s', (_, candidates, amount, id) => {
  expect(choose(candidates, amount)?.id).toBe(id);
});
