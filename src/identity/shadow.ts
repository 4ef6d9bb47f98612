import { eq } from 'drizzle-orm';
import { audit } from '../platform/audit-log.ts';
import type { Tx } from '../platform/database/clients.ts';
import { newId } from '../platform/ids.ts';
import { type Account, accounts } from './tables.ts';

/**
 * The account of somebody who is known elsewhere and has never signed up here, such as a key of Nostr. Nobody can log in to
 * it; what it holds is its owner's, and moves to an account of theirs when they have proved who they are. Again is the same.
 */
export async function openShadowAccount(tx: Tx, shadowOf: string): Promise<Account> {
  const [made] = await tx.insert(accounts).values({ id: newId(), shadowOf }).onConflictDoNothing().returning();
  if (made) {
    await audit(tx, {
      actor: made.id,
      action: 'identity.shadow_account_opened',
      subjectId: made.id,
      detail: { shadow_of: shadowOf },
    });
    return made;
  }
  const [known] = await tx.select().from(accounts).where(eq(accounts.shadowOf, shadowOf));
  if (!known) throw new Error('a shadow account that vanished');
  return known;
}

/** Its id; `undefined` when there is none. */
export async function findShadowAccount(tx: Tx, shadowOf: string): Promise<string | undefined> {
  const [known] = await tx.select({ id: accounts.id }).from(accounts).where(eq(accounts.shadowOf, shadowOf));
  return known?.id;
}
