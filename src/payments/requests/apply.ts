import { and, eq, inArray, isNull, ne, sql } from 'drizzle-orm';
import { walletBelongsTo } from '../../identity/index.ts';
import type { Tx } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { closeDifferences } from '../differences.ts';
import type { Matched, Transfer, Verification } from '../rails/evm/verify.ts';
import { differences } from '../tables.ts';
import { note, type PaymentRequest, tellRequest } from './history.ts';
import { lockRequest, move } from './move.ts';
import { requestTransactions, settlements } from './tables.ts';

export type Submitted = typeof requestTransactions.$inferSelect;

/** A transaction that nobody has seen for so long after the request's end will not come. */
const GIVE_UP_AFTER_S = 86_400;
/** What was counted is looked at again until it lies so deep, whatever the policy calls final. */
const DEEP = 64;
const FINAL_PAUSE_S = 30;
/** Seconds to the next look: often at first, then every minute. */
const pauseS = (checks: number) => Math.min(2 * 1.5 ** checks, 60);

/** What `verify` and `recheck` can say, in one. `kept`: what was counted still lies where it lay. */
export type Seen =
  | Exclude<Verification, { outcome: 'unknown' }>
  | { outcome: 'kept'; confirmations: number; isFinal: boolean };

/** Applies what the chain was seen to say of a transaction, under the request's lock. The same again changes nothing. */
export async function applySeen(tx: Tx, { requestId, txHash }: Submitted, seen: Seen): Promise<PaymentRequest> {
  const request = await lockRequest(tx, requestId);
  const [transaction] = await tx
    .select()
    .from(requestTransactions)
    .where(and(eq(requestTransactions.requestId, requestId), eq(requestTransactions.txHash, txHash)));
  if (!transaction) throw new Error('a transaction that was never submitted');
  switch (seen.outcome) {
    case 'matched':
      return count(tx, request, transaction, seen);
    case 'reverted':
      return refuse(tx, request, transaction, 'tx_reverted');
    case 'no_matching_transfer':
      return refuse(tx, request, transaction, 'no_matching_transfer');
    case 'kept':
      await deepen(tx, transaction, seen);
      return move(tx, request, 'chain');
    case 'reorging':
      await look(tx, transaction, {}, pauseS(0));
      return request;
    case 'not_found':
    case 'pending':
      return wait(tx, request, transaction, seen.outcome);
  }
}

/** Not in the chain, or not any more: what was counted is taken back, and waited for again. */
async function wait(tx: Tx, request: PaymentRequest, transaction: Submitted, outcome: 'not_found' | 'pending') {
  const wasCounted = transaction.state === 'counted';
  if (wasCounted) await takeBack(tx, transaction);
  const isOver = outcome === 'not_found' && (await hasEndedLongAgo(tx, request));
  const name = wasCounted ? 'reorged' : `tx_${outcome}`;
  const state = isOver ? 'given_up' : 'waiting';
  await look(
    tx,
    transaction,
    { state, outcome: name, confirmations: 0, isFinal: false },
    isOver ? null : pauseS(transaction.checks),
  );
  return move(tx, request, 'chain');
}

async function hasEndedLongAgo(tx: Tx, { expiresAt }: PaymentRequest): Promise<boolean> {
  const [row] = await tx.execute<{ over: boolean }>(
    sql`select now() > ${expiresAt.toISOString()}::timestamptz + make_interval(secs => ${GIVE_UP_AFTER_S}) as over`,
  );
  return row?.over === true;
}

async function takeBack(tx: Tx, { requestId, txHash }: Submitted): Promise<void> {
  await tx
    .update(settlements)
    .set({ goneAt: sql`now()` })
    .where(and(eq(settlements.requestId, requestId), eq(settlements.txHash, txHash), isNull(settlements.goneAt)));
  await note(tx, requestId, { actor: 'chain', what: 'transfer_gone', txHash });
}

/** It pays nothing here, and never will. The payer is told, and may try another. */
async function refuse(
  tx: Tx,
  request: PaymentRequest,
  transaction: Submitted,
  outcome: string,
): Promise<PaymentRequest> {
  if (transaction.state === 'refused') return request;
  if (transaction.state === 'counted') await takeBack(tx, transaction);
  const { txHash } = transaction;
  await look(tx, transaction, { state: 'refused', outcome, confirmations: 0, isFinal: false }, null);
  await note(tx, request.id, { actor: 'chain', what: 'transaction_refused', txHash, detail: { outcome } });
  const moved = await move(tx, request, 'chain');
  await tellRequest(tx, moved, 'transaction_refused', { tx_hash: txHash, reason: outcome });
  return moved;
}

