import { eq, sql } from 'drizzle-orm';
import { accountOfHolder, type Challenge, consumeChallenge, makeChallenge, parseDid } from '../../identity/index.ts';
import type { Db, Tx } from '../../platform/database/clients.ts';
import { Problem } from '../../platform/http/problem.ts';
import { displayAmount } from '../rails/evm/terms.ts';
import { paymentRequests } from '../tables.ts';
import { note, type PaymentRequest } from './history.ts';
import { lockRequest, move } from './move.ts';

/** What the payer is asked to sign: the terms by their hash, and in one sentence what they mean. */
export async function askPayer(on: Db | Tx, request: PaymentRequest): Promise<Challenge> {
  requireOpen(request);
  return makeChallenge(on, {
    did: parseDid(request.payerDid),
    purpose: 'payment',
    statement: `Pay ${displayAmount(request.amount, request.decimals)} ${request.symbol} to ${request.recipient} on ${request.chain}.`,
    subject: { type: 'paymentRequest', id: request.id, termsHash: request.termsHash },
  });
}

function requireOpen({ state, expiresAt }: PaymentRequest): void {
  if (state === 'expired' || expiresAt <= new Date()) throw new Problem('payment_request_expired');
  if (!['pending', 'authenticated', 'underpaid'].includes(state))
    throw new Problem('conflict', `The payment request is ${state}.`);
}

/** The payer has signed the terms: once, by the holder of the very DID, while the request is open. A repeat by another challenge changes nothing. */
export async function authorize(tx: Tx, requestId: string, challenge: Challenge): Promise<PaymentRequest> {
  await consumeChallenge(tx, challenge);
  const { account } = await accountOfHolder(tx, challenge);
  const request = await lockRequest(tx, requestId);
  if (challenge.did !== request.payerDid || challenge.termsHash !== request.termsHash)
    throw new Problem('did_auth_failed');
  requireOpen(request);
  if (account.disabledAt) throw new Problem('account_disabled');
  if (request.authorizedAt !== null) return request;
  const [authorized] = await tx
    .update(paymentRequests)
    .set({ authorizedAt: sql`now()`, challengeId: challenge.id, payerAccountId: account.id })
    .where(eq(paymentRequests.id, requestId))
    .returning();
  if (!authorized) throw new Error('a payment request that vanished');
  const detail = { challenge_id: challenge.id, terms_hash: request.termsHash };
  await note(tx, requestId, { actor: `account:${account.id}`, what: 'authorized', detail });
  return move(tx, authorized, `account:${account.id}`);
}
