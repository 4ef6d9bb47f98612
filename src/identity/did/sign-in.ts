import { audit } from '../../platform/audit-log.ts';
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
    const { account, isNew } = await accountOf(tx, challenge);
    if (account.disabledAt) throw new Problem('account_disabled');
    if (isNew) {
      const detail = { did: challenge.did, challenge_id: challenge.id };
      const opened = { actor: account.id, action: 'identity.did_account_opened', subjectId: account.id };
      await audit(tx, { ...opened, detail, requestId });
    }
    return openSession(tx, policy, account);
  });
  await failpoint('identity.did.after_sign_in');
  return session;
}
