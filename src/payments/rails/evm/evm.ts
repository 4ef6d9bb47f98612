import { Agent } from 'undici';
import type { Hash } from 'viem';
import type { ChainSettings } from '../../../platform/chain-settings.ts';
import type { Log } from '../../../platform/log.ts';
import type { Outcome } from '../rail.ts';
import { type Asset, type Chain, openChain } from './chain.ts';
import { createConfirmations } from './confirm.ts';
import { createRpc, type RpcOptions } from './rpc.ts';
import { readAmount, readTerms, type Terms } from './terms.ts';
import { type Recheck, recheck, verify } from './verdict.ts';
import type { Verification } from './verify.ts';
import { type Watched, watch } from './watch.ts';

/**
 * Coins and tokens of EVM chains. Nothing is asked of a provider here and no key is held: payers send, and the chain is
 * read. Chains and assets go by their CAIP names, amounts are base units.
 */
export interface EvmRail {
  /** What may be asked for, as configured. Empty: no crypto. */
  readonly assets: readonly Asset[];
  /**
   * The terms of a new request, to the treasury of today. `rejected`: `asset_unsupported`, `amount_invalid`;
   * `unavailable`: the chain has not yet confirmed that the asset is what the configuration says.
   */
  freeze(asset: string, amount: string): Promise<Outcome<Terms>>;
  /** What that transaction did for these terms. Throws for terms and hashes that are none. */
  verify(terms: Terms, txHash: string): Promise<Verification>;
  /** For what was counted and is not final yet: is it still where it was seen? */
  recheck(terms: Terms, txHash: string, seen: { number: bigint; hash: string }): Promise<Recheck>;
  /** Chains to watch, by CAIP-2. */
  readonly chains: readonly string[];
  /** Transfers to the treasury since block `cursor`, a bounded piece of them; `null`: from now on. */
  watch(chain: string, cursor: bigint | null): Promise<Watched>;
  /** Holds the configuration against the chains and logs what is wrong; never throws for an endpoint in trouble. */
  confirm(): Promise<void>;
  close(): Promise<void>;
}

export interface EvmOptions {
  chains: ChainSettings[];
  /** For one call to an endpoint. */
  deadlineMs: number;
  log: Log;
  /** Told of every call: JSON-RPC method, `ok` or what was wrong. */
  onCall: RpcOptions['onCall'];
}

const TX_HASH = /^0x[0-9a-f]{64}$/;

export function createEvmRail({ chains: settings, deadlineMs, log, onCall }: EvmOptions): EvmRail {
  const dispatcher = new Agent({ connect: { timeout: deadlineMs, minVersion: 'TLSv1.2' } });
  const rpcOf = (url: string) => createRpc({ url, deadlineMs, dispatcher, onCall });
  const chains = settings.map((one) => openChain(one, one.rpc_urls.map(rpcOf), log));
  const assets = chains.flatMap((chain) => chain.assets);
  const confirmations = createConfirmations(chains, log);
  const chainOf = (caip: string): Chain | undefined => chains.find((chain) => chain.caip === caip);

  return {
    assets,
    chains: chains.map(({ caip }) => caip),
    freeze: async (id, amount) => {
      const asset = assets.find((one) => one.id === id);
      const chain = asset && chainOf(asset.chain);
      if (!chain) return rejected('asset_unsupported', 'this asset is not taken here');
      if (!readAmount(amount)) return rejected('amount_invalid', 'the amount is not a positive number of base units');
      const state = await confirmations.stateOf(asset);
      if (state === 'refuted') return rejected('asset_unsupported', 'this asset is not what it was taken for');
      if (state === 'open') return { outcome: 'unavailable', reason: 'chain_unconfirmed' };
      return { outcome: 'ok', value: { chain: chain.caip, asset: id, recipient: chain.recipient, amount } };
    },
    verify: async (terms, txHash) => {
      const chain = chainOf(terms.chain);
      return chain ? verify(chain, readTerms(terms), readHash(txHash)) : unconfigured;
    },
    recheck: async (terms, txHash, { number, hash }) => {
      const chain = chainOf(terms.chain);
      return chain
        ? recheck(chain, readTerms(terms), readHash(txHash), { number, hash: readHash(hash) })
        : unconfigured;
    },
    watch: async (caip, cursor) => {
      const chain = chainOf(caip);
      return chain ? watch(chain, cursor) : unconfigured;
    },
    confirm: confirmations.confirmAll,
    close: () => dispatcher.destroy(),
  };
}

const unconfigured = { outcome: 'unknown', reason: 'chain_not_configured' } as const;
const rejected = (code: string, message: string) => ({ outcome: 'rejected', code, message }) as const;

function readHash(text: string): Hash {
  if (!TX_HASH.test(text)) throw new Error('this is not a hash in lower case');
  return text as Hash;
}
