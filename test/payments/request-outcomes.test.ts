import { createWalletClient, erc20Abi, type Hex, http, publicActions } from 'viem';
import { foundry } from 'viem/chains';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { fromWire } from '../../src/platform/ids.ts';
import {
  authorization,
  callOf,
  describeOnChain,
  etherOf,
  newWallet,
  otherToken,
  payDollars,
  send,
} from '../harness/chain.ts';
import { eventually, type Json } from '../harness/client.ts';
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

/** What becomes of a payment request, whatever is sent for it and however the chain behaves. */

describeOnChain('a payment request', () => {
  let stage: RequestStage;
  beforeAll(async () => {
    stage = await openRequestStage();
  });
  afterEach(() => stage.chain.control.automine(true));
  afterAll(() => stage.close());

  const agreed = async (more: Json = {}): Promise<{ payer: Payer; request: Json }> => {
    const payer = await newPayer(stage);
    const request = await askFor(stage, payer, more);
    await agree(stage, payer, request);
    return { payer, request };
  };
  const balanceOf = async ({ client }: Payer) => (await client.ok('GET', '/v1/credits/balance')).available;
  const outcomeOf = (payer: Payer, request: Json, hash: string, outcome: string) =>
    eventually(
      () => requestOf(payer.client, request),
      ({ transactions }) => transactions.some((one: Json) => one.tx_hash === hash && one.outcome === outcome),
    );

  test.each<[string, (payer: Payer) => Promise<Hex>]>([
    [
      'another token',
      async ({ wallet }) => {
        const token = await otherToken(wallet);
        await send(wallet, { to: token, data: callOf('TestToken', 'mint', wallet.account.address, TEN) });
        return send(wallet, { to: token, data: callOf('TestToken', 'transfer', stage.chain.treasury, TEN) });
      },
    ],
    [
      'a look-alike that only tells of a transfer',
      ({ wallet }) => {
        const told = callOf('FakeEmitter', 'emitTransfer', wallet.account.address, stage.chain.treasury, TEN);
        return send(wallet, { to: stage.chain.fakeToken, data: told });
      },
    ],
    [
      'the right token, but to somebody else',
      ({ wallet }) => payDollars(wallet, stage.chain, TEN, wallet.account.address),
    ],
  ])('%s pays nothing; the payer is told, and may try again', async (_, pay) => {
    const { payer, request } = await agreed();
    const hash = await pay(payer);
    await submit(payer, request, hash);
    const told = await outcomeOf(payer, request, hash, 'no_matching_transfer');
    expect([told.status, told.received]).toEqual(['authenticated', '0']);
    await submit(payer, request, await payDollars(payer.wallet, stage.chain, TEN));
    await standing(stage, payer.client, request, 'completed');
    expect(await balanceOf(payer)).toBe(1000);
  });

  test('in the native coin is paid by a plain transfer, and not through a contract', async () => {
    const { payer, request } = await agreed({ asset: etherOf(stage.chain), amount: '7' });
    const { chain } = stage;
    const data = callOf('EtherForwarder', 'forward', chain.treasury);
    const hash = await send(payer.wallet, { to: chain.forwarder, data, value: 7n });
    await submit(payer, request, hash);
    await outcomeOf(payer, request, hash, 'no_matching_transfer');
    await submit(payer, request, await send(payer.wallet, { to: chain.treasury, value: 7n }));
    await standing(stage, payer.client, request, 'completed');
  });

  test('of which a fee was taken on the way is underpaid by it', async () => {
    const { payer, request } = await agreed();
    const fee = (points: bigint) =>
      send(payer.wallet, { to: stage.chain.token, data: callOf('TestToken', 'setFee', points) });
    await fee(100n);
    const hash = await payDollars(payer.wallet, stage.chain, TEN);
    await fee(0n);
    await submit(payer, request, hash);
    const under = await standing(stage, payer.client, request, 'underpaid');
    expect(under).toMatchObject({ received: '9900000', remaining: '100000' });
  });

  test('that a relayer brings (EIP-3009) is paid by whoever signed it', async () => {
    const { payer, request } = await agreed();
    const relayer = await newWallet(stage.chain);
    const data = await authorization(stage.chain, payer.wallet, TEN);
    await submit(payer, request, await send(relayer, { to: stage.chain.token, data }));
    await standing(stage, payer.client, request, 'completed');
    expect(await balanceOf(payer)).toBe(1000);
  });

  test('in the pool is on its way, and one that was replaced is waited for while the other pays', async () => {
    const { payer, request } = await agreed();
    const { wallet } = payer;
    await stage.chain.control.automine(false);
    const nonce = await wallet.getTransactionCount({ address: wallet.account.address });
    const [gas, to] = [100_000n, stage.chain.token];
    const data = callOf('TestToken', 'transfer', stage.chain.treasury, TEN);
    const at = (gwei: bigint) =>
      wallet.sendTransaction({ to, data, nonce, gas, maxFeePerGas: gwei * 10n ** 9n, maxPriorityFeePerGas: gwei });
    const replaced = await at(10n);
    await submit(payer, request, replaced);
    await outcomeOf(payer, request, replaced, 'tx_pending');
    expect((await requestOf(payer.client, request)).status).toBe('submitted');
    const replacing = await at(20n);
    await stage.chain.control.mine();
    await submit(payer, request, replacing);
    const paid = await standing(stage, payer.client, request, 'completed');
    expect(paid.received).toBe(TEN.toString());
    expect(await balanceOf(payer)).toBe(1000);
  });

  test('told by a hash that nobody knows waits, and is paid by what comes', async () => {
    const { payer, request } = await agreed();
    const unknown = `0x${'ab'.repeat(32)}`;
    await submit(payer, request, unknown);
    await outcomeOf(payer, request, unknown, 'tx_not_found');
    expect((await requestOf(payer.client, request)).status).toBe('submitted');
    await submit(payer, request, await payDollars(payer.wallet, stage.chain, TEN));
    await standing(stage, payer.client, request, 'completed');
    expect(await balanceOf(payer)).toBe(1000);
  });

  test('that takes late payments is completed by one', async () => {
    const { payer, request } = await agreed({ late: 'accepted' });
    expect(request.terms.late).toBe('accepted');
    await stage.root.begin(async (tx) => {
      await tx`alter table payments.payment_requests disable trigger payment_requests_frozen`;
      await tx`update payments.payment_requests set expires_at = now() where id = ${fromWire('paymentRequest', request.id)}`;
      await tx`alter table payments.payment_requests enable trigger payment_requests_frozen`;
    });
    await standing(stage, stage.merchant, request, 'expired');
    await new Promise((resolve) => setTimeout(resolve, 1_100)); // blocks carry whole seconds
    await submit(payer, request, await payDollars(payer.wallet, stage.chain, TEN));
    await standing(stage, payer.client, request, 'completed');
    expect(await balanceOf(payer)).toBe(1000);
  });

  test('is paid by viem alone, from what its page says', async () => {
    const payer = await newPayer(stage);
    const request = await askFor(stage, payer);
    await agree(stage, payer, request);
    const page = await (await fetch(request.page_url)).text();
    const uri = new URL(/href="(ethereum:[^"]+)"/.exec(page)?.[1]?.replace(/&(amp|#38);/g, '&') ?? '');
    const [, token = '', chainId] = /^(0x\w+)@(\d+)\/transfer$/.exec(uri.pathname) ?? [];
    expect(Number(chainId)).toBe(foundry.id);
    const { account } = payer.wallet;
    const client = createWalletClient({ account, chain: foundry, transport: http(stage.chain.url) }).extend(
      publicActions,
    );
    const hash = await client.writeContract({
      ...{ address: token as Hex, abi: erc20Abi, functionName: 'transfer' },
      args: [uri.searchParams.get('address') as Hex, BigInt(uri.searchParams.get('uint256') ?? 0)],
    });
    await client.waitForTransactionReceipt({ hash });
    await standing(stage, payer.client, request, 'completed');
  });
});
