import { and, asc, eq, sql } from 'drizzle-orm';
import { audit } from '../../platform/audit-log.ts';
import type { Db, Tx } from '../../platform/database/clients.ts';
import type { Principal } from '../../platform/http/access.ts';
import { Problem } from '../../platform/http/problem.ts';
import { newId } from '../../platform/ids.ts';
import { endEverySession, lockAccount, requireRecentLogin } from '../sessions.ts';
import { type Account, accounts, dids } from '../tables.ts';
import { parseDid } from './did.ts';
import type { Challenge } from './signed.ts';

/** Which DIDs open which account. Whoever changes or relies on it locks the DID first, and then the account. */

export type LinkedDid = typeof dids.$inferSelect;

const MAX_DIDS = 20; // per account: what one person uses, many times over

/** Until the end of the transaction; a DID that nobody has linked yet has no row to lock. */
const lockDid = (tx: Tx, did: string) => tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${did}, 0))`);

/** The account that the DID of a consumed challenge opens, locked; the first answer that needs one opens a new one. */
export async function accountOf(tx: Tx, challenge: Challenge, requestId: string): Promise<Account> {
  await lockDid(tx, challenge.did);
  const [known] = await tx.select().from(dids).where(eq(dids.did, challenge.did));
  const account = known && (await lockAccount(tx, known.accountId));
  return account ?? openAccount(tx, challenge, requestId);
}

/** Without e-mail address and password: the DID is its only way in. */
async function openAccount(tx: Tx, challenge: Challenge, requestId: string): Promise<Account> {
  const [account] = await tx.insert(accounts).values({ id: newId() }).returning();
  if (!account) throw new Error('no account was made');
  await insertDid(tx, account.id, challenge);
  const detail = { did: challenge.did, challenge_id: challenge.id };
  const opened = { actor: account.id, action: 'identity.did_account_opened', subjectId: account.id };
  await audit(tx, { ...opened, detail, requestId });
  return account;
}

async function insertDid(tx: Tx, accountId: string, { id: challengeId, did }: Challenge): Promise<LinkedDid> {
  const { wallet } = parseDid(did);
  const [row] = await tx.insert(dids).values({ id: newId(), did, accountId, wallet, challengeId }).returning();
  if (!row) throw new Error('no DID was linked');
  return row;
}

/**
 * Lets the DID of a consumed challenge open this account, too; a repeat changes nothing. 409 `did_in_use` when it opens
 * another one, used or not: whatever is on that account would be left with nobody to open it. The log-in must be recent.
 */
export async function linkDid(
  tx: Tx,
  { accountId, credentialId }: Principal,
  challenge: Challenge,
): Promise<LinkedDid> {
  await lockDid(tx, challenge.did);
  await lockAccount(tx, accountId);
  await requireRecentLogin(tx, credentialId);
  const [known] = await tx.select().from(dids).where(eq(dids.did, challenge.did));
  if (known && known.accountId !== accountId) throw new Problem('did_in_use');
  if (known) return known;
  if ((await tx.$count(dids, eq(dids.accountId, accountId))) >= MAX_DIDS) {
    throw new Problem('conflict', `An account has at most ${MAX_DIDS} DIDs. Remove one first.`);
  }
  return insertDid(tx, accountId, challenge);
}

/** The account that a DID opens, in its canonical spelling. */
export async function accountIdOf(on: Db | Tx, did: string): Promise<string | undefined> {
  const [row] = await on.select({ accountId: dids.accountId }).from(dids).where(eq(dids.did, did));
  return row?.accountId;
}

/** At most twenty, the oldest first. */
export const listDids = (on: Db | Tx, accountId: string): Promise<LinkedDid[]> =>
  on.select().from(dids).where(eq(dids.accountId, accountId)).orderBy(asc(dids.createdAt), asc(dids.id));

/**
 * The DID opens this account no more, and the wallets linked to it are unlinked. Ends every session of the account, not
 * only those that the DID opened: whoever takes a key away may do so because somebody else has it, and that somebody may
 * have opened others. 409 `last_way_in` when nothing else opens the account; undefined when it has no such DID. The log-in
 * must be recent.
 */
export async function removeDid(
  tx: Tx,
  { accountId, credentialId }: Principal,
  id: string,
): Promise<LinkedDid | undefined> {
  const isIt = and(eq(dids.id, id), eq(dids.accountId, accountId));
  const [found] = await tx.select().from(dids).where(isIt);
  if (!found) return undefined;
  await lockDid(tx, found.did);
  const account = await lockAccount(tx, accountId);
  await requireRecentLogin(tx, credentialId);
  const others = (await tx.$count(dids, eq(dids.accountId, accountId))) - 1;
  if (others < 1 && account?.passwordHash === null) throw new Problem('last_way_in');
  const [removed] = await tx.delete(dids).where(isIt).returning();
  if (removed) await endEverySession(tx, accountId);
  return removed;
}
