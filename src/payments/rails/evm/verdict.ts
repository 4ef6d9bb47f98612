import type { Hash } from 'viem';
import type { Chain } from './chain.ts';
import type { Needs } from './endpoints.ts';
import type { ReadTerms } from './terms.ts';
import { type Found, isLarge, type Matched, type Verification, verifyAt } from './verify.ts';

/** What the endpoints of a chain say together: one is believed about a usual amount, two must agree about a large one. */

export async function verify(chain: Chain, terms: ReadTerms, txHash: Hash): Promise<Verification> {
  const needs = (found: Found): Needs => ({
    voices: found.outcome === 'matched' && isLarge(chain, terms, found.transfers) ? pair(chain) : 1,
    key: keyOf(found),
  });
  const asked = await chain.endpoints.ask((rpc) => verifyAt(rpc, chain, terms, txHash), needs);
  return 'trouble' in asked ? { outcome: 'unknown', reason: asked.trouble } : together(asked.answers);
}

/** What became of a transfer that was counted before it was final. */
export type Recheck =
  | { outcome: 'kept'; confirmations: number; isFinal: boolean }
  /** It is in another block now, where its log index, its time, or all of it may be another. */
  | { outcome: 'moved'; to: Matched }
  /** It is not in the chain any more. It may come back. */
  | { outcome: 'gone'; because: 'not_found' | 'pending' | 'reverted' | 'no_matching_transfer' }
  | { outcome: 'unknown'; reason: string };

/** Taking money back is grave: `gone` and `moved` need two voices where there are two, and no node that is behind counts. */
export async function recheck(
  chain: Chain,
  terms: ReadTerms,
  txHash: Hash,
  seen: { number: bigint; hash: Hash },
): Promise<Recheck> {
  const needs = (found: Found): Needs => ({
    voices: isAt(found, seen.hash) && !isLarge(chain, terms, found.transfers) ? 1 : pair(chain),
    key: keyOf(found),
  });
  const asked = await chain.endpoints.ask((rpc) => verifyAt(rpc, chain, terms, txHash, seen.number), needs);
  if ('trouble' in asked) return { outcome: 'unknown', reason: asked.trouble };
  const found = together(asked.answers);
  if (found.outcome === 'matched') {
    const { block, confirmations, isFinal } = found;
    return block.hash === seen.hash ? { outcome: 'kept', confirmations, isFinal } : { outcome: 'moved', to: found };
  }
  if (found.outcome === 'reorging') return { outcome: 'unknown', reason: 'reorging' };
  return { outcome: 'gone', because: found.outcome };
}

const isAt = (found: Found, hash: Hash): found is Matched => found.outcome === 'matched' && found.block.hash === hash;

const pair = ({ endpoints }: Chain) => Math.min(2, endpoints.count);

/** Endpoints agree when they name the same block and the same transfers; how many blocks follow may differ for a moment. */
const keyOf = (found: Found): string =>
  found.outcome === 'matched'
    ? [found.block.hash, ...found.transfers.map((one) => `${one.logIndex}:${one.from}:${one.amount}`)].join()
    : found.outcome;

/** As deep as the more cautious of the two says. */
function together([one, other = one]: [Found, ...Found[]]): Found {
  if (one.outcome !== 'matched' || other.outcome !== 'matched') return one;
  const confirmations = Math.min(one.confirmations, other.confirmations);
  return { ...one, confirmations, isFinal: one.isFinal && other.isFinal };
}
