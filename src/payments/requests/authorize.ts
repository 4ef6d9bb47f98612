import { and, eq, sql } from 'drizzle-orm';
import { accountOfHolder, type Challenge, consumeChallenge, makeChallenge, parseDid } from '../../identity/index.ts';
import type { Db, Tx } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { Problem } from '../../platform/http/problem.ts';
import { toWire } from '../../platform/ids.ts';
import { displayAmount } from '../rails/evm/terms.ts';
import { purchases } from '../tables.ts';
import { note, type PaymentRequest } from './history.ts';
import { lockRequest, move } from './move.ts';
import { paymentRequests } from './tables.ts';

/** What a payer proves control of the DID for. */
export type Proving = 'payment' | 'status';

/** What the payer is asked to sign. To pay: the terms by their hash, and in one sentence what they mean. */
export async function askPayer(on: Db | Tx, request: PaymentRequest, purpose: Proving): Promise<Challenge> {
  const { id, payerDid, termsHash, amount, decimals, symbol, recipient, chain } = request;
  const subject = { type: 'paymentRequest', id } as const;
  const did = parseDid(payerDid);
  if (purpose === 'status') {
    const statement = `Show the payment request ${toWire('paymentRequest', id)}.`;
    return makeChallenge(on, { did, purpose, statement, subject });
  }
  requireOpen(request);
  const statement = `Pay ${displayAmount(amount, decimals)} ${symbol} to ${recipient} on ${chain}.`;
  return makeChallenge(on, { did, purpose, statement, subject: { ...subject, termsHash } });
}

function requireOpen({ state, expiresAt }: PaymentRequest): void {
  if (state === 'expired' || expiresAt <= new Date()) throw new Problem('payment_request_expired');
  if (!['pending', 'authenticated', 'underpaid'].includes(state))
    throw new Problem('conflict', `The payment request is ${state}.`);
}

/** The payer has signed the terms: once, by the holder of the very DID, while the request is open. A repeat by another challenge changes nothing. */
export async function authorize(
  tx: Tx,
  requestId: string,
  challenge: Challenge,
  httpRequestId: string,
): Promise<PaymentRequest> {
  await consumeChallenge(tx, challenge);
  const account = await accountOfHolder(tx, challenge, httpRequestId);
  const request = await lockRequest(tx, requestId);
  if (challenge.did !== request.payerDid || challenge.termsHash !== request.termsHash)
    throw new Problem('did_auth_failed');
  requireOpen(request);
  if (account.disabledAt) throw new Problem('account_disabled');
  if (request.authorizedAt !== null) return request;
  await requireBuyer(tx, request, account.id);
  const [authorized] = await tx
    .update(paymentRequests)
    .set({ authorizedAt: sql`now()`, challengeId: challenge.id, payerAccountId: account.id })
    .where(eq(paymentRequests.id, requestId))
    .returning();
  if (!authorized) throw new Error('a payment request that vanished');
  const detail = { challenge_id: challenge.id, terms_hash: request.termsHash };
  await note(tx, requestId, { actor: `account:${account.id}`, what: 'authorized', detail });
  const moved = await move(tx, authorized, `account:${account.id}`);
  await failpoint('payments.request.before_authorize_commit');
  return moved;
}

/** Credits that are bought go to whoever buys them, whichever account the DID opens by now. */
async function requireBuyer(tx: Tx, { purchaseId }: PaymentRequest, accountId: string): Promise<void> {
  if (purchaseId === null) return;
  const isBuyer = and(eq(purchases.id, purchaseId), eq(purchases.accountId, accountId));
  if ((await tx.$count(purchases, isBuyer)) === 0) throw new Problem('not_payer');
}
