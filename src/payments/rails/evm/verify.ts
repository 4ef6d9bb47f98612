import type { Address, Hash } from 'viem';
import { decodeEventLog, numberToHex } from 'viem/utils';
import { type Asset, type Chain, type Heads, readHeads } from './chain.ts';
import { Block, erc20, type Log, Receipt, Transaction } from './chain-objects.ts';
import { type Rpc, RpcFault } from './rpc.ts';
import type { ReadTerms } from './terms.ts';

/**
 * What a transaction did for the terms of a request. Only `matched` says that money arrived. `unknown` is trouble on our
 * side (dead, slow, stale, contradictory endpoints): to be asked again, never held against the payer.
 */
export type Verification =
  | { outcome: 'not_found' } // not seen yet, dropped, replaced, or never sent
  | { outcome: 'pending' }
  | { outcome: 'reorging' } // its block is being replaced: ask again
  | { outcome: 'reverted' }
  | { outcome: 'no_matching_transfer' }
  | Matched
  | { outcome: 'unknown'; reason: string };

/** What one endpoint can say. */
export type Found = Exclude<Verification, { outcome: 'unknown' }>;

export interface Matched {
  outcome: 'matched';
  /** In the order of the chain, at least one. Whether `from` is the payer's wallet, and enough, is for the caller. */
  transfers: Transfer[];
  /** Its time decides whether the payment is late. */
  block: { number: bigint; hash: Hash; time: Date };
  /** The block itself counts. */
  confirmations: number;
  /** By the policy for this amount on this chain. */
  isFinal: boolean;
}

export interface Transfer {
  /** Position in the block, the same for ever once the block is final; −1 for the native coin. */
  logIndex: number;
  from: Address;
  /** Base units, above zero. */
  amount: bigint;
}

const NATIVE_LOG_INDEX = -1;

/** Asks one endpoint. The order matters: what is read later is judged by what was read before. Throws `RpcFault`. */
export async function verifyAt(rpc: Rpc, chain: Chain, terms: ReadTerms, txHash: Hash, seen = 0n): Promise<Found> {
  // Before the block is read: what is final now cannot be replaced afterwards.
  const heads = await readHeads(rpc, chain, seen);
  const transaction = await rpc.call('eth_getTransactionByHash', [txHash], Transaction.nullable());
  if (!transaction) return { outcome: 'not_found' };
  if (!transaction.blockHash) return { outcome: 'pending' };
  const receipt = await rpc.call('eth_getTransactionReceipt', [txHash], Receipt.nullable());
  if (!receipt) return { outcome: 'pending' };
  if (transaction.hash !== txHash || receipt.transactionHash !== txHash) throw new RpcFault('unreadable');
  const block = await rpc.call('eth_getBlockByNumber', [numberToHex(receipt.blockNumber), false], Block.nullable());
  if (block?.hash !== receipt.blockHash || transaction.blockHash !== receipt.blockHash) return { outcome: 'reorging' };
  if (!receipt.status) return { outcome: 'reverted' };
  const transfers = terms.token === null ? coinIn(transaction, terms) : tokensIn(receipt.logs, terms.token, terms);
  if (transfers.length === 0) return { outcome: 'no_matching_transfer' };
  const { number, hash, timestamp: time } = block;
  const policy = isLarge(chain, terms, transfers) ? chain.finality.large : chain.finality.usual;
  return { outcome: 'matched', transfers, block: { number, hash, time }, ...depth(number, heads, policy) };
}

/** Whom the transaction's `value` went to; what contracts pass on shows in no receipt. */
const coinIn = ({ to, from, value }: Transaction, { recipient }: ReadTerms): Transfer[] =>
  to === recipient && from !== recipient && value > 0n ? [{ logIndex: NATIVE_LOG_INDEX, from, amount: value }] : [];

/**
 * By the token's own logs alone. Calldata, `tx.to` and `tx.from` say nothing: relayers (EIP-3009, ERC-4337, EIP-7702)
 * send what others pay, and any contract can emit an event that looks alike. Nor does a transfer of nothing: ERC-20 lets
 * anybody make one in the name of anybody.
 */
export const tokensIn = (logs: Log[], token: Address, { recipient }: { recipient: Address }): Transfer[] =>
  logs.flatMap((log) => {
    const transfer = log.address === token && !log.removed && readTransfer(log);
    if (!transfer || transfer.to !== recipient || transfer.from === recipient || transfer.value === 0n) return [];
    return [{ logIndex: log.logIndex, from: transfer.from, amount: transfer.value }];
  });

/** ERC-20 §Transfer; ERC-721 has the same signature, and one more topic. */
function readTransfer({ topics, data }: Log): { from: Address; to: Address; value: bigint } | undefined {
  try {
    const { args } = decodeEventLog({
      abi: erc20,
      eventName: 'Transfer',
      topics: topics as [Hash, ...Hash[]],
      data,
    });
    const { from, to, value } = args;
    return { from: from.toLowerCase() as Address, to: to.toLowerCase() as Address, value };
  } catch {
    return undefined;
  }
}

function depth(number: bigint, heads: Heads, policy: Chain['finality']['usual']) {
  const confirmations = Math.max(1, Number(heads.latest - number) + 1); // it may be newer than the head that was read
  return {
    confirmations,
    isFinal: typeof policy === 'number' ? confirmations >= policy : heads[policy] >= number,
  };
}

/** By what was asked or by what came, whichever is more. An asset that is no longer configured counts as large. */
export function isLarge(chain: Chain, terms: ReadTerms, transfers: Transfer[]): boolean {
  const from = largeFrom(chain.assets.find(({ token }) => token === terms.token));
  const arrived = transfers.reduce((sum, { amount }) => sum + amount, 0n);
  return from !== null && (terms.amount >= from || arrived >= from);
}

const largeFrom = (asset: Asset | undefined): bigint | null => (asset ? asset.largeFrom : 0n);
