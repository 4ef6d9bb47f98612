import { afterAll, beforeAll, expect, test } from 'vitest';
import type { EvmRail } from '../../src/payments/rails/evm/evm.ts';
import {
  type Chain,
  callOf,
  describeOnChain,
  dollarsOf,
  newWallet,
  payDollars,
  railOn,
  send,
  startChain,
  termsOn,
  type Wallet,
} from '../harness/chain.ts';
import { startLyingRpc } from '../harness/lying-rpc.ts';

/** Payments that nobody reports are found in the logs of the chain. */

describeOnChain('the watcher', () => {
  let chain: Chain;
  let wallet: Wallet;
  beforeAll(async () => {
    chain = await startChain();
    wallet = await newWallet(chain);
  });
  afterAll(() => chain.stop());

  const head = () => wallet.getBlockNumber({ cacheTime: 0 });
  async function seen(rail: EvmRail, cursor: bigint | null) {
    const watched = await rail.watch(`eip155:${chain.chainId}`, cursor);
    if (watched.outcome !== 'seen') throw new Error(watched.reason);
    return watched;
  }
  const hashes = async (rail: EvmRail, cursor: bigint) =>
    (await seen(rail, cursor)).sightings.map(({ txHash }) => txHash);

  test('begins at the present, and then finds every payment that arrives, with all that verifying it needs', async () => {
    const rail = railOn(chain);
    const { next, sightings, isCaughtUp } = await seen(rail, null);
    expect({ next, sightings, isCaughtUp }).toEqual({ next: (await head()) + 1n, sightings: [], isCaughtUp: true });
    const txHash = await payDollars(wallet, chain, 12n);
    const block = await wallet.getBlock();
    const watched = await seen(rail, next);
    expect(watched).toMatchObject({ next: block.number + 1n, isCaughtUp: true });
    expect(watched.sightings).toEqual([
      {
        ...{ asset: dollarsOf(chain), txHash, logIndex: 0, amount: 12n },
        from: wallet.account.address.toLowerCase(),
        block: { number: block.number, hash: block.hash },
      },
    ]);
    expect(await rail.verify(termsOn(chain, 12n), txHash)).toMatchObject({ outcome: 'matched' });
  });

  test('sees nothing in what goes elsewhere, in look-alikes, and in transfers of nothing', async () => {
    const rail = railOn(chain);
    const stray = [
      await payDollars(wallet, chain, 5n, '0x00000000000000000000000000000000000000aa'),
      await send(wallet, {
        to: chain.fakeToken,
        data: callOf('FakeEmitter', 'emitTransfer', wallet.account.address, chain.treasury, 10_000_000n),
      }),
      await payDollars(wallet, chain, 0n),
    ];
    const found = await hashes(rail, await head());
    expect(found.filter((hash) => stray.includes(hash))).toEqual([]);
  });

  test('looks back over 64 blocks each time: what a reorganisation brought in late is found', async () => {
    const rail = railOn(chain);
    const txHash = await payDollars(wallet, chain, 13n);
    const at = await head();
    await chain.control.mine(64);
    expect(await hashes(rail, at + 64n)).toContain(txHash);
    expect(await hashes(rail, at + 65n)).not.toContain(txHash);
  });

  test('halves its question until the provider can answer it', async () => {
    const txHash = await payDollars(wallet, chain, 14n);
    await chain.control.mine(300);
    const provider = await startLyingRpc(chain.url);
    provider.refuse((method, [filter]) => {
      if (method !== 'eth_getLogs') return false;
      return Number(filter.toBlock) - Number(filter.fromBlock) + 1 > 10;
    });
    const rail = railOn(chain, { rpc_urls: [provider.url] });
    const watched = await seen(rail, (await head()) - 300n);
    expect(watched).toMatchObject({ isCaughtUp: true, next: (await head()) + 1n });
    expect(watched.sightings.map((one) => one.txHash)).toContain(txHash);
  });

  test('goes forward in bounded pieces even where a provider allows a single block', async () => {
    const provider = await startLyingRpc(chain.url);
    provider.refuse((method, [filter]) => method === 'eth_getLogs' && filter.toBlock !== filter.fromBlock);
    const rail = railOn(chain, { rpc_urls: [provider.url] });
    let cursor = (await head()) - 150n;
    let rounds = 0;
    for (let isCaughtUp = false; !isCaughtUp; rounds += 1) {
      const watched = await seen(rail, cursor);
      expect(watched.next).toBeGreaterThan(cursor);
      cursor = watched.next;
      isCaughtUp = watched.isCaughtUp;
    }
    expect(cursor).toBe((await head()) + 1n);
    expect(rounds).toBeGreaterThan(2);
  });

  test('keeps its cursor when the provider cannot even tell of one block', async () => {
    const provider = await startLyingRpc(chain.url);
    provider.refuse((method) => method === 'eth_getLogs');
    const watched = await railOn(chain, { rpc_urls: [provider.url] }).watch(`eip155:${chain.chainId}`, 10n);
    expect(watched).toEqual({ outcome: 'unknown', reason: 'refused' });
  });

  test('does not take up a log of a block that was replaced', async () => {
    const provider = await startLyingRpc(chain.url);
    provider.lie((method, logs) => {
      if (method !== 'eth_getLogs') return undefined;
      return logs.map((log: object) => ({ ...log, removed: true }));
    });
    await payDollars(wallet, chain, 16n);
    expect(await hashes(railOn(chain, { rpc_urls: [provider.url] }), await head())).toEqual([]);
  });

  test('asks the next provider when one is in trouble', async () => {
    const provider = await startLyingRpc(chain.url);
    provider.refuse((method) => method === 'eth_getLogs');
    const txHash = await payDollars(wallet, chain, 15n);
    const rail = railOn(chain, { rpc_urls: [provider.url, chain.url] });
    expect(await hashes(rail, await head())).toContain(txHash);
  });
});
