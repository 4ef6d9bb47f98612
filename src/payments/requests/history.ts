import type { Tx } from '../../platform/database/clients.ts';
import { appendEvents } from '../../platform/delivery/events.ts';
import { type paymentRequests, requestHistory } from '../tables.ts';

export type PaymentRequest = typeof paymentRequests.$inferSelect;

/** Who did a step: an account, the chain as we read it, or the clock. */
export type Actor = 'refund' | 'chain' | 'clock' | `account:${string}`;

/** Adds a step to a request's audit trail, in the transaction that makes it. */
export async function note(
  tx: Tx,
  requestId: string,
  step: { actor: Actor; what: string; txHash?: string; detail?: Record<string, unknown> },
): Promise<void> {
  const { actor, what, txHash, detail } = step;
  await tx.insert(requestHistory).values({ requestId, actor, what, txHash: txHash ?? null, detail: detail ?? {} });
}

/** Tells the merchant and, once it is known, the payer's account. The caller holds the request's lock. */
export const tellRequest = (
  tx: Tx,
  request: PaymentRequest,
  what: string = request.state,
  more: Record<string, unknown> = {},
): Promise<void> =>
  appendEvents(
    tx,
    [...new Set([request.merchantId, request.payerAccountId])]
      .filter((accountId) => accountId !== null)
      .map((accountId) => ({
        accountId,
        type: `payments.payment_request_${what}`,
        subjectId: request.id,
        payload: {
          state: request.state,
          amount: request.amount,
          received: request.received,
          asset: request.asset,
          ...more,
        },
      })),
  );
