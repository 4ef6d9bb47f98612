import { encodeFunctionData } from 'viem/utils';
import type { Log } from '../../../platform/log.ts';
import { type Asset, type Chain, readHeads } from './chain.ts';
import { erc20, word } from './chain-objects.ts';
import type { Rpc } from './rpc.ts';

/**
 * Holds the configuration against the chain: nothing is asked for in a token before the token itself has said that its
 * decimals are the configured ones. At the start, without holding it up; and again whenever it is still open and matters.
 */
export interface Confirmations {
  /** `open`: no endpoint has answered. Only `confirmed` is remembered. */
  stateOf(asset: Asset): Promise<Confirmation>;
  /** Asks every endpoint of every chain; what is wrong is in the log then. */
  confirmAll(): Promise<void>;
}

export type Confirmation = 'confirmed' | 'refuted' | 'open';

export function createConfirmations(chains: Chain[], log: Log): Confirmations {
  /** The last answer, or the one that is on its way. */
  const known = new Map<Asset, Promise<Confirmation>>();
  const stateOf = (chain: Chain, asset: Asset): Promise<Confirmation> => {
    const state = known.get(asset) ?? confirm(chain, asset, log);
    known.set(asset, state);
    void state.then((found) => found === 'confirmed' || known.delete(asset));
    return state;
  };
  return {
    stateOf: async (asset) => {
      const chain = chains.find((one) => one.caip === asset.chain);
      return chain ? stateOf(chain, asset) : 'open';
    },
    confirmAll: async () => {
      const endpoints = chains.map((chain) => chain.endpoints.askAll((rpc) => readHeads(rpc, chain)));
      const assets = chains.flatMap((chain) => chain.assets.map((asset) => stateOf(chain, asset)));
      await Promise.all([...endpoints, ...assets]);
    },
  };
}

async function confirm(chain: Chain, asset: Asset, log: Log): Promise<Confirmation> {
  const about = { chain: chain.name, asset: asset.symbol };
  const asked = await chain.endpoints.ask((rpc) => decimalsOf(rpc, chain, asset));
  if ('trouble' in asked) {
    const why = { ...about, reason: asked.trouble };
    log.warn(why, 'an asset could not be confirmed; it is tried again before anything is asked for in it');
    return 'open';
  }
  const [found] = asked.answers;
  if (found === BigInt(asset.decimals)) return 'confirmed';
  const why = { ...about, expected: asset.decimals, found: found === null ? 'no contract' : Number(found) };
  log.error(why, 'EVM_CHAINS is wrong: the token has other decimals, or is none; nothing is asked for in it');
  return 'refuted';
}

/** The native coin has no contract to ask; that its chain is the right one is all there is to know. */
async function decimalsOf(rpc: Rpc, chain: Chain, { token, decimals }: Asset): Promise<bigint | null> {
  await readHeads(rpc, chain);
  if (token === null) return BigInt(decimals);
  const data = encodeFunctionData({ abi: erc20, functionName: 'decimals' });
  return rpc.call('eth_call', [{ to: token, data }, 'latest'], word);
}
