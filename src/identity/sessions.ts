import { randomUUID } from 'node:crypto';
import { and, eq, isNull, lt, sql } from 'drizzle-orm';
import type { Db, Tx } from '../platform/database/clients.ts';
import type { Worker } from '../platform/delivery/worker.ts';
import { Problem } from '../platform/http/problem.ts';
import { newId, toWire } from '../platform/ids.ts';
import { hashToken, newToken } from '../platform/secrets.ts';
import type { Account } from './accounts.ts';
import { accounts, refreshTokens } from './tables.ts';
import type { Tokens } from './tokens.ts';

/** A log-in: a short-lived access token, and a refresh token that is good for one use. */
export interface Session {
  accessToken: string;
  refreshToken: string;
  expiresInS: number;
}

export interface SessionPolicy {
  tokens: Tokens;
  accessTtlS: number;
  refreshTtlS: number;
}

/** Opens a session: the first refresh token of a new family. */
export const openSession = (tx: Tx, policy: SessionPolicy, account: Account): Promise<Session> =>
  issue(tx, policy, account, randomUUID());

/** What a presented refresh token turned out to be. `reused`: somebody has a copy, and the whole family is now void. */
export type Refreshed =
  | { result: 'renewed'; session: Session }
  | { result: 'reused'; accountId: string }
  | { result: 'unknown' };

/** Trades a refresh token for a new session. Exactly one of several uses wins; every other one ends the family. */
export async function refresh(db: Db, policy: SessionPolicy, token: string): Promise<Refreshed> {
  return db.transaction(async (tx) => {
    const hash = hashToken(token);
    const [used] = await tx
      .update(refreshTokens)
      .set({ usedAt: sql`now()` })
      .where(
        and(
          eq(refreshTokens.tokenHash, hash),
          isNull(refreshTokens.usedAt),
          isNull(refreshTokens.revokedAt),
          sql`${refreshTokens.expiresAt} > now()`,
        ),
      )
      .returning({ familyId: refreshTokens.familyId, accountId: refreshTokens.accountId });
    if (!used) return refuse(tx, hash);
    const [account] = await tx.select().from(accounts).where(eq(accounts.id, used.accountId));
    if (!account || account.disabledAt) throw new Problem('account_disabled');
    return { result: 'renewed', session: await issue(tx, policy, account, used.familyId) };
  });
}

async function refuse(tx: Tx, hash: Buffer): Promise<Refreshed> {
  const [known] = await tx
    .select({ familyId: refreshTokens.familyId, accountId: refreshTokens.accountId, usedAt: refreshTokens.usedAt })
    .from(refreshTokens)
    .where(eq(refreshTokens.tokenHash, hash));
  if (!known?.usedAt) return { result: 'unknown' };
  await revokeFamily(tx, known.familyId);
  return { result: 'reused', accountId: known.accountId };
}

/** Ends a session; its access token dies with it. */
export async function revokeFamily(on: Db | Tx, familyId: string): Promise<void> {
  await on
    .update(refreshTokens)
    .set({ revokedAt: sql`now()` })
    .where(and(eq(refreshTokens.familyId, familyId), isNull(refreshTokens.revokedAt)));
}

async function issue(tx: Tx, policy: SessionPolicy, account: Account, familyId: string): Promise<Session> {
  const refreshToken = newToken();
  await tx.insert(refreshTokens).values({
    id: newId(),
    familyId,
    accountId: account.id,
    tokenHash: hashToken(refreshToken),
    expiresAt: sql`now() + make_interval(secs => ${policy.refreshTtlS})`,
  });
  const claims = { sub: toWire('account', account.id), sid: familyId, ver: account.tokenVersion };
  return {
    accessToken: policy.tokens.signAccess(claims, policy.accessTtlS),
    refreshToken,
    expiresInS: policy.accessTtlS,
  };
}

const REAPED_AT_ONCE = 1000;

/** Forgets refresh tokens a day after their end. */
export const sessionReaper = (db: Db): Worker => ({
  name: 'session-reaper',
  everyMs: 3_600_000,
  runOnce: async () => {
    const old = db
      .select({ id: refreshTokens.id })
      .from(refreshTokens)
      .where(lt(refreshTokens.expiresAt, sql`now() - interval '1 day'`))
      .limit(REAPED_AT_ONCE);
    const gone = await db.delete(refreshTokens).where(sql`id in ${old}`).returning({ id: refreshTokens.id });
    return { more: gone.length === REAPED_AT_ONCE };
  },
});
