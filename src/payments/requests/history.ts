import { accountIdOf } from '../../identity/index.ts';
import type { Tx } from '../../platform/database/clients.ts';
import { appendEvents } from '../../platform/delivery/events.ts';
import { type paymentRequests, requestHistory } from './tables.ts';

export type PaymentRequest = typeof paymentRequests.$inferSelect;

/** Who did a step: an account, we ourselves, a refund, the chain as we read it, or the clock. */
export type Actor = 'house' | 'refund' | 'chain' | 'clock' | 'anonymous' | `account:${string}`;

/** Adds a step to a request's audit trail, in the transaction that makes it. */
export async function note(
  tx: Tx,
  requestId: string,
  step: { actor: Actor; what: string; txHash?: string; detail?: Record<string, unknown> },
): Promise<void> {
  const { actor, what, txHash, detail } = step;
  await tx.insert(requestHistory).values({ requestId, actor, what, txHash: txHash ?? null, detail: detail ?? {} });
}

/** Tells the merchant and the account that the payer's DID opens, if there is one. The caller holds the request's lock. */
export async function tellRequest(
  tx: Tx,
  request: PaymentRequest,
  what: string = request.state,
  more: Record<string, unknown> = {},
): Promise<void> {
  const { merchantId, payerDid, payerAccountId, state, amount, received, asset } = request;
  const told = new Set([merchantId, payerAccountId ?? (await accountIdOf(tx, payerDid)) ?? null]);
  await appendEvents(
    tx,
    [...told]
      .filter((accountId) => accountId !== null)
      .map((accountId) => ({
        ...{ accountId, type: `payments.payment_request_${what}`, subjectId: request.id },
        payload: { state, amount, received, asset, ...more },
      })),
  );
}
