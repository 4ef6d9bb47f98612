import type { Db } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { Problem } from '../../platform/http/problem.ts';
import { openSession, type Session, type SessionPolicy } from '../sessions.ts';
import { consumeChallenge } from './challenges.ts';
import { accountOf } from './dids.ts';
import type { Challenge } from './signed.ts';

/**
 * A session for the holder of a DID, like that of a password; the first one opens the account. One answered challenge is
 * one session: it is used up in the transaction that opens it.
 */
export async function signIn(db: Db, policy: SessionPolicy, challenge: Challenge, requestId: string): Promise<Session> {
  const session = await db.transaction(async (tx) => {
    await consumeChallenge(tx, challenge);
    const account = await accountOf(tx, challenge, requestId);
    if (account.disabledAt) throw new Problem('account_disabled');
    return openSession(tx, policy, account);
  });
  await failpoint('identity.did.after_sign_in');
  return session;
}
