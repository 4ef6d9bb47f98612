import { releaseRefund, takeRefund } from '../credits/index.ts';
import type { Tx } from '../platform/database/clients.ts';
import { failpoint } from '../platform/failpoints.ts';
import type { Actor, Refund } from './history.ts';
import { move } from './move.ts';
import { subjectOf } from './subjects.ts';
import { payouts } from './tables.ts';

/** How refunds end: all of it in one transaction, for a refund that is locked. */

/** What was paid, by the rail's own name for it. */
export interface Paid {
  rail: 'omise' | 'bank' | 'evm';
  reference: string;
}

/** True when nobody has claimed this payment for anything before. */
export async function claimPayout(tx: Tx, paid: Paid, amount: string, refundId: string | null): Promise<boolean> {
  const rows = await tx
    .insert(payouts)
    .values({ ...paid, refundId, amount })
    .onConflictDoNothing()
    .returning({ reference: payouts.reference });
  return rows.length === 1;
}

/**
 * The money has gone back: the credits that were set aside are taken, and the subject says so. Undefined when that very
 * payment was claimed before, for another refund or as somebody else's.
 */
export async function completePaid(
  tx: Tx,
  refund: Refund,
  paid: Paid,
  by: { actor: Actor; decidedBy?: string; detail?: Record<string, unknown> },
): Promise<Refund | undefined> {
  if (!(await claimPayout(tx, paid, refund.amount, refund.id))) return undefined;
  if (takesCredits(refund)) {
    const { result } = await takeRefund(tx, refund.accountId, refund.id, refund.credits);
    if (result !== 'posted') throw new Error(`the credits of a refund were ${result}`);
  }
  await failpoint('refunds.complete.after_take');
  return settle(tx, refund, by.actor, {
    change: { reference: paid.reference, ...(by.decidedBy ? { decidedBy: by.decidedBy } : {}) },
    detail: { ...by.detail, reference: paid.reference },
  });
}

/** Credits are given at once: there is nobody else to ask. */
export const completeCredits = (tx: Tx, refund: Refund, actor: Actor, change: object = {}): Promise<Refund> =>
  settle(tx, refund, actor, { change });

async function settle(
  tx: Tx,
  refund: Refund,
  actor: Actor,
  more: { change?: object; detail?: Record<string, unknown> },
): Promise<Refund> {
  await subjectOf(refund).settle(tx, refund);
  const completed = await move(tx, refund, 'completed', { actor, ...more });
  await failpoint('refunds.complete.before_commit');
  return completed;
}

/** It comes to nothing: what was set aside goes back, and the part is free again. */
export async function undo(
  tx: Tx,
  refund: Refund,
  state: 'failed' | 'rejected',
  by: { actor: Actor; code: string; message: string; decidedBy?: string },
): Promise<Refund> {
  const { actor, code, message, decidedBy } = by;
  const isReserved = refund.state === 'reserved' || refund.state === 'sending';
  if (isReserved && takesCredits(refund)) {
    const { result } = await releaseRefund(tx, refund.accountId, refund.id, refund.credits);
    if (result !== 'posted') throw new Error(`the release of a refund's credits was ${result}`);
  }
  await failpoint('refunds.undo.after_release');
  await subjectOf(refund).drop(tx, refund);
  const failure = state === 'failed' ? { failureCode: code, failureMessage: message } : { decision: message };
  const undone = await move(tx, refund, state, {
    actor,
    change: { ...failure, ...(decidedBy ? { decidedBy } : {}) },
    detail: { code, message },
  });
  await failpoint('refunds.undo.before_commit');
  return undone;
}

/** Money for credits; an excess is money for nothing, and rail `credits` gives some. */
export const takesCredits = ({ rail, credits }: Refund): boolean => rail !== 'credits' && credits > 0n;
