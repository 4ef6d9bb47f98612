import type { Address, Hash } from 'viem';
import { encodeEventTopics, numberToHex } from 'viem/utils';
import { z } from 'zod';
import { type Chain, readHeads } from './chain.ts';
import { erc20, Log } from './chain-objects.ts';
import { type Rpc, RpcFault } from './rpc.ts';
import { type Transfer, tokensIn } from './verify.ts';

/** Finds payments that nobody reported. What it finds is a hint: `verify` has the last word on it. */

export interface Sighting extends Transfer {
  /** CAIP-19. */
  asset: string;
  txHash: Hash;
  block: { number: bigint; hash: Hash };
}

export type Watched =
  /** `next` is the cursor to keep, in the transaction that writes down the sightings; some of them will be seen again. */
  | { outcome: 'seen'; sightings: Sighting[]; next: bigint; isCaughtUp: boolean }
  | { outcome: 'unknown'; reason: string };

const OVERLAP_BLOCKS = 64n; // read again each time: blocks are replaced, and nodes behind one address differ
const MOST_BLOCKS = 2_000n; // in one range; providers allow from ten to ten thousand
const MOST_CALLS = 100; // even block by block more than the overlap, so that there is always progress
const MOST_SIGHTINGS = 10_000;

/** Transfers of the configured tokens to the treasury from block `cursor` on; from now on when there is no cursor yet. */
export async function watch(chain: Chain, cursor: bigint | null): Promise<Watched> {
  const asked = await chain.endpoints.ask((rpc) => watchAt(rpc, chain, cursor));
  return 'trouble' in asked ? { outcome: 'unknown', reason: asked.trouble } : { outcome: 'seen', ...asked.answers[0] };
}

async function watchAt(rpc: Rpc, chain: Chain, cursor: bigint | null) {
  const { latest } = await readHeads(rpc, chain);
  const tokens = chain.assets.flatMap(({ token }) => token ?? []);
  if (cursor === null || tokens.length === 0) return { sightings: [], next: latest + 1n, isCaughtUp: true };
  const sightings: Sighting[] = [];
  let from = cursor > OVERLAP_BLOCKS ? cursor - OVERLAP_BLOCKS : 0n;
  let span = MOST_BLOCKS;
  for (let calls = 0; from <= latest && calls < MOST_CALLS && sightings.length < MOST_SIGHTINGS; calls += 1) {
    const to = from + span - 1n < latest ? from + span - 1n : latest;
    const logs = await logsOf(rpc, chain, tokens, { from, to });
    if (logs) {
      sightings.push(...sightingsIn(logs, chain, tokens));
      from = to + 1n;
    } else span = (to - from + 1n) / 2n;
  }
  return { sightings, next: from > cursor ? from : cursor, isCaughtUp: from > latest };
}

/** How providers say that it was too much at once: there is no common code for it. */
const TOO_MUCH = new Set(['refused', 'too_large', 'timeout', 'http_400', 'http_413']);

/** `undefined`: the range is too large for this provider. */
async function logsOf(rpc: Rpc, { treasury }: Chain, tokens: Address[], { from, to }: { from: bigint; to: bigint }) {
  const topics = encodeEventTopics({ abi: erc20, eventName: 'Transfer', args: { to: treasury } });
  const filter = { fromBlock: numberToHex(from), toBlock: numberToHex(to), address: tokens, topics };
  try {
    return await rpc.call('eth_getLogs', [filter], z.array(Log));
  } catch (fault) {
    if (fault instanceof RpcFault && TOO_MUCH.has(fault.reason) && to > from) return undefined;
    throw fault;
  }
}

const sightingsIn = (logs: Log[], { assets, treasury: recipient }: Chain, tokens: Address[]): Sighting[] =>
  tokens.flatMap((token) => {
    const asset = assets.find((one) => one.token === token)?.id ?? '';
    return logs.flatMap((log) =>
      tokensIn([log], token, { recipient }).map((transfer) => ({
        ...transfer,
        ...{ asset, txHash: log.transactionHash, block: { number: log.blockNumber, hash: log.blockHash } },
      })),
    );
  });
