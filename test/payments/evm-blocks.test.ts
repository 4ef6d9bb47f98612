import { type Hex, keccak256 } from 'viem';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Matched } from '../../src/payments/rails/evm/verify.ts';
import {
  type Chain,
  describeOnChain,
  newWallet,
  payDollars,
  poolDollars,
  railOn,
  startChain,
  termsOn,
  type Wallet,
} from '../harness/chain.ts';

/** Where a payment is on its way: in the pool, in a block, deep enough, or gone again. */

describeOnChain('on its way', () => {
  let chain: Chain;
  let wallet: Wallet;
  let before: Hex;
  beforeAll(async () => {
    chain = await startChain();
    wallet = await newWallet(chain);
    await chain.control.mine(3);
  });
  beforeEach(async () => {
    before = await chain.control.snapshot();
  });
  afterEach(async () => {
    await chain.control.automine(true);
    await chain.control.revert(before);
  });
  afterAll(() => chain.stop());

  const amount = 10_000_000n;
  const verify = (hash: Hex, rail = railOn(chain)) => rail.verify(termsOn(chain, amount), hash);

  /** A payment that was found in a block. */
  async function matched(hash: Hex, rail = railOn(chain)): Promise<Matched> {
    const found = await verify(hash, rail);
    if (found.outcome !== 'matched') throw new Error(`it is ${found.outcome}`);
    return found;
  }
  const recheck = async (hash: Hex, { block }: Matched, rail = railOn(chain)) =>
    rail.recheck(termsOn(chain, amount), hash, block);

  test('a hash that nobody knows is not found, and no failure', async () => {
    expect(await verify(keccak256('0x01'))).toEqual({ outcome: 'not_found' });
  });

  test('a transaction in the pool is pending, and counts once it is mined', async () => {
    await chain.control.automine(false);
    const hash = await poolDollars(wallet, chain, amount);
    expect(await verify(hash)).toEqual({ outcome: 'pending' });
    await chain.control.mine();
    expect(await verify(hash)).toMatchObject({ outcome: 'matched', confirmations: 1 });
  });

  // viem's waitForTransactionReceipt answers with the other transaction's receipt here.
  test('a transaction that another one replaced is not found, and the other counts by its own hash', async () => {
    await chain.control.automine(false);
    const nonce = await wallet.getTransactionCount({ address: wallet.account.address });
    const pool = (to: Hex, gwei: bigint) =>
      wallet.sendTransaction({ to, nonce, gas: 21_000n, maxFeePerGas: gwei * 10n ** 9n, maxPriorityFeePerGas: gwei });
    const ether = termsOn(chain, amount, `eip155:${chain.chainId}/slip44:60`);
    const replaced = await pool(chain.treasury, 10n);
    const replacing = await pool(wallet.account.address, 20n);
    await chain.control.mine();
    expect(await railOn(chain).verify(ether, replaced)).toEqual({ outcome: 'not_found' });
    expect(await railOn(chain).verify(ether, replacing)).toEqual({ outcome: 'no_matching_transfer' });
  });

  test('a payment is final after as many confirmations as the policy wants, its own block counted', async () => {
    const rail = railOn(chain, { finality: { usual: 3 } });
    const hash = await payDollars(wallet, chain, amount);
    expect(await verify(hash, rail)).toMatchObject({ confirmations: 1, isFinal: false });
    await chain.control.mine();
    expect(await verify(hash, rail)).toMatchObject({ confirmations: 2, isFinal: false });
    await chain.control.mine();
    expect(await verify(hash, rail)).toMatchObject({ confirmations: 3, isFinal: true });
  });

  test.each([
    ['safe', 1],
    ['finalized', 2],
  ] as const)('a payment is final when the chain calls its block %s', async (tag, blocks) => {
    const rail = railOn(chain, { finality: { usual: tag } });
    const hash = await payDollars(wallet, chain, amount);
    await chain.control.mine(blocks - 1);
    expect(await verify(hash, rail)).toMatchObject({ confirmations: blocks, isFinal: false });
    await chain.control.mine();
    expect(await verify(hash, rail)).toMatchObject({ confirmations: blocks + 1, isFinal: true });
  });

  test('what is still in its block is kept', async () => {
    const hash = await payDollars(wallet, chain, amount);
    const seen = await matched(hash);
    await chain.control.mine(2);
    expect(await recheck(hash, seen)).toEqual({ outcome: 'kept', confirmations: 3, isFinal: true });
  });

  test('what a reorganisation has thrown out is gone', async () => {
    const hash = await payDollars(wallet, chain, amount);
    const seen = await matched(hash);
    await chain.control.reorg(1);
    expect(await verify(hash)).toEqual({ outcome: 'not_found' });
    expect(await recheck(hash, seen)).toEqual({ outcome: 'gone', because: 'not_found' });
  });

  test('what a reorganisation has thrown out and taken up again has moved', async () => {
    const hash = await payDollars(wallet, chain, amount);
    const seen = await matched(hash);
    const raw = await wallet.request({ method: 'eth_getRawTransactionByHash' as never, params: [hash] as never });
    await chain.control.reorg(1);
    await chain.control.mine();
    await wallet.sendRawTransaction({ serializedTransaction: raw });
    await wallet.waitForTransactionReceipt({ hash });
    const again = await matched(hash);
    expect(again.block.hash).not.toBe(seen.block.hash);
    expect(await recheck(hash, seen)).toEqual({ outcome: 'moved', to: again });
  });

  test('a node that has not reached the block yet is no proof that it is gone', async () => {
    const start = await chain.control.snapshot();
    const hash = await payDollars(wallet, chain, amount);
    const seen = await matched(hash);
    await chain.control.revert(start);
    expect(await recheck(hash, seen)).toEqual({ outcome: 'unknown', reason: 'behind' });
    await chain.control.mine();
    expect(await recheck(hash, seen)).toEqual({ outcome: 'gone', because: 'not_found' });
  });

  test('terms and hashes that are none are a bug of the caller, and not an outcome', async () => {
    const rail = railOn(chain);
    const terms = termsOn(chain, amount);
    await expect(rail.verify(terms, '0x12')).rejects.toThrow('not a hash');
    const elsewhere = { ...terms, recipient: `eip155:1:${chain.treasury}` };
    await expect(rail.verify(elsewhere, keccak256('0x01'))).rejects.toThrow('not coherent');
  });

  test('a chain that is no longer configured is unknown, and no failure', async () => {
    const terms = {
      chain: 'eip155:5',
      asset: 'eip155:5/slip44:60',
      recipient: `eip155:5:${chain.treasury}`,
      amount: '1',
    };
    const outcome = { outcome: 'unknown', reason: 'chain_not_configured' };
    expect(await railOn(chain).verify(terms, keccak256('0x01'))).toEqual(outcome);
    expect(await railOn(chain).watch('eip155:5', 0n)).toEqual(outcome);
  });
});
