import { and, eq, inArray, sql } from 'drizzle-orm';
import type { Tx } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { Problem } from '../../platform/http/problem.ts';
import { note, type PaymentRequest } from './history.ts';
import { lockRequest, move } from './move.ts';
import { requestTransactions } from './tables.ts';

/** Hashes that may be waiting or refused at once; what has counted makes room again. */
const MAX_OPEN = 5;

/**
 * The payer says by which transaction the request is paid; whether it is, the chain says. The same hash again changes
 * nothing. It may be told after the end of a request that was agreed to: what was in time counts.
 */
export async function submitTransaction(
  tx: Tx,
  requestId: string,
  accountId: string,
  txHash: string,
): Promise<PaymentRequest> {
  const request = await lockRequest(tx, requestId);
  if (request.payerAccountId !== accountId) throw new Problem('not_payer');
  const isIt = and(eq(requestTransactions.requestId, requestId), eq(requestTransactions.txHash, txHash));
  if ((await tx.$count(requestTransactions, isIt)) > 0) return request;
  if (request.state === 'completed' || request.state === 'cancelled')
    throw new Problem('conflict', `The payment request is ${request.state}.`);
  const open = and(
    eq(requestTransactions.requestId, requestId),
    inArray(requestTransactions.state, ['waiting', 'refused', 'given_up']),
  );
  if ((await tx.$count(requestTransactions, open)) >= MAX_OPEN)
    throw new Problem('conflict', `${MAX_OPEN} transactions were submitted, and none of them counts.`);
  await tx.insert(requestTransactions).values({ requestId, txHash, nextCheckAt: sql`now()` });
  await note(tx, requestId, { actor: `account:${accountId}`, what: 'transaction_submitted', txHash });
  const moved = await move(tx, request, `account:${accountId}`);
  await failpoint('payments.request.before_submit_commit');
  return moved;
}
