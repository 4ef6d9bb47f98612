import { and, eq, isNull, sql } from 'drizzle-orm';
import type { Db, Tx } from '../platform/database/clients.ts';
import { sqlState } from '../platform/http/failures.ts';
import { Problem } from '../platform/http/problem.ts';
import { newId } from '../platform/ids.ts';
import { hashToken, newToken } from '../platform/secrets.ts';
import { checkNewPassword, hashPassword, needsRehash, verifyPassword } from './passwords.ts';
import { accounts, passwordResets, refreshTokens } from './tables.ts';

export type Account = typeof accounts.$inferSelect;

const RESET_TTL_HOURS = 24;

/** Opens an account. 409 `email_taken`; 422 for a password that will not do. */
export async function register(
  db: Db,
  wanted: { email: string; password: string; role?: Account['role'] },
): Promise<Account> {
  checkNewPassword(wanted.password, '/password');
  const passwordHash = await hashPassword(wanted.password);
  const [account] = await db
    .insert(accounts)
    .values({ id: newId(), email: wanted.email, passwordHash, role: wanted.role ?? 'user' })
    .returning()
    .catch(tellTaken);
  if (!account) throw new Error('no account was made');
  return account;
}

function tellTaken(fault: unknown): never {
  if (sqlState(fault)?.constraint === 'accounts_email') throw new Problem('email_taken');
  throw fault;
}

/** The account of right credentials; else a 401 that tells nothing, after the same work. */
export async function logIn(db: Db, email: string, password: string): Promise<Account> {
  const account = await findByEmail(db, email);
  const isRight = await verifyPassword(password, account?.passwordHash ?? null);
  if (!account || !isRight) throw new Problem('invalid_credentials');
  if (account.disabledAt) throw new Problem('account_disabled');
  if (account.passwordHash && needsRehash(account.passwordHash)) {
    const passwordHash = await hashPassword(password);
    await db.update(accounts).set({ passwordHash }).where(eq(accounts.id, account.id));
  }
  return account;
}

/** Sets a new e-mail address, given the password. 409 `email_taken`. */
export async function changeEmail(db: Db, accountId: string, password: string, email: string): Promise<Account> {
  const account = await findAccount(db, accountId);
  if (!account || !(await verifyPassword(password, account.passwordHash))) throw new Problem('invalid_credentials');
  const [changed] = await db
    .update(accounts)
    .set({ email })
    .where(eq(accounts.id, accountId))
    .returning()
    .catch(tellTaken);
  if (!changed) throw new Problem('not_found');
  return changed;
}

/** Sets a new password, given the present one; ends every session of the account. */
export async function changePassword(db: Db, accountId: string, current: string, wanted: string): Promise<Account> {
  checkNewPassword(wanted, '/new_password');
  const account = await findAccount(db, accountId);
  if (!account || !(await verifyPassword(current, account.passwordHash))) throw new Problem('invalid_credentials');
  const passwordHash = await hashPassword(wanted);
  return db.transaction((tx) => setPassword(tx, accountId, passwordHash));
}

/** A one-time token by which somebody may set a new password; earlier ones of the account are void. */
export async function offerReset(tx: Tx, accountId: string): Promise<{ token: string; expiresAt: Date }> {
  const token = newToken();
  await tx.delete(passwordResets).where(eq(passwordResets.accountId, accountId));
  const [row] = await tx
    .insert(passwordResets)
    .values({
      tokenHash: hashToken(token),
      accountId,
      expiresAt: sql`now() + make_interval(hours => ${RESET_TTL_HOURS})`,
    })
    .returning({ expiresAt: passwordResets.expiresAt });
  if (!row) throw new Error('no reset was made');
  return { token, expiresAt: row.expiresAt };
}

/** True while a reset token can be used. */
export async function isResetOpen(db: Db, token: string): Promise<boolean> {
  const [row] = await db.select({ id: passwordResets.accountId }).from(passwordResets).where(isOpen(token));
  return row !== undefined;
}

/** Uses a reset token once; 410 when it is spent or too old. */
export async function useReset(db: Db, token: string, wanted: string): Promise<Account> {
  checkNewPassword(wanted, '/new_password');
  if (!(await isResetOpen(db, token))) throw new Problem('link_expired');
  const passwordHash = await hashPassword(wanted);
  return db.transaction(async (tx) => {
    const [used] = await tx
      .update(passwordResets)
      .set({ usedAt: sql`now()` })
      .where(isOpen(token))
      .returning({ accountId: passwordResets.accountId });
    if (!used) throw new Problem('link_expired');
    return setPassword(tx, used.accountId, passwordHash);
  });
}

const isOpen = (token: string) =>
  and(
    eq(passwordResets.tokenHash, hashToken(token)),
    isNull(passwordResets.usedAt),
    sql`${passwordResets.expiresAt} > now()`,
  );

async function setPassword(tx: Tx, accountId: string, passwordHash: string): Promise<Account> {
  const [account] = await tx
    .update(accounts)
    .set({ passwordHash, tokenVersion: sql`${accounts.tokenVersion} + 1` })
    .where(eq(accounts.id, accountId))
    .returning();
  if (!account) throw new Problem('not_found');
  await endSessions(tx, accountId);
  return account;
}

/** Revokes every refresh token of an account. */
export async function endSessions(tx: Tx, accountId: string): Promise<void> {
  await tx
    .update(refreshTokens)
    .set({ revokedAt: sql`now()` })
    .where(and(eq(refreshTokens.accountId, accountId), isNull(refreshTokens.revokedAt)));
}

/** Changes what an operator may change; ends the account's sessions, so that it takes effect at once. */
export async function changeAccount(
  tx: Tx,
  accountId: string,
  change: { role?: Account['role']; disabled?: boolean },
): Promise<Account | undefined> {
  const [account] = await tx
    .update(accounts)
    .set({
      ...(change.role ? { role: change.role } : {}),
      ...(change.disabled === undefined
        ? {}
        : { disabledAt: change.disabled ? sql`coalesce(${accounts.disabledAt}, now())` : null }),
      tokenVersion: sql`${accounts.tokenVersion} + 1`,
    })
    .where(eq(accounts.id, accountId))
    .returning();
  if (account) await endSessions(tx, accountId);
  return account;
}

export async function findAccount(on: Db | Tx, accountId: string): Promise<Account | undefined> {
  const [account] = await on.select().from(accounts).where(eq(accounts.id, accountId));
  return account;
}

export async function findByEmail(db: Db, email: string): Promise<Account | undefined> {
  const [account] = await db.select().from(accounts).where(sql`lower(${accounts.email}) = lower(${email})`);
  return account;
}
