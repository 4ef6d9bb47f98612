import type { Hex } from 'viem';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Chain, describeOnChain, newWallet, payDollars, railOn, startChain, termsOn } from '../harness/chain.ts';
import { type Lie, type LyingRpc, startLyingRpc } from '../harness/lying-rpc.ts';

/** One node can lie, or be lied to. Where it matters (`large_from`, or taking money back), two must say the same. */

describeOnChain('about a large amount', () => {
  let chain: Chain;
  let paid: Hex;
  beforeAll(async () => {
    chain = await startChain();
    paid = await payDollars(await newWallet(chain), chain, 100n);
    await chain.control.mine();
  });
  afterAll(() => chain.stop());

  async function nodes(count: number) {
    const all: LyingRpc[] = [];
    while (all.length < count) all.push(await startLyingRpc(chain.url));
    const rail = railOn(chain, {
      rpc_urls: all.map(({ url }) => url),
      finality: { usual: 1, large: 3 },
      tokens: [{ symbol: 'TUSD', address: chain.token, decimals: 6, large_from: '100' }],
    });
    const [first, second] = all;
    if (!first || !second) throw new Error('two at least');
    return { first, second, rail };
  }
  const large = () => termsOn(chain, 100n);

  const amountOf =
    (amount: bigint): Lie =>
    (method, result) => {
      if (method !== 'eth_getTransactionReceipt') return undefined;
      for (const log of result.logs) log.data = `0x${amount.toString(16).padStart(64, '0')}`;
      return result;
    };
  const unseen: Lie = (method) => (method === 'eth_getTransactionByHash' ? null : undefined);
  /** A whole chain of its own, at one with itself: every hash is another one, but for the transaction's. */
  const otherBlocks: Lie = (_method, result) => {
    const text = JSON.stringify(result);
    return JSON.parse(
      text.replace(/("(?:blockHash|hash)":"0x)(?!0{64})([0-9a-f]{64})/g, (whole, key, hash) => {
        return `0x${hash}` === paid ? whole : `${key}${[...hash].toReversed().join('')}`;
      }),
    );
  };

  test('two must agree, and the stricter finality holds', async () => {
    const { second, rail } = await nodes(2);
    expect(await rail.verify(large(), paid)).toMatchObject({ outcome: 'matched', confirmations: 2, isFinal: false });
    expect(second.asked.get('eth_getTransactionReceipt')).toBe(1);
  });

  test('a usual amount needs one voice, and what was asked for does not make a large one usual', async () => {
    const { first, second, rail } = await nodes(2);
    first.lie(amountOf(99n));
    expect(await rail.verify(termsOn(chain, 99n), paid)).toMatchObject({ outcome: 'matched', isFinal: true });
    expect(second.asked.size).toBe(0);
    first.lie(amountOf(5_000n));
    const found = await rail.verify(termsOn(chain, 99n), paid);
    expect(found).toEqual({ outcome: 'unknown', reason: 'endpoints_disagree' });
  });

  test.each<[string, Lie]>([
    ['another amount', amountOf(5_000n)],
    ['another block', otherBlocks],
    ['that there is no such transaction', unseen],
  ])('when one of two says %s, it is unknown; and the truth once there is a third', async (_name, lie) => {
    const two = await nodes(2);
    two.second.lie(lie);
    expect(await two.rail.verify(large(), paid)).toEqual({ outcome: 'unknown', reason: 'endpoints_disagree' });
    const three = await nodes(3);
    three.second.lie(lie);
    expect(await three.rail.verify(large(), paid)).toMatchObject({ outcome: 'matched', transfers: [{ amount: 100n }] });
  });

  test('when the second one is away, it is unknown', async () => {
    const { second, rail } = await nodes(2);
    second.say((response) => response.writeHead(503).end());
    expect(await rail.verify(large(), paid)).toEqual({ outcome: 'unknown', reason: 'http_503' });
  });

  test('it is as deep as the more cautious of the two says', async () => {
    const { second, rail } = await nodes(2);
    second.lie((method, result, [at]) =>
      method === 'eth_getBlockByNumber' && at === 'latest' ? { ...result, number: '0xffff' } : undefined,
    );
    expect(await rail.verify(large(), paid)).toMatchObject({ confirmations: 2, isFinal: false });
  });

  test('money is taken back only when two say that the payment is gone', async () => {
    const { first, second, rail } = await nodes(2);
    const terms = termsOn(chain, 99n);
    const seen = await rail.verify(terms, paid);
    if (seen.outcome !== 'matched') throw new Error(`it is ${seen.outcome}`);
    first.lie(unseen);
    expect(await rail.recheck(terms, paid, seen.block)).toEqual({ outcome: 'unknown', reason: 'endpoints_disagree' });
    first.lie(otherBlocks);
    expect(await rail.recheck(terms, paid, seen.block)).toEqual({ outcome: 'unknown', reason: 'endpoints_disagree' });
    first.lie(unseen);
    second.lie(unseen);
    expect(await rail.recheck(terms, paid, seen.block)).toEqual({ outcome: 'gone', because: 'not_found' });
  });
});
