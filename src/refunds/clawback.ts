import { and, eq, inArray, sql } from 'drizzle-orm';
import { post } from '../credits/index.ts';
import { type Charge, claimShare, lockPaidPurchase, type PaidPurchase, settleShare } from '../payments/index.ts';
import { audit } from '../platform/audit-log.ts';
import type { Tx } from '../platform/database/clients.ts';
import { appendEvents } from '../platform/delivery/events.ts';
import { newId, toWire } from '../platform/ids.ts';
import { least } from '../platform/least.ts';
import { claimPayout, undo } from './end.ts';
import { note } from './history.ts';
import { lockRefund } from './move.ts';
import { clawbacks, refunds } from './tables.ts';

/** Credits that are taken back for money that went back without us, once for each refund or dispute of the provider. */

export interface Gone {
  /** The provider's id of its refund or dispute. */
  reference: string;
  kind: 'refund' | 'void' | 'dispute';
  amount: bigint;
}

/**
 * Takes the credits of the money back; what is not available becomes debt. The caller holds the purchase's lock. Refunds of
 * ours that were not sent yet give way: their money is gone. Nothing happens for what was clawed back before.
 */
export async function clawBack(tx: Tx, purchaseId: string, gone: Gone): Promise<boolean> {
  const { reference, kind, amount: wanted } = gone;
  if (!(await claimPayout(tx, { rail: 'omise', reference }, wanted.toString(), null))) return false;
  if ((await lockPaidPurchase(tx, purchaseId)).left.amount < wanted) await giveWay(tx, purchaseId);
  const { purchase, left } = await lockPaidPurchase(tx, purchaseId);
  const share = shareOf(left, purchase, wanted);
  const id = newId();
  const { accountId } = purchase;
  await tx.insert(clawbacks).values({ id, reference, kind, purchaseId, accountId, ...share });
  await note(tx, id, {
    ...{ actor: 'provider', what: 'clawed_back' },
    detail: { reference, kind, wanted: Number(wanted), credits: Number(share.credits), amount: Number(share.amount) },
  });
  if (share.amount === 0n) return true;
  if (!(await claimShare(tx, purchaseId, share))) throw new Error('more was clawed back than there is');
  await settleShare(tx, purchaseId, share);
  if (share.credits > 0n) {
    const { result } = await post(tx, 'clawback', accountId, share.credits, { type: 'clawback', id });
    if (result !== 'posted') throw new Error(`a claw-back was ${result}`);
  }
  await tell(tx, 'purchase_clawed_back', { accountId, purchaseId, kind, ...share });
  return true;
}

/** What there still is of it: all that is left for all that is left, else in proportion. */
function shareOf(left: PaidPurchase['left'], { price, credits }: PaidPurchase['purchase'], wanted: bigint) {
  const amount = least(wanted, left.amount);
  const part = (credits * amount) / price;
  return { amount, credits: amount === left.amount || part > left.credits ? left.credits : part };
}

/** Refunds of the purchase that wait, for whatever: their money is not there any more. */
async function giveWay(tx: Tx, purchaseId: string): Promise<void> {
  const waiting = await tx
    .select({ id: refunds.id })
    .from(refunds)
    .where(
      and(eq(refunds.subjectId, purchaseId), inArray(refunds.state, ['requested', 'awaiting_approval', 'reserved'])),
    )
    .orderBy(refunds.id);
  for (const { id } of waiting) {
    const refund = await lockRefund(tx, id);
    const message = 'The money went back by another way.';
    await undo(tx, refund, 'failed', { actor: 'provider', code: 'refunded_elsewhere', message });
  }
}

/** A dispute that was decided for us: the credits come again, once. A correction, which the audit log explains. */
export async function restore(tx: Tx, purchaseId: string, reference: string): Promise<void> {
  await lockPaidPurchase(tx, purchaseId);
  const isIt = and(eq(clawbacks.reference, reference), eq(clawbacks.purchaseId, purchaseId));
  const [clawback] = await tx.select().from(clawbacks).where(isIt).for('update');
  if (!clawback || clawback.restoredAt !== null) return;
  const { id, accountId, kind, credits, amount } = clawback;
  await tx.update(clawbacks).set({ restoredAt: sql`now()` }).where(eq(clawbacks.id, id));
  await note(tx, id, { actor: 'provider', what: 'restored', detail: { reference } });
  if (amount === 0n) return;
  await settleShare(tx, purchaseId, { credits: -credits, amount: -amount });
  if (!(await claimShare(tx, purchaseId, { credits: -credits, amount: -amount }))) throw new Error('more came again');
  if (credits > 0n) {
    const { result } = await post(tx, 'adjust', accountId, credits, { type: 'clawback', id });
    if (result !== 'posted') throw new Error(`the return of a claw-back was ${result}`);
    const detail = { id, credits: Number(credits), reason: 'a dispute was won' };
    await audit(tx, { actor: 'saga', action: 'credits.adjust', subjectId: accountId, detail });
  }
  await tell(tx, 'purchase_restored', { accountId, purchaseId, kind, credits, amount });
}

const tell = (
  tx: Tx,
  what: 'purchase_clawed_back' | 'purchase_restored',
  of: { accountId: string; purchaseId: string; kind: Gone['kind']; credits: bigint; amount: bigint },
): Promise<void> =>
  appendEvents(tx, [
    {
      accountId: of.accountId,
      type: `refunds.${what}`,
      subjectId: of.purchaseId,
      payload: { kind: of.kind, credits: Number(of.credits), amount: Number(of.amount) },
    },
  ]);

/** Of what a charge shows, what is not ours: refunds that no open refund of ours has made, and disputes. */
export function goneElsewhere(charge: Charge, openRefunds: string[]): Gone[] {
  const ours = new Set(openRefunds.map((id) => toWire('refund', id)));
  const isOurs = (refundId: string | null) => refundId !== null && ours.has(refundId);
  const made = charge.refunds
    .filter(({ refundId }) => !isOurs(refundId))
    .map(({ id, amount, voided }): Gone => ({ reference: id, kind: voided ? 'void' : 'refund', amount }));
  const { dispute } = charge;
  return dispute && charge.hasOpenDispute
    ? [...made, { reference: dispute.id, kind: 'dispute', amount: dispute.amount }]
    : made;
}
