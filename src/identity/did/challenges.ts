import { randomBytes } from 'node:crypto';
import { and, eq, gt, isNull, lt, sql } from 'drizzle-orm';
import type { Db, Tx } from '../../platform/database/clients.ts';
import type { Worker } from '../../platform/delivery/worker.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { Problem } from '../../platform/http/problem.ts';
import { type IdKind, newId } from '../../platform/ids.ts';
import { didChallenges, dids, type Purpose } from '../tables.ts';
import type { Did, Wallet } from './did.ts';
import type { Challenge } from './signed.ts';

/**
 * A challenge is asked for, answered at most five times, and used up once, by the transaction that does what the answer
 * allows. The database is its only clock.
 */

const TTL_S = 300;
const NONCE_BYTES = 16; // 128 bits; EIP-4361 wants letters and digits, so it is written in hex
/** Each try costs some 5 ms of CPU. Counted before it is made: tries at once must not be more. */
const MAX_ATTEMPTS = 5;

export interface Asked {
  did: Did;
  purpose: Purpose;
  /** What the holder agrees to, in one line of ASCII. */
  statement: string;
  /** The wallet to be linked, where the DID itself is not one. */
  wallet?: Wallet;
  /** What the answer is for. Everything but a log-in has one. */
  subject?: { type: IdKind; id: string; termsHash?: string };
}

/** Makes a challenge for the holder of a DID, known or not; nothing is told of either. */
export async function makeChallenge(
  tx: Db | Tx,
  { did, purpose, statement, wallet, subject }: Asked,
): Promise<Challenge> {
  const signing = wallet ?? (did.method === 'pkh' ? did : undefined);
  const [challenge] = await tx
    .insert(didChallenges)
    .values({
      ...{ id: newId(), nonce: randomBytes(NONCE_BYTES).toString('hex'), did: did.did, purpose, statement },
      ...{ wallet: signing?.wallet ?? null, chainId: signing?.chainId ?? null },
      ...{ subjectType: subject?.type ?? null, subjectId: subject?.id ?? null, termsHash: subject?.termsHash ?? null },
      expiresAt: sql`now() + make_interval(secs => ${TTL_S})`,
    })
    .returning();
  if (!challenge) throw new Error('no challenge was made');
  return challenge;
}

/** What an answer says that it is an answer to. */
export interface Wanted {
  challengeId: string;
  purpose: Purpose;
  /** The caller's account, payment request, …; the challenge must be for the same. */
  subjectId?: string;
}

const isFor = ({ challengeId, purpose, subjectId }: Wanted) =>
  and(
    eq(didChallenges.id, challengeId),
    eq(didChallenges.purpose, purpose),
    subjectId === undefined ? isNull(didChallenges.subjectId) : eq(didChallenges.subjectId, subjectId),
    isNull(didChallenges.consumedAt),
  );
const isInTime = gt(didChallenges.expiresAt, sql`now()`);

/**
 * Takes one of the tries that a challenge has, in a statement of its own, so that no refusal takes it back. `undefined`
 * when there is no such challenge for this, or it is used up; 401 `challenge_expired` when it is only too old.
 */
export async function takeAttempt(db: Db, wanted: Wanted): Promise<Challenge | undefined> {
  const [challenge] = await db
    .update(didChallenges)
    .set({ attempts: sql`${didChallenges.attempts} + 1` })
    .where(and(isFor(wanted), isInTime, lt(didChallenges.attempts, MAX_ATTEMPTS)))
    .returning();
  if (challenge) {
    await failpoint('identity.did.after_attempt');
    return challenge;
  }
  const [old] = await db
    .select({ attempts: didChallenges.attempts })
    .from(didChallenges)
    .where(and(isFor(wanted), sql`not ${isInTime}`));
  if (old && old.attempts < MAX_ATTEMPTS) throw new Problem('challenge_expired');
  return undefined;
}

/** Uses a challenge up, in the transaction that does what its answer allows. Of all who try, one passes; 401 the others. */
export async function consumeChallenge(tx: Tx, { id }: Challenge): Promise<void> {
  const [consumed] = await tx
    .update(didChallenges)
    .set({ consumedAt: sql`now()` })
    .where(and(eq(didChallenges.id, id), isNull(didChallenges.consumedAt), isInTime))
    .returning({ id: didChallenges.id });
  if (!consumed) throw new Problem('did_auth_failed');
  await failpoint('identity.did.after_consume');
}

const REAPED_AT_ONCE = 1000;

/**
 * Forgets challenges a day after their end: those that nobody answered, and those that only opened a session. The others
 * are kept: they are the evidence of what was agreed to.
 */
export const challengeReaper = (db: Db): Worker => ({
  name: 'did-challenge-reaper',
  everyMs: 600_000,
  runOnce: async () => {
    const old = db
      .select({ id: didChallenges.id })
      .from(didChallenges)
      .where(
        sql`${lt(didChallenges.expiresAt, sql`now() - interval '1 day'`)}
          and (consumed_at is null or purpose in ('login', 'status'))
          and not exists (select from ${dids} where challenge_id = ${didChallenges.id})`,
      )
      .limit(REAPED_AT_ONCE);
    const gone = await db.delete(didChallenges).where(sql`id in ${old}`).returning({ id: didChallenges.id });
    return { more: gone.length === REAPED_AT_ONCE };
  },
});
