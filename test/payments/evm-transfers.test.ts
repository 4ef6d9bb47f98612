import type { Hex } from 'viem';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  authorization,
  type Chain,
  callOf,
  describeOnChain,
  etherOf,
  newWallet,
  otherToken,
  payDollars,
  railOn,
  send,
  startChain,
  termsOn,
  type Wallet,
} from '../harness/chain.ts';

/** What counts as a payment, and whose it is: real transactions on a real node, signed by a wallet that is not ours. */

const lower = (text: string) => text.toLowerCase();

describeOnChain('a transfer', () => {
  let chain: Chain;
  let wallet: Wallet;
  let me: string;
  beforeAll(async () => {
    chain = await startChain();
    wallet = await newWallet(chain);
    me = lower(wallet.account.address);
  });
  afterAll(() => chain.stop());

  const verify = (hash: Hex, asset?: string, amount = 10_000_000n) =>
    railOn(chain).verify(termsOn(chain, amount, asset), hash);
  const call = (to: Hex, data: Hex, value = 0n) => send(wallet, { to, data, value });

  test.each([
    ['exact', 10_000_000n],
    ['too little', 9_999_999n],
    ['too much', 10_000_001n],
  ])('of %s is told with its payer and its amount, to the base unit', async (_name, amount) => {
    const hash = await payDollars(wallet, chain, amount);
    const block = await wallet.getBlock();
    expect(await verify(hash)).toEqual({
      outcome: 'matched',
      transfers: [{ logIndex: 0, from: me, amount }],
      block: { number: block.number, hash: block.hash, time: new Date(Number(block.timestamp) * 1_000) },
      confirmations: 1,
      isFinal: true,
    });
  });

  test('that is one of several in a transaction is told by its own log, and those to others are not', async () => {
    const stranger = '0x00000000000000000000000000000000000000aa';
    const to = [chain.treasury, stranger, chain.treasury];
    const hash = await call(chain.token, callOf('TestToken', 'transferMany', to, [3n, 4n, 5n]));
    expect(await verify(hash)).toMatchObject({
      outcome: 'matched',
      transfers: [
        { logIndex: 0, from: me, amount: 3n },
        { logIndex: 2, from: me, amount: 5n },
      ],
    });
  });

  test('of more than a number can hold is told exactly', async () => {
    const huge = 2n ** 200n + 1n;
    await chain.fund(wallet.account.address, { dollars: huge });
    expect(await verify(await payDollars(wallet, chain, huge))).toMatchObject({ transfers: [{ amount: huge }] });
  });

  test('to somebody else is none', async () => {
    const hash = await payDollars(wallet, chain, 10_000_000n, '0x00000000000000000000000000000000000000aa');
    expect(await verify(hash)).toEqual({ outcome: 'no_matching_transfer' });
  });

  test('of a token that is on no list is none', async () => {
    const token = await otherToken(wallet);
    await call(token, callOf('TestToken', 'mint', wallet.account.address, 10_000_000n));
    const hash = await call(token, callOf('TestToken', 'transfer', chain.treasury, 10_000_000n));
    expect(await verify(hash)).toEqual({ outcome: 'no_matching_transfer' });
  });

  test('that a look-alike contract only tells of is none', async () => {
    const told = callOf('FakeEmitter', 'emitTransfer', wallet.account.address, chain.treasury, 10_000_000n);
    expect(await verify(await call(chain.fakeToken, told))).toEqual({ outcome: 'no_matching_transfer' });
  });

  // ERC-20 permits transferFrom(anybody, treasury, 0) to anybody: the log names a payer who has signed nothing.
  test('of nothing, in the name of somebody else, is none', async () => {
    const victim = await newWallet(chain);
    const data = callOf('TestToken', 'transferFrom', victim.account.address, chain.treasury, 0n);
    expect(await verify(await call(chain.token, data))).toEqual({ outcome: 'no_matching_transfer' });
  });

  test('that a fee was taken from counts as what arrived', async () => {
    await call(chain.token, callOf('TestToken', 'setFee', 100n));
    const hash = await payDollars(wallet, chain, 10_000_000n);
    await call(chain.token, callOf('TestToken', 'setFee', 0n));
    expect(await verify(hash)).toMatchObject({ outcome: 'matched', transfers: [{ from: me, amount: 9_900_000n }] });
  });

  test('that failed on the chain is reverted, and no more', async () => {
    const hash = await payDollars(wallet, chain, 2n ** 255n);
    expect(await verify(hash)).toEqual({ outcome: 'reverted' });
  });

  test('of the native coin counts when it is a plain one', async () => {
    const hash = await call(chain.treasury, '0x', 7n);
    expect(await verify(hash, etherOf(chain))).toMatchObject({
      outcome: 'matched',
      transfers: [{ logIndex: -1, from: me, amount: 7n }],
    });
    expect(await verify(hash)).toEqual({ outcome: 'no_matching_transfer' });
  });

  test('of the native coin through a contract is not seen', async () => {
    const hash = await call(chain.forwarder, callOf('EtherForwarder', 'forward', chain.treasury), 7n);
    expect(await verify(hash, etherOf(chain))).toEqual({ outcome: 'no_matching_transfer' });
  });

  test('of a token is none of the native coin', async () => {
    expect(await verify(await payDollars(wallet, chain, 10n), etherOf(chain))).toEqual({
      outcome: 'no_matching_transfer',
    });
  });

  test('that a relayer brings (EIP-3009) is the signer’s, not the relayer’s, and only once', async () => {
    const relayer = await newWallet(chain);
    const data = await authorization(chain, wallet, 10_000_000n);
    const relay = () => send(relayer, { to: chain.token, data });
    const hash = await relay();
    expect((await relayer.getTransaction({ hash })).from).toBe(lower(relayer.account.address));
    expect(await verify(hash)).toMatchObject({ outcome: 'matched', transfers: [{ from: me, amount: 10_000_000n }] });
    expect(await verify(await relay())).toEqual({ outcome: 'reverted' });
  });
});
