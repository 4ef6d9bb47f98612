import { createPrivateKey, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { ed25519 } from '@noble/curves/ed25519.js';
import { secp256k1 } from '@noble/curves/secp256k1.js';
import { bytesToMultibase, createJWT, EdDSASigner, ES256KSigner } from 'did-jwt';
import { notDone } from './fault.ts';

/** A wallet's key, and the did:key that everybody can check it by. */
export interface WalletKey {
  did: string;
  /** 32 bytes. */
  secret: Buffer;
  /** One of secp256k1 is an Ethereum wallet, too. */
  type: 'Ed25519' | 'secp256k1';
}

/** One for each order: nobody can tell that two of them were bought by one person. */
export const newKey = (): WalletKey => keyOf(randomBytes(32));

export const keyOf = (secret: Buffer, type: WalletKey['type'] = 'Ed25519'): WalletKey => {
  const { publicKeyOf, codec } = curves[type];
  return { did: `did:key:${bytesToMultibase(publicKeyOf(secret), 'base58btc', codec)}`, secret, type };
};

const curves = {
  Ed25519: { alg: 'EdDSA', signerOf: EdDSASigner, publicKeyOf: ed25519.getPublicKey, codec: 'ed25519-pub' },
  secp256k1: { alg: 'ES256K', signerOf: ES256KSigner, publicKeyOf: secp256k1.getPublicKey, codec: 'secp256k1-pub' },
} as const;

/** PKCS #8 in PEM, as `openssl genpkey -algorithm ed25519` writes it, or a key of secp256k1. */
export function readKey(file: string): WalletKey {
  try {
    const { kty, crv, d } = createPrivateKey(readFileSync(file)).export({ format: 'jwk' });
    const type = kty === 'OKP' && crv === 'Ed25519' ? crv : kty === 'EC' && crv === 'secp256k1' ? crv : undefined;
    if (type === undefined || d === undefined) throw new Error('another kind of key');
    return keyOf(Buffer.from(d, 'base64url'), type);
  } catch (fault) {
    const { code, message } = fault as NodeJS.ErrnoException;
    throw notDone(
      `The key in ${file} cannot be used.`,
      code === 'ENOENT' || code === 'EACCES'
        ? `The file cannot be read (${code}).`
        : `It is no key of Ed25519 or secp256k1 in PEM (${message}).`,
      `Make one with: openssl genpkey -algorithm ed25519 -out ${file}`,
    );
  }
}

/** A token with exactly these claims. */
export const signClaims = ({ did, secret, type }: WalletKey, claims: object): Promise<string> => {
  const { alg, signerOf } = curves[type];
  return createJWT(claims, { issuer: did, signer: signerOf(secret) }, { typ: 'did-auth+jwt' as 'JWT', alg });
};
