import { encodeFunctionData, erc20Abi } from 'viem';
import type { Log } from '../../../platform/log.ts';
import { type Asset, type Chain, readHeads } from './chain.ts';
import { word } from './chain-objects.ts';
import type { Rpc } from './rpc.ts';

/**
 * Holds the configuration against the chain: nothing is asked for in a token before the token itself has said that its
 * decimals are the configured ones. At the start, without holding it up; and whenever it is still open and matters.
 */
export interface Confirmations {
  /** `open`: no endpoint has answered yet. `refuted` stays so until the configuration is mended. */
  stateOf(asset: Asset): Promise<'confirmed' | 'refuted' | 'open'>;
  /** Asks every endpoint of every chain; what is wrong is in the log then. */
  confirmAll(): Promise<void>;
}

export function createConfirmations(chains: Chain[], log: Log): Confirmations {
  const known = new Map<Asset, 'confirmed' | 'refuted'>();
  const asking = new Map<Asset, Promise<void>>();

  const confirm = async (chain: Chain, asset: Asset): Promise<void> => {
    const asked = await chain.endpoints.ask((rpc) => decimalsOf(rpc, chain, asset));
    if ('trouble' in asked) {
      const why = { chain: chain.name, asset: asset.symbol, reason: asked.trouble };
      log.warn(why, 'an asset could not be confirmed; it is tried again before anything is asked for in it');
      return;
    }
    const isRight = asked.answers[0] === BigInt(asset.decimals);
    known.set(asset, isRight ? 'confirmed' : 'refuted');
    if (isRight) return;
    const why = { chain: chain.name, asset: asset.symbol, expected: asset.decimals, found: Number(asked.answers[0]) };
    log.error(why, 'EVM_CHAINS is wrong: the token has other decimals, or is none; it is not offered');
  };

  const confirmOnce = (chain: Chain, asset: Asset): Promise<void> => {
    const running = asking.get(asset) ?? confirm(chain, asset).finally(() => asking.delete(asset));
    asking.set(asset, running);
    return running;
  };

  return {
    stateOf: async (asset) => {
      const chain = chains.find((one) => one.caip === asset.chain);
      if (chain && !known.has(asset)) await confirmOnce(chain, asset);
      return known.get(asset) ?? 'open';
    },
    confirmAll: async () => {
      const endpoints = chains.map((chain) => chain.endpoints.askAll((rpc) => readHeads(rpc, chain)));
      const assets = chains.flatMap((chain) => chain.assets.map((asset) => confirmOnce(chain, asset)));
      await Promise.all([...endpoints, ...assets]);
    },
  };
}

/** The native coin has no contract to ask; that its chain is the right one is all there is to know. */
async function decimalsOf(rpc: Rpc, chain: Chain, { token, decimals }: Asset): Promise<bigint | null> {
  await readHeads(rpc, chain);
  if (token === null) return BigInt(decimals);
  const data = encodeFunctionData({ abi: erc20Abi, functionName: 'decimals' });
  return rpc.call('eth_call', [{ to: token, data }, 'latest'], word);
}
