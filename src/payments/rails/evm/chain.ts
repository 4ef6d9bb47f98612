import type { Address } from 'viem';
import type { ChainSettings, Finality } from '../../../platform/chain-settings.ts';
import type { Log } from '../../../platform/log.ts';
import { caip2, caip10, caip19 } from './caip.ts';
import { Block, quantity } from './chain-objects.ts';
import { createEndpoints, type Endpoints } from './endpoints.ts';
import { type Rpc, RpcFault } from './rpc.ts';

/** One chain, as it is configured and reached. */
export interface Chain {
  id: number;
  /** CAIP-2. */
  caip: string;
  /** For people. */
  name: string;
  /** CAIP-10 of the treasury: where new requests are paid to. */
  recipient: string;
  treasury: Address;
  finality: { usual: Finality; large: Finality };
  staleAfterS: number;
  assets: Asset[];
  endpoints: Endpoints;
}

/** What can be asked for. */
export interface Asset {
  /** CAIP-19. */
  id: string;
  chain: string;
  chainName: string;
  symbol: string;
  decimals: number;
  /** `null`: the native coin. It is seen only in plain transfers, not in those that a contract makes. */
  token: Address | null;
  /** Base units from which on an amount counts as large; `null`: none does. */
  largeFrom: bigint | null;
}

const COIN_DECIMALS = 18; // of every native coin of the EVM

export function openChain(settings: ChainSettings, rpcs: Rpc[], log: Log): Chain {
  const { chain_id: id, name, treasury, finality, native, tokens } = settings;
  const common = { chain: caip2(id), chainName: name };
  const coin = native && {
    ...common,
    ...{ id: caip19(id, { native: native.slip44 }), symbol: native.symbol, decimals: COIN_DECIMALS, token: null },
    largeFrom: native.large_from ?? null,
  };
  const assets = tokens.map(({ address, symbol, decimals, large_from }) => ({
    ...common,
    ...{ id: caip19(id, { token: address }), symbol, decimals, token: address, largeFrom: large_from ?? null },
  }));
  return {
    ...{ id, caip: caip2(id), name, treasury, recipient: caip10(id, treasury) },
    finality: { usual: finality.usual, large: finality.large ?? finality.usual },
    staleAfterS: settings.stale_after_s,
    assets: coin ? [...assets, coin] : assets,
    endpoints: createEndpoints(rpcs, (at, reason) => tellTrouble(log, { chain: name, endpoint: at + 1, reason })),
  };
}

/** By its place in the list: with many providers the URL is the key. */
function tellTrouble(log: Log, trouble: { chain: string; endpoint: number; reason: string }): void {
  if (trouble.reason === 'wrong_chain') log.error(trouble, 'EVM_CHAINS is wrong: this endpoint is of another chain');
  else log.warn(trouble, 'an endpoint of a chain is in trouble');
}

/** How far an endpoint sees. */
export interface Heads {
  latest: bigint;
  /** The newest blocks that the node calls so; −1 before there is one. Read only where the policy asks for them. */
  safe: bigint;
  finalized: bigint;
}

/**
 * Throws `RpcFault`: `wrong_chain`, which is a fault of the configuration and never the payer's, `stale` when the node
 * has stopped to follow, `behind` when it has not yet seen the block that others have.
 */
export async function readHeads(rpc: Rpc, chain: Chain, atLeast = 0n): Promise<Heads> {
  const policies = Object.values(chain.finality);
  const numberOf = async (tag: 'safe' | 'finalized') =>
    policies.includes(tag)
      ? ((await rpc.call('eth_getBlockByNumber', [tag, false], Block.nullable()))?.number ?? -1n)
      : -1n;
  if ((await rpc.call('eth_chainId', [], quantity)) !== BigInt(chain.id)) throw new RpcFault('wrong_chain');
  const [latest, safe, finalized] = await Promise.all([
    rpc.call('eth_getBlockByNumber', ['latest', false], Block),
    numberOf('safe'),
    numberOf('finalized'),
  ]);
  if (Date.now() - latest.timestamp.getTime() > chain.staleAfterS * 1_000) throw new RpcFault('stale');
  if (latest.number < atLeast) throw new RpcFault('behind');
  return { latest: latest.number, safe, finalized };
}
