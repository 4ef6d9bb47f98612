import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { callOf, describeOnChain, dollarsOf, payDollars } from '../harness/chain.ts';
import { type Client, eventually, type Json, newCustomer } from '../harness/client.ts';
import { agree, newPayer, openRequestStage, type Payer, type RequestStage, requestOf, TEN } from './request-stage.ts';

/** Packages that are bought on chain. */

describeOnChain('buying a package on chain', () => {
  let stage: RequestStage;
  let pack: Json;
  beforeAll(async () => {
    stage = await openRequestStage();
    const body = { name: 'Starter', credits: 500, price: 50_000 };
    pack = await stage.operator.ok('POST', '/v1/admin/packages', { body });
    await price([{ asset: dollarsOf(stage.chain), amount: TEN.toString() }]);
  });
  afterAll(() => stage.close());

  const price = (prices: Json) =>
    stage.operator.ok('PUT', `/v1/admin/packages/${pack.id}/crypto-prices`, { body: { prices } });
  const order = (more: Json = {}) => ({
    package_id: pack.id,
    method: { type: 'crypto', asset: dollarsOf(stage.chain), ...more },
  });
  const buy = (client: Client, key: string = randomUUID()) =>
    client.ok('POST', '/v1/purchases', { key, body: order() });
  const requestFor = ({ client }: Payer, { payment_request_id: id }: Json): Promise<Json> => requestOf(client, { id });
  const becomes = ({ client }: Payer, { id }: Json, status: string) =>
    eventually(
      async () => {
        await stage.root`update payments.request_transactions set next_check_at = least(next_check_at, now())`;
        return client.ok('GET', `/v1/purchases/${id}`);
      },
      (now) => now.status === status,
    );
  const availableTo = async ({ client }: Payer) => (await client.ok('GET', '/v1/credits/balance')).available;

  test('the package tells what it costs there', async () => {
    const anybody = await newCustomer(stage.farebox);
    const offered = await anybody.ok('GET', `/v1/packages/${pack.id}`);
    expect(offered.methods).toContain('crypto');
    expect(offered.crypto_prices).toEqual([
      { asset: dollarsOf(stage.chain), amount: TEN.toString(), display: '10 TUSD' },
    ]);
    expect((await anybody.ok('GET', '/v1/packages')).data[0].crypto_prices).toEqual(offered.crypto_prices);
  });

  // REQ P4
  test('it is agreed to, paid, and completed; a repeat finds the same purchase, though the chain is asked for nothing', async () => {
    const payer = await newPayer(stage, 'Ed25519');
    const key = randomUUID();
    const purchase = await buy(payer.client, key);
    expect(purchase).toMatchObject({ status: 'pending', method: 'crypto', credits: 500, qr_url: null });
    expect(await buy(payer.client, key)).toEqual(purchase);
    const request = await requestFor(payer, purchase);
    expect(request).toMatchObject({ purchase_id: purchase.id, payer: payer.did, amount: TEN.toString() });
    expect(request.page_url).toBe(purchase.status_url);
    await agree(stage, payer, request);
    await payDollars(payer.wallet, stage.chain, TEN);
    await becomes(payer, purchase, 'completed');
    expect(await availableTo(payer)).toBe(500);
    const events = await payer.client.ok('GET', '/v1/events?type=payments.purchase_completed');
    expect(events.data).toHaveLength(1);
  });

  test('a payment that is gone from the chain leaves the purchase open, and completes it again when it returns', async () => {
    const payer = await newPayer(stage);
    const purchase = await buy(payer.client);
    const request = await requestFor(payer, purchase);
    await agree(stage, payer, request);
    const before = await stage.chain.control.snapshot();
    const data = callOf('TestToken', 'transfer', stage.chain.treasury, TEN);
    const prepared = await payer.wallet.prepareTransactionRequest({ to: stage.chain.token, data });
    const serializedTransaction = await payer.wallet.signTransaction(prepared);
    const send = () => payer.wallet.sendRawTransaction({ serializedTransaction });
    const tx_hash = await send();
    await payer.client.ok('POST', `/v1/payment-requests/${request.id}/transactions`, { body: { tx_hash } });
    await becomes(payer, purchase, 'completed');
    await stage.chain.control.revert(before);
    await stage.chain.control.mine(3);
    await becomes(payer, purchase, 'pending');
    expect(await availableTo(payer)).toBe(0);
    await send();
    await becomes(payer, purchase, 'completed');
    expect(await availableTo(payer)).toBe(500);
  });

  test('cancelling it withdraws the request, and what ends unpaid expires with it', async () => {
    const payer = await newPayer(stage);
    const purchase = await buy(payer.client);
    const cancelled = await payer.client.ok('POST', `/v1/purchases/${purchase.id}/cancel`);
    expect(cancelled.status).toBe('cancelled');
    expect((await requestFor(payer, purchase)).status).toBe('cancelled');
    await payer.client.ok('POST', `/v1/purchases/${purchase.id}/cancel`);
  });

  test('the page of the purchase is the page of its request', async () => {
    const payer = await newPayer(stage);
    const { status_url: url } = await buy(payer.client);
    const { pathname } = new URL(url);
    expect((await payer.client.get(pathname)).text).toContain('10 TUSD');
    const checkout = await payer.client.get(pathname.replace('/pay/', '/checkout/'));
    expect([checkout.status, checkout.headers.get('location')]).toEqual([303, pathname]);
  });

  test('who cannot pay so is told why', async () => {
    const payer = await newPayer(stage);
    const [other, nobody] = [await newPayer(stage), await newCustomer(stage.farebox)];
    const codes = [
      await nobody.post('/v1/purchases', order()),
      await payer.client.post('/v1/purchases', order({ payer: other.did })),
      await payer.client.post('/v1/purchases', order({ asset: 'eip155:1/slip44:60' })),
      await payer.client.post('/v1/purchases', order({ payer: 'did:web:example.com' })),
    ].map(({ status, body }) => [status, body.errors?.[0]?.code ?? body.code]);
    expect(codes).toEqual([
      [422, 'did_required'],
      [422, 'did_required'],
      [422, 'method_unavailable'],
      [400, 'did_method_unsupported'],
    ]);
    const priced = await Promise.all(
      [
        [{ asset: 'eip155:1/slip44:60', amount: '1' }],
        [{ asset: dollarsOf(stage.chain), amount: '0' }],
        [1, 2].map((n) => ({ asset: dollarsOf(stage.chain), amount: String(n) })),
      ].map((prices) =>
        stage.operator.call('PUT', `/v1/admin/packages/${pack.id}/crypto-prices`, { body: { prices } }),
      ),
    );
    expect(priced.map(({ status, body }) => [status, body.errors[0].pointer])).toEqual([
      [422, '/prices/0/asset'],
      [422, '/prices/0/amount'],
      [422, '/prices/1/asset'],
    ]);
  });
});
