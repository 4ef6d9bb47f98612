import { eq } from 'drizzle-orm';
import type { Tx } from '../platform/database/clients.ts';
import { failpoint } from '../platform/failpoints.ts';
import { closeAttempt, openAttempt } from './attempts.ts';
import type { DriveDeps } from './drive.ts';
import { completePaid } from './end.ts';
import { note, type Refund } from './history.ts';
import { later, lockRefund, move } from './move.ts';
import { payouts } from './tables.ts';

/**
 * A payout that an operator has made from a wallet of their own: by the same verifier as payments, with the payer's wallet
 * as the recipient. Nothing here could send anything.
 */

const AGAIN_S = 5;
/** A transaction that nobody has seen for so long was never sent, or replaced. */
const GIVE_UP_AFTER_S = 3_600;
/** Blocks carry whole seconds, and the clocks of those who make them. */
const CLOCK_SKEW_MS = 60_000;

type Seen = Awaited<ReturnType<DriveDeps['evm']['verify']>>;

/** Reads the named transaction. A wrong one is refused, with the reason, and the refund waits for another. */
export async function lookAtChain(deps: DriveDeps, refund: Refund): Promise<boolean> {
  const attempt = await openAttempt(deps.db, refund.id);
  if (refund.destination === null) throw new Error('a payout to nowhere');
  if (!attempt) return true; // somebody has found out meanwhile: the state says what
  const { unit: asset, destination: recipient, amount } = refund;
  const chain = asset.split('/', 1)[0] ?? '';
  const seen = await deps.evm.verify({ chain, asset, recipient, amount }, attempt.target);
  await failpoint('refunds.chain.after_look');
  await deps.db.transaction(async (tx) => {
    const locked = await lockRefund(tx, refund.id);
    const open = await openAttempt(tx, refund.id);
    if (locked.state !== 'sending' || open?.target !== attempt.target) return;
    await conclude(tx, locked, attempt.target, open.ageS, seen);
    await failpoint('refunds.chain.before_commit');
  });
  return false;
}

async function conclude(tx: Tx, refund: Refund, txHash: string, ageS: number, seen: Seen): Promise<void> {
  switch (seen.outcome) {
    case 'unknown':
    case 'pending':
    case 'reorging':
      return later(tx, refund, AGAIN_S);
    case 'not_found':
      return ageS < GIVE_UP_AFTER_S ? later(tx, refund, AGAIN_S) : refuse(tx, refund, txHash, 'not_found');
    case 'reverted':
    case 'no_matching_transfer':
      return refuse(tx, refund, txHash, seen.outcome);
    case 'matched':
      return match(tx, refund, txHash, seen);
  }
}

/** Exactly the amount, in one transfer that pays nothing else, made after it was asked for, and final. */
async function match(tx: Tx, refund: Refund, txHash: string, seen: Seen & { outcome: 'matched' }): Promise<void> {
  const { transfers, block, isFinal } = seen;
  const exact = transfers.filter(({ amount }) => amount === BigInt(refund.amount));
  if (exact.length === 0) return refuse(tx, refund, txHash, 'wrong_amount');
  if (block.time.getTime() + CLOCK_SKEW_MS < refund.createdAt.getTime())
    return refuse(tx, refund, txHash, 'older_than_refund');
  const chain = refund.unit.split('/', 1)[0];
  const references = exact.map(({ logIndex }) => `${chain}:${txHash}:${logIndex}`);
  const free = [];
  for (const reference of references) if (!(await isClaimed(tx, reference))) free.push(reference);
  const [reference] = free;
  if (reference === undefined) return refuse(tx, refund, txHash, 'already_used');
  if (!isFinal) return later(tx, refund, AGAIN_S);
  await closeAttempt(tx, refund.id, 'done', reference);
  const done = await completePaid(
    tx,
    refund,
    { rail: 'evm', reference },
    { actor: 'chain', detail: { tx_hash: txHash } },
  );
  // Claimed by another refund at this very moment: this transaction is taken back, and the next look refuses it.
  if (!done) throw new Error('a transfer that was claimed at the same time');
}

const isClaimed = async (tx: Tx, reference: string): Promise<boolean> =>
  (await tx.$count(payouts, eq(payouts.reference, reference))) > 0;

async function refuse(tx: Tx, refund: Refund, txHash: string, reason: string): Promise<void> {
  await closeAttempt(tx, refund.id, 'refused', reason);
  await note(tx, refund.id, { actor: 'chain', what: 'payout_refused', detail: { tx_hash: txHash, reason } });
  await move(tx, refund, 'reserved', { actor: 'chain', detail: { reason } });
}
