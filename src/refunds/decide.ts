import { eq, sql } from 'drizzle-orm';
import { audit } from '../platform/audit-log.ts';
import type { Tx } from '../platform/database/clients.ts';
import { Problem } from '../platform/http/problem.ts';
import { beginAttempt, countAttempts } from './attempts.ts';
import { completePaid, undo } from './end.ts';
import { note, type Refund } from './history.ts';
import { type Limits, requireOn } from './limits.ts';
import { lockRefund, move } from './move.ts';
import { reserve } from './reserve.ts';
import { refunds } from './tables.ts';

const MAX_PAYOUTS = 50; // transactions that were no payout

/** What operators decide and do about refunds. Each leaves its trail here and in the audit log. */

export interface Decision {
  operatorId: string;
  requestId: string;
}

/** Nobody decides about money that they get themselves. */
async function lockForOperator(tx: Tx, id: string, { operatorId }: Decision): Promise<Refund> {
  const refund = await lockRefund(tx, id);
  if (refund.accountId === operatorId)
    throw new Problem('forbidden', 'Another operator decides about your own refund.');
  return refund;
}

const wrongState = ({ state }: Refund) =>
  new Problem('conflict', `The refund is ${state}.`, { extra: { status: state } });

/** Sets the credits aside, if they are still there; then it takes its way. */
export async function approve(tx: Tx, limits: Limits, id: string, by: Decision & { reason: string }): Promise<Refund> {
  requireOn(limits);
  const refund = await lockForOperator(tx, id, by);
  if (refund.state !== 'awaiting_approval') throw wrongState(refund);
  const actor = `account:${by.operatorId}` as const;
  await note(tx, id, { actor, what: 'approved', detail: { reason: by.reason } });
  await tell(tx, refund, 'refunds.approved', by, { reason: by.reason });
  return reserve(tx, refund, actor, { decidedBy: by.operatorId, decision: by.reason });
}

/** No, with a reason that the customer sees. One that waits for a payout, too: what was set aside goes back. */
export async function reject(tx: Tx, id: string, by: Decision & { reason: string }): Promise<Refund> {
  const refund = await lockForOperator(tx, id, by);
  const { operatorId: decidedBy, reason: message } = by;
  const more = { actor: `account:${decidedBy}`, code: 'rejected_by_operator', message, decidedBy } as const;
  await tell(tx, refund, 'refunds.rejected', by, { reason: message });
  if (refund.state === 'awaiting_approval') return undo(tx, refund, 'rejected', more);
  if (isForPerson(refund)) return undo(tx, refund, 'failed', more);
  throw wrongState(refund);
}

const isForPerson = ({ state, rail }: Refund) => state === 'reserved' && (rail === 'bank' || rail === 'evm');

export type Payout = { type: 'bank_transfer'; reference: string } | { type: 'transaction'; txHash: string };

/** How a person has paid it: a bank transfer is believed with its reference, a transaction is looked at in the chain. */
export async function recordPayout(
  tx: Tx,
  limits: Limits,
  id: string,
  payout: Payout,
  by: Decision & { reason?: string },
): Promise<Refund> {
  requireOn(limits);
  const refund = await lockForOperator(tx, id, by);
  if (!isForPerson(refund)) throw wrongState(refund);
  const actor = `account:${by.operatorId}` as const;
  if (payout.type === 'bank_transfer') {
    if (refund.rail !== 'bank') throw new Problem('conflict', 'This refund is paid on its chain.');
    const { reference } = payout;
    await tell(tx, refund, 'refunds.paid_out', by, { reference, reason: by.reason });
    const more = { actor, decidedBy: by.operatorId };
    const done = await completePaid(tx, refund, { rail: 'bank', reference }, more);
    if (!done) throw new Problem('conflict', 'This reference was recorded for another refund.');
    return done;
  }
  if (refund.rail !== 'evm') throw new Problem('conflict', 'This refund is paid by bank transfer.');
  await tell(tx, refund, 'refunds.paid_out', by, { tx_hash: payout.txHash, reason: by.reason });
  if ((await countAttempts(tx, id)) >= MAX_PAYOUTS) throw new Problem('conflict', 'Too many transactions were wrong.');
  const attempt = await beginAttempt(tx, refund, payout.txHash);
  return move(tx, refund, 'sending', {
    ...{ actor, stepInS: 0, change: { decidedBy: by.operatorId } },
    detail: { attempt, tx_hash: payout.txHash },
  });
}

/** Takes the next step of one that seems to stand still now, not when it is due. 409 when it is over, or waits for a person. */
export async function lookNow(tx: Tx, id: string, by: Decision & { reason: string }): Promise<void> {
  const refund = await lockRefund(tx, id);
  if (refund.nextStepAt === null) throw wrongState(refund);
  await tx.update(refunds).set({ nextStepAt: sql`now()` }).where(eq(refunds.id, id));
  await tell(tx, refund, 'refunds.looked_at', by, { reason: by.reason });
}

const tell = (tx: Tx, { id, accountId }: Refund, action: string, by: Decision, detail: Record<string, unknown>) =>
  audit(tx, {
    ...{ actor: by.operatorId, action, subjectId: id, requestId: by.requestId },
    detail: { ...detail, account_id: accountId },
  });
