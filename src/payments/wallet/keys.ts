import { createPrivateKey, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { ed25519 } from '@noble/curves/ed25519.js';
import { bytesToMultibase, createJWT, EdDSASigner } from 'did-jwt';
import { notDone } from './fault.ts';

/** A wallet's key: Ed25519, and the did:key that everybody can check it by. */
export interface WalletKey {
  did: string;
  /** 32 bytes. */
  secret: Buffer;
}

/** One for each order: nobody can tell that two of them were bought by one person. */
export const newKey = (): WalletKey => keyOf(randomBytes(32));

export const keyOf = (secret: Buffer): WalletKey => ({
  did: `did:key:${bytesToMultibase(ed25519.getPublicKey(secret), 'base58btc', 'ed25519-pub')}`,
  secret,
});

/** PKCS #8 in PEM, as `openssl genpkey -algorithm ed25519` writes it. */
export function readKey(file: string): WalletKey {
  try {
    const { kty, crv, d } = createPrivateKey(readFileSync(file)).export({ format: 'jwk' });
    if (kty !== 'OKP' || crv !== 'Ed25519' || d === undefined) throw new Error('another kind of key');
    return keyOf(Buffer.from(d, 'base64url'));
  } catch (fault) {
    const { code, message } = fault as NodeJS.ErrnoException;
    throw notDone(
      `The key in ${file} cannot be used.`,
      code === 'ENOENT' || code === 'EACCES'
        ? `The file cannot be read (${code}).`
        : `It is no Ed25519 key in PEM (${message}).`,
      `Make one with: openssl genpkey -algorithm ed25519 -out ${file}`,
    );
  }
}

/** A token with exactly these claims. */
export const signClaims = ({ did, secret }: WalletKey, claims: object): Promise<string> =>
  createJWT(claims, { issuer: did, signer: EdDSASigner(secret) }, { typ: 'did-auth+jwt' as 'JWT', alg: 'EdDSA' });
