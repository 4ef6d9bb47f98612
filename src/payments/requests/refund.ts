import { and, desc, eq, isNull, sql } from 'drizzle-orm';
import { walletBelongsTo } from '../../identity/index.ts';
import type { Tx } from '../../platform/database/clients.ts';
import { type Actor, note, type PaymentRequest } from './history.ts';
import { paymentRequests, settlements } from './tables.ts';

/** What a payment request has to do with refunds: what arrived in excess, what of its credits is left, and who paid. */

export interface RefundableRequest {
  request: PaymentRequest;
  /** Base units that nothing speaks for: beyond the amount, or all of what came too late or too short. */
  excess: bigint;
  /** Credits that it bought, less those that refunds speak for. */
  credits: bigint;
  /** CAIP-10 of the wallet that paid most, which is the payer's; null before anything arrived. */
  payer: string | null;
}

/** Locks a request; undefined when there is none. */
export async function lockRefundable(tx: Tx, id: string): Promise<RefundableRequest | undefined> {
  const [request] = await tx.select().from(paymentRequests).where(eq(paymentRequests.id, id)).for('update');
  if (!request) return undefined;
  const isComplete = request.state === 'completed';
  return {
    request,
    excess: excessOf(request),
    credits: isComplete && request.credits !== null ? request.credits - request.refundCredits : 0n,
    payer: await payerOf(tx, request),
  };
}

/** While it may still become complete, nothing is in excess. */
export function excessOf({ state, received, amount, refundExcess }: PaymentRequest): bigint {
  const isOver = state === 'late' || state === 'expired' || state === 'cancelled';
  const beyond = state === 'completed' ? BigInt(received) - BigInt(amount) : isOver ? BigInt(received) : 0n;
  const left = beyond - BigInt(refundExcess);
  return left > 0n ? left : 0n;
}

async function payerOf(tx: Tx, request: PaymentRequest): Promise<string | null> {
  const [most] = await tx
    .select({ payer: settlements.payer })
    .from(settlements)
    .where(and(eq(settlements.requestId, request.id), isNull(settlements.goneAt)))
    .groupBy(settlements.payer)
    .orderBy(desc(sql`sum(${settlements.amount})`), settlements.payer)
    .limit(1);
  if (!most || !(await walletBelongsTo(tx, { did: request.payerDid }, most.payer))) return null;
  return `${request.chain}:${most.payer}`;
}

/** Speaks for a part (or, negative, no more). The caller holds the lock and has seen that there is so much. */
export async function claimOfRequest(
  tx: Tx,
  id: string,
  { excess, credits }: { excess: bigint; credits: bigint },
): Promise<void> {
  await tx
    .update(paymentRequests)
    .set({
      refundExcess: sql`${paymentRequests.refundExcess} + ${excess.toString()}::numeric`,
      refundCredits: sql`${paymentRequests.refundCredits} + ${credits}::bigint`,
    })
    .where(eq(paymentRequests.id, id));
}

/** Adds to the request's own trail that a part of it went back. */
export const noteRefunded = (tx: Tx, id: string, detail: Record<string, unknown>): Promise<void> =>
  note(tx, id, { actor: 'refund' satisfies Actor, what: 'refunded', detail });
