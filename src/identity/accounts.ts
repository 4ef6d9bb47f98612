import { and, eq, isNull, type SQL, sql } from 'drizzle-orm';
import { z } from 'zod';
import { audit } from '../platform/audit-log.ts';
import type { Db, Tx } from '../platform/database/clients.ts';
import { sqlState } from '../platform/http/failures.ts';
import { Problem } from '../platform/http/problem.ts';
import { head, headOut } from '../platform/http/wire.ts';
import { newId } from '../platform/ids.ts';
import { hashToken, newToken } from '../platform/secrets.ts';
import { checkNewPassword, hashPassword, needsRehash, verifyPassword } from './passwords.ts';
import { endSessions, lockAccount } from './sessions.ts';
import { type Account, accounts, passwordResets } from './tables.ts';

const RESET_TTL_HOURS = 24;

export const Email = z.email('must be an e-mail address').max(254);
export const Password = z.string().max(1024); // its own rules are told by `checkNewPassword`

export const AccountOut = z
  .object({ ...headOut('account'), email: z.string().nullable(), role: z.enum(['user', 'merchant', 'operator']) })
  .meta({ id: 'Account' });

export const renderAccount = (account: Account): z.infer<typeof AccountOut> => ({
  ...head('account', account),
  email: account.email,
  role: account.role,
});

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
    // Only over the hash that was verified: meanwhile there may be a new password.
    await db.update(accounts).set({ passwordHash }).where(stillHas(account));
  }
  return account;
}

const stillHas = ({ id, passwordHash }: Account) =>
  and(eq(accounts.id, id), sql`${accounts.passwordHash} is not distinct from ${passwordHash}`);

/** The account, when this is its password; else a 401. */
export async function confirmPassword(db: Db, accountId: string, password: string): Promise<Account> {
  const account = await findAccount(db, accountId);
  if (!account || !(await verifyPassword(password, account.passwordHash))) throw new Problem('invalid_credentials');
  return account;
}

/** Sets a new e-mail address. 409 `email_taken`; 401 when the password that was confirmed is no longer the present one. */
export async function changeEmail(tx: Tx, confirmed: Account, email: string): Promise<Account> {
  const [changed] = await tx.update(accounts).set({ email }).where(stillHas(confirmed)).returning().catch(tellTaken);
  if (!changed) throw new Problem('invalid_credentials');
  return changed;
}

/** Sets a new password; ends every session and voids every reset link. 401 as `changeEmail`. */
export async function changePassword(tx: Tx, confirmed: Account, passwordHash: string): Promise<Account> {
  const account = await setPassword(tx, stillHas(confirmed), passwordHash);
  if (!account) throw new Problem('invalid_credentials');
  return account;
}

/** The hash of a password that somebody chose; 422 for one that will not do. */
export async function hashNewPassword(password: string): Promise<string> {
  checkNewPassword(password, '/new_password');
  return hashPassword(password);
}

/** A one-time token by which somebody may set a new password; earlier ones of the account are void. */
export async function offerReset(tx: Tx, accountId: string): Promise<{ token: string; expiresAt: Date }> {
  const token = newToken();
  await lockAccount(tx, accountId); // of two offers at once, the second voids the first
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
export const isResetOpen = async (db: Db, token: string): Promise<boolean> =>
  (await accountOfReset(db, token)) !== undefined;

/** Uses a reset token once; 410 when it is spent or too old. Ends every session of the account. */
export async function useReset(db: Db, token: string, wanted: string, requestId: string): Promise<Account> {
  checkNewPassword(wanted, '/new_password');
  if (!(await isResetOpen(db, token))) throw new Problem('link_expired');
  const passwordHash = await hashPassword(wanted);
  return db.transaction(async (tx) => {
    const accountId = await accountOfReset(tx, token);
    if (accountId === undefined) throw new Problem('link_expired');
    await lockAccount(tx, accountId);
    const isOpenStill = (await accountOfReset(tx, token)) !== undefined;
    const account = isOpenStill && (await setPassword(tx, eq(accounts.id, accountId), passwordHash));
    if (!account) throw new Problem('link_expired');
    await audit(tx, { actor: account.id, action: 'identity.password_reset', subjectId: account.id, requestId });
    return account;
  });
}

async function accountOfReset(on: Db | Tx, token: string): Promise<string | undefined> {
  const isOpen = and(
    eq(passwordResets.tokenHash, hashToken(token)),
    isNull(passwordResets.usedAt),
    sql`${passwordResets.expiresAt} > now()`,
  );
  const [row] = await on.select({ accountId: passwordResets.accountId }).from(passwordResets).where(isOpen);
  return row?.accountId;
}

/** Ends every session and voids every reset link. */
async function setPassword(tx: Tx, which: SQL | undefined, passwordHash: string): Promise<Account | undefined> {
  const [account] = await tx
    .update(accounts)
    .set({ passwordHash, tokenVersion: sql`${accounts.tokenVersion} + 1` })
    .where(which)
    .returning();
  if (!account) return undefined;
  await endSessions(tx, account.id);
  await tx
    .update(passwordResets)
    .set({ usedAt: sql`now()` })
    .where(and(eq(passwordResets.accountId, account.id), isNull(passwordResets.usedAt)));
  return account;
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
