import { randomUUID } from 'node:crypto';
import { and, eq, isNull, lt, sql } from 'drizzle-orm';
import { z } from 'zod';
import type { Db, Tx } from '../platform/database/clients.ts';
import type { Worker } from '../platform/delivery/worker.ts';
import { Problem } from '../platform/http/problem.ts';
import { newId, toWire } from '../platform/ids.ts';
import { hashToken, newToken } from '../platform/secrets.ts';
import { type Account, accounts, refreshTokens } from './tables.ts';
import type { Tokens } from './tokens.ts';

/** A log-in: a short-lived access token, and a refresh token that is good for one use. */
export interface Session {
  accessToken: string;
  refreshToken: string;
  expiresInS: number;
}

export const SessionOut = z
  .object({
    object: z.literal('session'),
    access_token: z.string(),
    token_type: z.literal('Bearer'),
    expires_in: z.int().describe('seconds'),
    refresh_token: z.string().describe('good for one use'),
  })
  .meta({ id: 'Session' });

export const renderSession = (session: Session): z.infer<typeof SessionOut> => ({
  object: 'session',
  access_token: session.accessToken,
  token_type: 'Bearer',
  expires_in: session.expiresInS,
  refresh_token: session.refreshToken,
});

export interface SessionPolicy {
  tokens: Tokens;
  accessTtlS: number;
  refreshTtlS: number;
}

/**
 * Opens a session: the first refresh token of a new family. 401 when the account's sessions were ended since it was
 * read, by a new password for example: what proved who this is may be what was taken away.
 */
export async function openSession(tx: Tx, policy: SessionPolicy, account: Account): Promise<Session> {
  const present = await lockAccount(tx, account.id);
  if (present?.tokenVersion !== account.tokenVersion) throw new Problem('invalid_credentials');
  return issue(tx, policy, present, randomUUID());
}

/**
 * Whoever issues or revokes refresh tokens locks the account first. Otherwise a token that is issued while the session
 * ends is invisible to what ends it, and lives on.
 */
export async function lockAccount(tx: Tx, accountId: string): Promise<Account | undefined> {
  const [account] = await tx.select().from(accounts).where(eq(accounts.id, accountId)).for('no key update');
  return account;
}

/** What a presented refresh token turned out to be. `reused`: somebody has a copy, and the whole family is now void. */
export type Refreshed =
  | { result: 'renewed'; session: Session }
  | { result: 'reused'; accountId: string }
  | { result: 'unknown' };

/** Trades a refresh token for a new session. Exactly one of several uses wins; every other one ends the family. */
export async function refresh(db: Db, policy: SessionPolicy, token: string): Promise<Refreshed> {
  return db.transaction(async (tx) => {
    const hash = hashToken(token);
    const [known] = await tx
      .select({ accountId: refreshTokens.accountId })
      .from(refreshTokens)
      .where(eq(refreshTokens.tokenHash, hash));
    const account = known && (await lockAccount(tx, known.accountId));
    if (!account) return { result: 'unknown' };
    if (account.disabledAt) throw new Problem('account_disabled');
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
      .returning({ familyId: refreshTokens.familyId });
    if (!used) return refuse(tx, hash);
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
export async function endSession(tx: Tx, accountId: string, familyId: string): Promise<void> {
  await lockAccount(tx, accountId);
  await revokeFamily(tx, familyId);
}

/** Revokes every refresh token of an account, whose row the transaction has locked or changed. */
export async function endSessions(tx: Tx, accountId: string): Promise<void> {
  await tx
    .update(refreshTokens)
    .set({ revokedAt: sql`now()` })
    .where(and(eq(refreshTokens.accountId, accountId), isNull(refreshTokens.revokedAt)));
}

/** Ends the sessions, and whatever log-in is under way with what was proved before. */
export async function endEverySession(tx: Tx, accountId: string): Promise<void> {
  await tx
    .update(accounts)
    .set({ tokenVersion: sql`${accounts.tokenVersion} + 1` })
    .where(eq(accounts.id, accountId));
  await endSessions(tx, accountId);
}

const RECENT_MIN = 15;

/**
 * 403 when the log-in is not recent: a stolen token must not add a way in that outlives it, nor take one away. 401 when
 * it has ended meanwhile; the transaction has locked the account, so that nobody ends it now.
 */
export async function requireRecentLogin(tx: Tx, familyId: string): Promise<void> {
  const [login] = await tx
    .select({
      isOpen: sql<boolean>`bool_or(${refreshTokens.revokedAt} is null)`,
      isRecent: sql<boolean>`min(${refreshTokens.createdAt}) > now() - make_interval(mins => ${RECENT_MIN})`,
    })
    .from(refreshTokens)
    .where(eq(refreshTokens.familyId, familyId));
  if (!login?.isOpen) throw new Problem('invalid_token');
  if (!login.isRecent) throw new Problem('login_too_old');
}

async function revokeFamily(tx: Tx, familyId: string): Promise<void> {
  await tx
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
