import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { describeOnChain, dollarsOf, payDollars, startChain } from '../harness/chain.ts';
import { eventually, newOperator } from '../harness/client.ts';
import { fareboxForTest } from '../harness/farebox.ts';
import { startLyingRpc } from '../harness/lying-rpc.ts';
import { agree, askFor, newPayer, requestOf, requestStageOn, standing, submit, TEN } from './request-stage.ts';

/** A chain that cannot be asked: nothing is lost by it, and nothing is held against the payer. */

describeOnChain('while the chain is away', () => {
  test('what was paid waits, what was asked for is answered again, and nothing new is asked for', async () => {
    const chain = await startChain();
    onTestFinished(() => chain.stop());
    const node = await startLyingRpc(chain.url);
    const env = { EVM_CHAINS: JSON.stringify([{ ...chain.setting, rpc_urls: [node.url] }]) };
    const farebox = await fareboxForTest({ env });
    const root = postgres(farebox.database.superuserUrl, { max: 2, onnotice: () => {} });
    onTestFinished(() => root.end());
    const stage = await requestStageOn(chain, farebox, await newOperator(farebox), root);
    const payer = await newPayer(stage);
    const key = randomUUID();
    const body = {
      ...{ payer: payer.did, asset: dollarsOf(chain), amount: '5', description: 'Five' },
      purpose: { type: 'invoice', reference: 'INV-5' },
    };
    const first = await stage.merchant.post('/v1/payment-requests', body, { key });
    const request = await askFor(stage, payer);
    await agree(stage, payer, request);
    const hash = await payDollars(payer.wallet, chain, TEN);

    for (const trouble of [
      () => node.say((response) => response.writeHead(503).end()),
      () => node.say((response) => response.socket?.destroy()),
      () => node.say((response) => response.end('{"jsonrpc":"2.0","id":1,"result":{"nonsense":true}}')),
      () =>
        node.lie((method, block) => (method === 'eth_getBlockByNumber' ? { ...block, timestamp: '0x1' } : undefined)),
    ]) {
      trouble();
      const before = node.asked.get('eth_chainId') ?? 0;
      await submit(payer, request, hash);
      await eventually(
        async () => {
          await root`update payments.request_transactions set next_check_at = least(next_check_at, now())`;
          return node.asked.get('eth_chainId') ?? 0;
        },
        (asked) => asked > before,
      );
      const now = await requestOf(payer.client, request);
      expect([now.status, now.transactions[0].outcome]).toEqual(['submitted', 'tx_pending']);
      const again = await stage.merchant.post('/v1/payment-requests', body, { key });
      expect([again.status, again.text]).toEqual([201, first.text]);
      node.honest();
    }
    expect(await standing(stage, payer.client, request, 'completed')).toMatchObject({ received: TEN.toString() });
    expect((await payer.client.ok('GET', '/v1/credits/balance')).available).toBe(1000);
  });
});
