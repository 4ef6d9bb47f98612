import { and, desc, eq, gt, isNull, or, sql } from 'drizzle-orm';
import type { Db, Tx } from '../platform/database/clients.ts';
import type { Scope } from '../platform/http/access.ts';
import { newId } from '../platform/ids.ts';
import { hashToken, newToken } from '../platform/secrets.ts';
import { apiKeys } from './tables.ts';

/** API keys look like `fbx_` and 43 characters; only their hash is kept. */
export const KEY_PREFIX = 'fbx_';
const SHOWN = KEY_PREFIX.length + 6;

export type ApiKey = typeof apiKeys.$inferSelect;

/** Makes a key; the secret is in the answer and nowhere else. */
export async function createApiKey(
  tx: Tx,
  accountId: string,
  wanted: { name: string; scopes: Scope[]; expiresAt: Date | null },
): Promise<{ key: ApiKey; secret: string }> {
  const secret = KEY_PREFIX + newToken();
  const [key] = await tx
    .insert(apiKeys)
    .values({ id: newId(), accountId, ...wanted, prefix: secret.slice(0, SHOWN), keyHash: hashToken(secret) })
    .returning();
  if (!key) throw new Error('no key was made');
  return { key, secret };
}

const isInForce = (accountId: string) =>
  and(
    eq(apiKeys.accountId, accountId),
    isNull(apiKeys.revokedAt),
    or(isNull(apiKeys.expiresAt), gt(apiKeys.expiresAt, sql`now()`)),
  );

/** The account's keys in force, newest first; `after` is the id of the last one seen. */
export const listApiKeys = (db: Db, accountId: string, after: string | null, limit: number): Promise<ApiKey[]> =>
  db
    .select()
    .from(apiKeys)
    .where(
      and(
        isInForce(accountId),
        after === null
          ? undefined
          : sql`(created_at, id) < (select created_at, id from ${apiKeys} where id = ${after}::uuid)`,
      ),
    )
    .orderBy(desc(apiKeys.createdAt), desc(apiKeys.id))
    .limit(limit);

/** False when the account has no such key. */
export async function revokeApiKey(tx: Tx, accountId: string, id: string): Promise<boolean> {
  const gone = await tx
    .update(apiKeys)
    .set({ revokedAt: sql`now()` })
    .where(and(eq(apiKeys.id, id), eq(apiKeys.accountId, accountId), isNull(apiKeys.revokedAt)))
    .returning({ id: apiKeys.id });
  return gone.length === 1;
}

/** How many keys an account has in force. */
export const countApiKeys = (tx: Tx, accountId: string): Promise<number> => tx.$count(apiKeys, isInForce(accountId));
