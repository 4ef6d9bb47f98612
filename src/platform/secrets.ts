import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto';

/**
 * Secrets that must lie in the database (signing keys, executor secrets, replies that show a secret once) lie there
 * sealed with a key that does not: AES-256-GCM, bound to their purpose.
 */
export interface Vault {
  seal(plain: string, purpose: string): Buffer;
  /** Throws when the purpose is another one, the bytes were changed, or the key is not in the ring. */
  open(sealed: Buffer, purpose: string): string;
  /** True when it was sealed with a key that is no longer the first. */
  isStale(sealed: Buffer): boolean;
  /** A key of its own for something that is not stored, such as signing cursors. Stable as long as the last key stays. */
  derive(purpose: string): Buffer;
}

const VERSION = 1;
const NONCE_BYTES = 12; // NIST SP 800-38D §8.2.2, random
const TAG_BYTES = 16;
const ID_BYTES = 16;

/** `keys`: the first seals, all open. Layout: version, key id (16 bytes, zero-padded), nonce, tag, ciphertext. */
export function createVault(keys: { id: string; key: Buffer }[]): Vault {
  const [active] = keys;
  const oldest = keys.at(-1);
  if (!active || !oldest) throw new Error('a vault needs a key');
  const idBytes = (id: string) => Buffer.concat([Buffer.from(id), Buffer.alloc(ID_BYTES)]).subarray(0, ID_BYTES);
  return {
    seal: (plain, purpose) => {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', active.key, nonce).setAAD(Buffer.from(purpose));
      const text = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()]);
      return Buffer.concat([Buffer.from([VERSION]), idBytes(active.id), nonce, cipher.getAuthTag(), text]);
    },
    open: (sealed, purpose) => {
      const id = sealed.subarray(1, 1 + ID_BYTES);
      const found = keys.find((one) => idBytes(one.id).equals(id));
      if (sealed[0] !== VERSION || !found) throw new Error('sealed with a key that is not in ENCRYPTION_KEYS');
      const nonce = sealed.subarray(1 + ID_BYTES, 1 + ID_BYTES + NONCE_BYTES);
      const rest = sealed.subarray(1 + ID_BYTES + NONCE_BYTES);
      const decipher = createDecipheriv('aes-256-gcm', found.key, nonce, { authTagLength: TAG_BYTES })
        .setAAD(Buffer.from(purpose))
        .setAuthTag(rest.subarray(0, TAG_BYTES));
      return Buffer.concat([decipher.update(rest.subarray(TAG_BYTES)), decipher.final()]).toString('utf8');
    },
    isStale: (sealed) => !sealed.subarray(1, 1 + ID_BYTES).equals(idBytes(active.id)),
    derive: (purpose) => Buffer.from(hkdfSync('sha256', oldest.key, 'farebox', purpose, 32)),
  };
}

/** An unguessable token: 256 bits, base64url. */
export const newToken = (): string => randomBytes(32).toString('base64url');

/** What is kept of a token: it is long and random, so a plain hash is enough. */
export const hashToken = (token: string): Buffer => createHash('sha256').update(token).digest();