/** The payer's own transfers in it become settlements of this request, unless they are another's already. */
async function count(tx: Tx, request: PaymentRequest, transaction: Submitted, seen: Matched): Promise<PaymentRequest> {
  const own: Transfer[] = [];
  for (const one of seen.transfers) if (await walletBelongsTo(tx, { did: request.payerDid }, one.from)) own.push(one);
  if (own.length === 0) return refuse(tx, request, transaction, 'wrong_payer');
  const isNew = transaction.state !== 'counted';
  const claimed = await claim(tx, request, transaction, own, seen);
  await failpoint('payments.request.after_claim');
  if (claimed === 0) return refuse(tx, request, transaction, 'tx_already_used');
  await deepen(tx, transaction, seen);
  if (isNew)
    await note(tx, request.id, {
      ...{ actor: 'chain', what: 'transfer_counted', txHash: transaction.txHash },
      detail: {
        block: seen.block.number.toString(),
        transfers: own.map((one) => ({ ...one, amount: one.amount.toString() })),
      },
    });
  return move(tx, request, 'chain');
}

/** Keeps how deep a counted transaction lies, and when to look again. */
async function deepen(
  tx: Tx,
  transaction: Submitted,
  { confirmations, isFinal }: { confirmations: number; isFinal: boolean },
) {
  const next =
    confirmations >= DEEP && isFinal ? null : isFinal ? FINAL_PAUSE_S : pauseS(Math.min(transaction.checks, 3));
  await look(tx, transaction, { state: 'counted', outcome: 'counted', confirmations, isFinal }, next);
}

/** The chain could not be asked: the same look again, later. */
export const postpone = (tx: Tx, submitted: Submitted): Promise<void> =>
  look(tx, submitted, {}, pauseS(submitted.checks));

/** In the block where it lies now; a transfer that came back after a reorganisation stands again. */
async function claim(
  tx: Tx,
  request: PaymentRequest,
  { txHash }: Submitted,
  own: Transfer[],
  { block }: Matched,
): Promise<number> {
  const place = { blockNumber: block.number, blockHash: block.hash, blockTime: block.time };
  await leaveOtherBlocks(tx, request, txHash, block.hash);
  const standing = await tx
    .insert(settlements)
    .values(
      own.map(({ logIndex, from, amount }) => ({
        ...{ chain: request.chain, txHash, logIndex, requestId: request.id, payer: from, amount: amount.toString() },
        ...place,
      })),
    )
    .onConflictDoUpdate({
      target: [settlements.chain, settlements.txHash, settlements.logIndex],
      set: {
        ...{ blockNumber: sql`excluded.block_number`, blockHash: sql`excluded.block_hash` },
        ...{ blockTime: sql`excluded.block_time`, amount: sql`excluded.amount`, goneAt: null },
      },
      setWhere: eq(settlements.requestId, request.id),
    })
    .returning({ logIndex: settlements.logIndex });
  const references = standing.map(({ logIndex }) => unclaimedReference(request.chain, txHash, logIndex));
  await closeDifferences(tx, and(eq(differences.kind, UNCLAIMED), inArray(differences.reference, references)));
  return standing.length;
}

/** A transfer of which nobody knew what it was for, as a difference. */
export const UNCLAIMED = 'unclaimed_transfer';
export const unclaimedReference = (chain: string, txHash: string, logIndex: number): string =>
  `${chain}:${txHash}:${logIndex}`;

/** In another block a transfer may have another index: what stood elsewhere stands no more. */
async function leaveOtherBlocks(tx: Tx, request: PaymentRequest, txHash: string, blockHash: string): Promise<void> {
  const own = and(eq(settlements.requestId, request.id), eq(settlements.txHash, txHash), isNull(settlements.goneAt));
  await tx
    .update(settlements)
    .set({ goneAt: sql`now()` })
    .where(and(own, ne(settlements.blockHash, blockHash)));
}

async function look(
  tx: Tx,
  { requestId, txHash }: Submitted,
  change: Partial<Submitted>,
  afterS: number | null,
): Promise<void> {
  await tx
    .update(requestTransactions)
    .set({
      ...change,
      checks: sql`${requestTransactions.checks} + 1`,
      nextCheckAt: afterS === null ? null : sql`now() + make_interval(secs => ${afterS}::float8)`,
    })
    .where(and(eq(requestTransactions.requestId, requestId), eq(requestTransactions.txHash, txHash)));
}
