import { and, asc, eq, inArray, isNotNull, or } from 'drizzle-orm';
import type { Db, Tx } from '../../platform/database/clients.ts';
import { Problem } from '../../platform/http/problem.ts';
import { newId } from '../../platform/ids.ts';
import { lockAccount } from '../sessions.ts';
import { dids, wallets } from '../tables.ts';
import { parseDid } from './did.ts';
import { accountIdOf } from './dids.ts';
import type { Challenge } from './signed.ts';

/** Which wallets belong to an account: those that its keys are (derived), and those that were linked to its DIDs. */

export interface OwnWallet {
  /** Of the link; a derived wallet has none. */
  id: string | null;
  address: string;
  did: string;
  createdAt: Date;
}

const MAX_WALLETS = 50; // linked, per account

/**
 * Links the wallet of a consumed challenge to its DID, which must be one of this account; a repeat changes nothing. The
 * same wallet may be linked elsewhere, too: its holder has signed for each.
 */
export async function linkWallet(
  tx: Tx,
  accountId: string,
  challenge: Challenge,
  proofs: { jwt: string; siwe: string },
): Promise<OwnWallet> {
  await lockAccount(tx, accountId);
  const [holder] = await tx
    .select()
    .from(dids)
    .where(and(eq(dids.did, challenge.did), eq(dids.accountId, accountId)));
  if (!holder || challenge.wallet === null) throw new Problem('conflict', 'Link the DID to this account first.');
  const linked = await linkedWallets(tx, accountId);
  const known = linked.find((one) => one.did === holder.did && one.address === challenge.wallet);
  if (known) return known;
  if (linked.length >= MAX_WALLETS) {
    throw new Problem('conflict', `An account has at most ${MAX_WALLETS} linked wallets. Remove one first.`);
  }
  const [row] = await tx
    .insert(wallets)
    .values({
      ...{ id: newId(), didId: holder.id, address: challenge.wallet, challengeId: challenge.id },
      ...{ didJwt: proofs.jwt, siweSignature: proofs.siwe },
    })
    .returning();
  if (!row) throw new Error('no wallet was linked');
  return { ...row, did: holder.did };
}

/** False when the account has no such link. */
export async function unlinkWallet(tx: Tx, accountId: string, id: string): Promise<boolean> {
  const own = tx.select({ id: dids.id }).from(dids).where(eq(dids.accountId, accountId));
  const gone = await tx
    .delete(wallets)
    .where(and(eq(wallets.id, id), inArray(wallets.didId, own)))
    .returning({ id: wallets.id });
  return gone.length === 1;
}

/** Derived ones first. */
export async function listWallets(on: Db | Tx, accountId: string): Promise<OwnWallet[]> {
  const derived = await on
    .select()
    .from(dids)
    .where(and(eq(dids.accountId, accountId), isNotNull(dids.wallet)))
    .orderBy(asc(dids.createdAt), asc(dids.id));
  const own = derived.map(({ did, wallet, createdAt }) => ({ id: null, did, address: wallet ?? '', createdAt }));
  return [...own, ...(await linkedWallets(on, accountId))];
}

const linkedWallets = (on: Db | Tx, accountId: string): Promise<OwnWallet[]> =>
  on
    .select({ id: wallets.id, address: wallets.address, did: dids.did, createdAt: wallets.createdAt })
    .from(wallets)
    .innerJoin(dids, eq(dids.id, wallets.didId))
    .where(eq(dids.accountId, accountId))
    .orderBy(asc(wallets.createdAt), asc(wallets.id));

/**
 * Whether an address is the holder's: of the DID's own key, or of any DID of its account, derived or linked. On whichever
 * chain: one key has one address on all of them. A DID need not have an account.
 */
export async function walletBelongsTo(
  tx: Tx,
  holder: { did: string } | { accountId: string },
  address: string,
): Promise<boolean> {
  const wanted = address.toLowerCase();
  if ('did' in holder && parseDid(holder.did).wallet === wanted) return true;
  const accountId = 'did' in holder ? await accountIdOf(tx, parseDid(holder.did).did) : holder.accountId;
  return accountId !== undefined && (await accountsOfWallet(tx, wanted)).includes(accountId);
}

/** Every account that `walletBelongsTo` says yes for. */
export async function accountsOfWallet(on: Db | Tx, address: string): Promise<string[]> {
  const wanted = address.toLowerCase();
  const linked = on.select({ id: wallets.didId }).from(wallets).where(eq(wallets.address, wanted));
  const rows = await on
    .selectDistinct({ accountId: dids.accountId })
    .from(dids)
    .where(or(eq(dids.wallet, wanted), inArray(dids.id, linked)));
  return rows.map(({ accountId }) => accountId);
}
