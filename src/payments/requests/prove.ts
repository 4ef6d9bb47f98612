import { and, eq } from 'drizzle-orm';
import type { z } from 'zod';
import { type Challenge, type Proof, signaturesOf, type VerifierDeps, verifyAnswer } from '../../identity/index.ts';
import type { Db } from '../../platform/database/clients.ts';
import { Problem } from '../../platform/http/problem.ts';
import type { Proving } from './authorize.ts';
import { note, tellRequest } from './history.ts';
import { lockRequest } from './move.ts';
import { paymentRequests, requestHistory } from './tables.ts';

/** Failures that are told of one request: whoever has its id can make them. */
const MOST_TOLD = 20;

/**
 * The challenge about this request that the holder of the payer's DID has answered, to be consumed by the caller. A wrong
 * answer is refused and told to the merchant and the payer; the request stays as it is, so that no stranger can end it.
 */
export async function provePayer(
  deps: VerifierDeps,
  wanted: { requestId: string; purpose: Proving },
  answer: { challenge_id: string; proof: z.infer<typeof Proof> },
  httpRequestId: string,
): Promise<Challenge> {
  const { requestId, purpose } = wanted;
  const asked = { challengeId: answer.challenge_id, purpose, subjectId: requestId };
  try {
    return await verifyAnswer(deps, asked, signaturesOf(answer.proof), httpRequestId);
  } catch (fault) {
    if (fault instanceof Problem && fault.code === 'did_auth_failed') await tellFailure(deps.db, requestId, purpose);
    throw fault;
  }
}

async function tellFailure(db: Db, requestId: string, purpose: Proving): Promise<void> {
  await db.transaction(async (tx) => {
    if ((await tx.$count(paymentRequests, eq(paymentRequests.id, requestId))) === 0) return;
    const request = await lockRequest(tx, requestId);
    const what = 'authentication_failed';
    const before = and(eq(requestHistory.requestId, requestId), eq(requestHistory.what, what));
    if ((await tx.$count(requestHistory, before)) >= MOST_TOLD) return;
    await note(tx, requestId, { actor: 'anonymous', what, detail: { purpose } });
    await tellRequest(tx, request, what, { purpose });
  });
}
