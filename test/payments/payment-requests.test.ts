import { afterAll, beforeAll, expect, test } from 'vitest';
import { fromWire } from '../../src/platform/ids.ts';
import { callOf, describeOnChain, payDollars } from '../harness/chain.ts';
import { clientOf, eventually, type Json, newCustomer } from '../harness/client.ts';
import { keyTypes } from '../harness/dids.ts';
import {
  agree,
  askFor,
  newPayer,
  openRequestStage,
  type Payer,
  type RequestStage,
  requestOf,
  standing,
  submit,
  TEN,
} from './request-stage.ts';

const availableTo = async ({ client }: Payer): Promise<number> =>
  (await client.ok('GET', '/v1/credits/balance')).available;
const statesOf = async ({ root }: RequestStage, request: Json): Promise<string[]> =>
  (
    await root`select distinct on (seq) replace(type, 'payments.payment_request_', '') as what from platform.events
      where subject_id = ${fromWire('paymentRequest', request.id)} order by seq`
  ).map((row) => String(row['what']));

describeOnChain('payment requests', () => {
  let stage: RequestStage;
  beforeAll(async () => {
    stage = await openRequestStage();
  });
  afterAll(() => stage.close());

  const agreed = async (payer: Payer, more: Json = {}): Promise<Json> => {
    const request = await askFor(stage, payer, more);
    await agree(stage, payer, request);
    return request;
  };

  test.each([...keyTypes, 'pkh'] as const)('a %s identity agrees, pays, and has the credits', async (type) => {
    const payer = await newPayer(stage, type);
    const request = await askFor(stage, payer);
    expect(request).toMatchObject({ status: 'pending', display: '10 TUSD', received: '0', payment_uri: null });
    expect(await agree(stage, payer, request)).toMatchObject({ status: 'authenticated' });
    const { payment_uri: uri } = await requestOf(payer.client, request);
    expect(uri).toMatch(/^ethereum:0x[0-9a-fA-F]{40}@31337\/transfer\?address=0x[0-9a-fA-F]{40}&uint256=10000000$/);
    await submit(payer, request, await payDollars(payer.wallet, stage.chain, TEN));
    const paid = await standing(stage, payer.client, request, 'completed');
    expect(paid).toMatchObject({ received: TEN.toString(), remaining: '0', excess: '0', payment_uri: null });
    expect(paid.transactions).toMatchObject([{ outcome: 'counted', amount: TEN.toString(), final: true }]);
    expect(await availableTo(payer)).toBe(1000);
    expect(await requestOf(stage.merchant, request), 'the merchant sees the same').toEqual(paid);
  });

  test('too little waits for the rest, and too much is kept as excess', async () => {
    const payer = await newPayer(stage);
    const request = await agreed(payer);
    await submit(payer, request, await payDollars(payer.wallet, stage.chain, TEN - 1n));
    const under = await standing(stage, payer.client, request, 'underpaid');
    expect(under).toMatchObject({ received: '9999999', remaining: '1' });
    expect(under.payment_uri).toContain('uint256=1');
    expect(await availableTo(payer)).toBe(0);
    await submit(payer, request, await payDollars(payer.wallet, stage.chain, 5n));
    const paid = await standing(stage, payer.client, request, 'completed');
    expect(paid).toMatchObject({ received: '10000004', excess: '4', remaining: '0' });
    expect(await availableTo(payer)).toBe(1000);
  });

  test('one transfer submitted for twenty requests at once pays one of them', async () => {
    const payer = await newPayer(stage);
    const requests = await Promise.all(Array.from({ length: 20 }, () => agreed(payer)));
    const hash = await payDollars(payer.wallet, stage.chain, TEN);
    await Promise.all(requests.map((request) => submit(payer, request, hash)));
    const ended = await eventually(
      () => Promise.all(requests.map((request) => requestOf(payer.client, request))),
      (all) => all.every(({ status }) => status === 'completed' || status === 'authenticated'),
    );
    expect(ended.filter(({ status }) => status === 'completed')).toHaveLength(1);
    const others = ended.filter(({ status }) => status !== 'completed');
    expect(others.every(({ transactions }) => transactions[0].outcome === 'tx_already_used')).toBe(true);
    expect(await availableTo(payer)).toBe(1000);
  });

  test('a stranger who is first with the payer’s hash gets nothing, and the payer loses nothing', async () => {
    const [payer, stranger] = [await newPayer(stage), await newPayer(stage)];
    const [own, other] = [await agreed(payer), await agreed(stranger)];
    const hash = await payDollars(payer.wallet, stage.chain, TEN);
    await submit(stranger, other, hash);
    const refused = await eventually(
      () => requestOf(stranger.client, other),
      ({ transactions }) => transactions[0].outcome !== 'tx_pending',
    );
    expect([refused.status, refused.transactions[0].outcome]).toEqual(['authenticated', 'wrong_payer']);
    await submit(payer, own, hash);
    await standing(stage, payer.client, own, 'completed');
    expect([await availableTo(payer), await availableTo(stranger)]).toEqual([1000, 0]);
  });

  test('a coin that was not asked for and a reverted transaction pay nothing; the payer is told and tries again', async () => {
    const payer = await newPayer(stage);
    const request = await agreed(payer);
    const { wallet } = payer;
    const coin = await wallet.sendTransaction({ to: stage.chain.treasury, value: 1n });
    const tooMuch = await payDollars(wallet, stage.chain, 10n ** 18n); // more than there is
    for (const [hash, outcome] of [
      [coin, 'no_matching_transfer'],
      [tooMuch, 'tx_reverted'],
    ] as const) {
      await submit(payer, request, hash);
      const told = await eventually(
        () => requestOf(payer.client, request),
        ({ transactions }) => transactions.some((one: Json) => one.tx_hash === hash && one.outcome === outcome),
      );
      expect(told.status).toBe('authenticated');
    }
    await submit(payer, request, await payDollars(wallet, stage.chain, TEN));
    await standing(stage, payer.client, request, 'completed');
    expect(await statesOf(stage, request)).toContain('transaction_refused');
  });

  test('what is in the chain in time counts, though it is told after the end; what comes later is late', async () => {
    const [prompt, tardy] = [await newPayer(stage), await newPayer(stage)];
    const [own, other] = [await agreed(prompt), await agreed(tardy)];
    const hash = await payDollars(prompt.wallet, stage.chain, TEN);
    for (const request of [own, other]) await pastEnd(request);
    await standing(stage, stage.merchant, other, 'expired');
    await submit(prompt, own, hash);
    await submit(tardy, other, await payDollars(tardy.wallet, stage.chain, TEN));
    expect(await standing(stage, tardy.client, other, 'late')).toMatchObject({ received: TEN.toString() });
    await standing(stage, prompt.client, own, 'completed');
    expect(await availableTo(tardy)).toBe(0);
  });

  /** As if it had been made an hour ago and ended just now, after the last block. */
  async function pastEnd(request: Json): Promise<void> {
    await stage.root.begin(async (tx) => {
      await tx`alter table payments.payment_requests disable trigger payment_requests_frozen`;
      await tx`update payments.payment_requests set expires_at = now() where id = ${fromWire('paymentRequest', request.id)}`;
      await tx`alter table payments.payment_requests enable trigger payment_requests_frozen`;
    });
    await new Promise((resolve) => setTimeout(resolve, 1_100)); // blocks carry whole seconds
  }

  test('a payment that is gone from the chain takes its credits back, and gives them again when it returns', async () => {
    const payer = await newPayer(stage);
    const request = await agreed(payer);
    const before = await stage.chain.control.snapshot();
    const data = callOf('TestToken', 'transfer', stage.chain.treasury, TEN);
    const order = await payer.wallet.prepareTransactionRequest({ to: stage.chain.token, data });
    const serializedTransaction = await payer.wallet.signTransaction(order);
    const send = () => payer.wallet.sendRawTransaction({ serializedTransaction });
    await submit(payer, request, await send());
    await standing(stage, payer.client, request, 'completed');
    await stage.chain.control.revert(before);
    await stage.chain.control.mine(3);
    const gone = await standing(stage, payer.client, request, 'submitted');
    expect(gone.transactions[0]).toMatchObject({
      outcome: expect.stringMatching(/reorged|tx_not_found/),
      amount: null,
    });
    expect(await availableTo(payer)).toBe(0);
    await send();
    await standing(stage, payer.client, request, 'completed');
    expect(await availableTo(payer)).toBe(1000);
    const kinds = await stage.root`select kind from credits.transfers
      where account_id = ${fromWire('account', payer.client.accountId)} order by seq`;
    expect(kinds.map(({ kind }) => kind)).toEqual(['purchase', 'clawback', 'repay', 'purchase']);
    expect(await statesOf(stage, request)).toContain('reorged');
  });

  test('who asks, and for what, is checked; terms are frozen', async () => {
    const payer = await newPayer(stage);
    const body = {
      ...{ payer: payer.did, asset: `eip155:31337/erc20:${stage.chain.token}`, amount: '1' },
      ...{ purpose: { type: 'invoice', reference: 'INV-1' }, description: 'An invoice' },
    };
    const ask = (change: Json, client = stage.merchant) => client.post('/v1/payment-requests', { ...body, ...change });
    const codes = await Promise.all([
      ask({ asset: 'eip155:1/slip44:60' }),
      ask({ amount: '0' }),
      ask({ amount: '1.5' }),
      ask({ payer: 'did:web:example.com' }),
      ask({}, payer.client),
      ask({ expires_in_s: 1 }),
    ]);
    expect(codes.map(({ status, body }) => [status, body.errors?.[0]?.code ?? body.code])).toEqual([
      [422, 'asset_unsupported'],
      [422, 'amount_invalid'],
      [422, 'amount_invalid'],
      [400, 'did_method_unsupported'],
      [403, 'forbidden'],
      [422, expect.any(String)],
    ]);
    const { body: request } = await ask({});
    const id = fromWire('paymentRequest', request.id);
    await expect(stage.root`update payments.payment_requests set amount = 2 where id = ${id}`).rejects.toThrow(
      'frozen',
    );
    const stranger = await newCustomer(stage.farebox);
    expect((await stranger.get(`/v1/payment-requests/${request.id}`)).status).toBe(404);
    expect((await payer.client.get(`/v1/payment-requests/${request.id}`)).status, 'before agreeing').toBe(200);
    expect((await payer.client.ok('GET', '/v1/payment-requests?as=payer')).data.map((one: Json) => one.id)).toContain(
      request.id,
    );
  });

  test('the wrong signature costs a try and leaves the request open; another DID cannot agree', async () => {
    const [payer, other] = [await newPayer(stage), await newPayer(stage)];
    const request = await askFor(stage, payer);
    const anybody = clientOf(stage.farebox.url);
    const asked = await anybody.ok('POST', `/v1/payment-requests/${request.id}/challenges`);
    const answer = (proof: Json) =>
      anybody.call('POST', `/v1/payment-requests/${request.id}/authorizations`, {
        body: { challenge_id: asked.challenge_id, proof },
      });
    const refused = await answer(await other.prove(asked));
    expect([refused.status, refused.body.code]).toEqual([401, 'did_auth_failed']);
    expect(await requestOf(stage.merchant, request)).toMatchObject({ status: 'pending' });
    const replies = await Promise.all(Array.from({ length: 3 }, async () => answer(await payer.prove(asked))));
    expect(replies.map(({ status }) => status).sort()).toEqual([200, 401, 401]);
  });

  test('a cancelled request can be agreed to no more', async () => {
    const payer = await newPayer(stage);
    const request = await askFor(stage, payer);
    const cancel = () => stage.merchant.post(`/v1/payment-requests/${request.id}/cancel`, {});
    expect((await cancel()).body.status).toBe('cancelled');
    expect((await cancel()).status).toBe(200);
    const anybody = clientOf(stage.farebox.url);
    expect((await anybody.call('POST', `/v1/payment-requests/${request.id}/challenges`)).body.code).toBe('conflict');
  });
});
