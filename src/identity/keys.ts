import { createHash, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { and, desc, eq, gt, isNull, or, sql } from 'drizzle-orm';
import type { Db } from '../platform/database/clients.ts';
import type { Worker } from '../platform/delivery/worker.ts';
import type { Vault } from '../platform/secrets.ts';
import { signingKeys } from './tables.ts';

/**
 * The Ed25519 keys that sign our tokens. Kept sealed in the database, so that all replicas share them; held in memory,
 * so that a token's `kid` costs no look-up and an unknown one leads nowhere.
 */
export interface KeyRing {
  /** The newest key in force. */
  signing(): { kid: string; privatePem: string };
  publicPem(kid: string): string | undefined;
  /** RFC 7517, all keys that verify now or soon. */
  jwks(): { keys: Record<string, string>[] };
  reload(): Promise<void>;
  worker: Worker;
}

const RELOAD_MS = 30_000;
/** A new key is published for this long before it signs: every replica and every cache has it by then. */
const PUBLISHED_BEFORE_S = 300;
/** A key verifies for as long as the longest token lives: a callback token may have 30 days, and a day of grace. */
const VERIFIES_FOR_DAYS = 32;

interface Key {
  kid: string;
  publicPem: string;
  privatePem: string;
  signsFrom: Date;
}

/** Loads the keys, making the first one of a new installation. */
export async function openKeyRing(db: Db, vault: Vault): Promise<KeyRing> {
  let keys = await loadKeys(db, vault);
  if (keys.length === 0) {
    await addKey(db, vault, { firstOnly: true });
    keys = await loadKeys(db, vault);
  }
  const reload = async () => {
    keys = await loadKeys(db, vault);
  };
  return {
    signing: () => {
      const now = Date.now();
      const key = keys.find(({ signsFrom }) => signsFrom.getTime() <= now) ?? keys.at(-1);
      if (!key) throw new Error('there is no signing key');
      return key;
    },
    publicPem: (kid) => keys.find((key) => key.kid === kid)?.publicPem,
    jwks: () => ({ keys: keys.map(({ kid, publicPem }) => jwkOf(kid, publicPem)) }),
    reload,
    worker: {
      name: 'signing-keys',
      everyMs: RELOAD_MS,
      runOnce: async () => {
        await reload();
        return { more: false };
      },
    },
  };
}

/** Adds a key that will sign in five minutes; the others verify on until the last token they signed is over. */
export async function rotateKeys(db: Db, vault: Vault): Promise<{ kid: string; signsFrom: Date }> {
  return addKey(db, vault, { firstOnly: false });
}

/** Ends a key at once: every token that it signed is void within half a minute. */
export async function revokeKey(db: Db, kid: string): Promise<void> {
  await db
    .update(signingKeys)
    .set({ retiredAt: sql`now()` })
    .where(and(eq(signingKeys.kid, kid), inForce));
}

/** True while tokens of a key verify. */
export const isInForce = async (db: Db, kid: string): Promise<boolean> =>
  (await db.$count(signingKeys, and(eq(signingKeys.kid, kid), inForce))) === 1;

const inForce = or(isNull(signingKeys.retiredAt), gt(signingKeys.retiredAt, sql`now()`));

async function addKey(db: Db, vault: Vault, { firstOnly }: { firstOnly: boolean }) {
  const pair = generateKeyPairSync('ed25519', {
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const digest = createHash('sha256').update(pair.publicKey).digest('base64url').slice(0, 16);
  const kid = digest.replace(/^-/, 'k'); // a hyphen in front would be an option of `farebox keys revoke`
  return db.transaction(async (tx) => {
    await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended('identity.signing_keys', 0))`);
    const [existing] = await tx
      .select({ kid: signingKeys.kid, signsFrom: signingKeys.signsFrom })
      .from(signingKeys)
      .limit(1);
    if (firstOnly && existing) return existing;
    const delay = firstOnly ? 0 : PUBLISHED_BEFORE_S;
    await tx
      .update(signingKeys)
      .set({ retiredAt: sql`now() + make_interval(secs => ${delay}, days => ${VERIFIES_FOR_DAYS})` })
      .where(isNull(signingKeys.retiredAt));
    const [made] = await tx
      .insert(signingKeys)
      .values({
        kid,
        publicPem: pair.publicKey,
        privatePem: vault.seal(pair.privateKey, `signing-key:${kid}`),
        signsFrom: sql`now() + make_interval(secs => ${delay})`,
      })
      .returning({ kid: signingKeys.kid, signsFrom: signingKeys.signsFrom });
    if (!made) throw new Error('no key was made');
    return made;
  });
}

async function loadKeys(db: Db, vault: Vault): Promise<Key[]> {
  const rows = await db.select().from(signingKeys).where(inForce).orderBy(desc(signingKeys.signsFrom));
  return rows.map(({ kid, publicPem, privatePem, signsFrom }) => ({
    kid,
    publicPem,
    signsFrom,
    privatePem: vault.open(privatePem, `signing-key:${kid}`),
  }));
}

/** RFC 8037 §2. */
function jwkOf(kid: string, pem: string): Record<string, string> {
  const { x = '' } = createPublicKey(pem).export({ format: 'jwk' });
  return { kty: 'OKP', crv: 'Ed25519', x, kid, alg: 'EdDSA', use: 'sig' };
}
