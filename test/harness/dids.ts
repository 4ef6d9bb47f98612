import { randomBytes } from 'node:crypto';
import { ed25519 } from '@noble/curves/ed25519.js';
import { p256 } from '@noble/curves/nist.js';
import { secp256k1 } from '@noble/curves/secp256k1.js';
import { bytesToMultibase, createJWT, EdDSASigner, ES256KSigner, ES256Signer, type Signer } from 'did-jwt';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { type Client, clientOf, type Json } from './client.ts';
import type { TestFarebox } from './farebox.ts';

/** People with DIDs, who sign with the libraries that people have, and with no code of ours. */

export interface Holder {
  did: string;
  /** The proof of the DID, from a challenge as the API gave it. */
  prove(challenge: Json): Promise<Json>;
}

/** Holds a did:key. */
export interface KeyHolder extends Holder {
  alg: string;
  secret: Uint8Array;
  signer: Signer;
  /** A token with whatever is in it. */
  token(claims: Json, header?: Json): Promise<string>;
}

const curves = {
  Ed25519: { alg: 'EdDSA', codec: 'ed25519-pub', signer: EdDSASigner, publicKey: ed25519.getPublicKey },
  secp256k1: { alg: 'ES256K', codec: 'secp256k1-pub', signer: ES256KSigner, publicKey: secp256k1.getPublicKey },
  'P-256': { alg: 'ES256', codec: 'p256-pub', signer: ES256Signer, publicKey: p256.getPublicKey },
} as const;

export type KeyType = keyof typeof curves;
export const keyTypes = Object.keys(curves) as KeyType[];

export function keyHolder(type: KeyType = 'Ed25519', secret: Uint8Array = randomBytes(32)): KeyHolder {
  const { alg, codec, signer: signerOf, publicKey } = curves[type];
  const did = `did:key:${bytesToMultibase(publicKey(secret), 'base58btc', codec)}`;
  const signer = signerOf(secret);
  const token = (claims: Json, header: Json = {}) =>
    createJWT(claims, { issuer: claims.iss ?? did, signer }, { typ: 'did-auth+jwt', alg, ...header });
  const prove = async (challenge: Json) => ({
    type: 'did-jwt',
    jwt: await token(challenge.jwt_claims, challenge.jwt_header),
  });
  return { did, alg, secret, signer, token, prove };
}

/** Holds an Ethereum wallet. */
export interface WalletHolder extends Holder {
  address: `0x${string}`;
  sign(message: string): Promise<`0x${string}`>;
}

export function walletHolder(secret = generatePrivateKey(), chainId = 1): WalletHolder {
  const account = privateKeyToAccount(secret);
  const sign = (message: string) => account.signMessage({ message });
  return {
    did: `did:pkh:eip155:${chainId}:${account.address}`,
    address: account.address,
    sign,
    prove: async (challenge) => ({ type: 'siwe', signature: await sign(challenge.siwe_message) }),
  };
}

/** A challenge, asked for by anybody or by somebody who is logged in. */
export const challengeFor = (client: Client, did: string, more: Json = { purpose: 'login' }): Promise<Json> =>
  client.ok('POST', '/v1/auth/did/challenges', { body: { did, ...more } });

/** The account of a DID, signed in. */
export async function signIn(farebox: Pick<TestFarebox, 'url'>, holder: Holder): Promise<Client> {
  const anybody = clientOf(farebox.url);
  const challenge = await challengeFor(anybody, holder.did);
  const body = { challenge_id: challenge.challenge_id, proof: await holder.prove(challenge) };
  const session = await anybody.ok('POST', '/v1/auth/did/tokens', { body });
  const client = clientOf(farebox.url, { token: session.access_token });
  const { id } = await client.ok('GET', '/v1/me');
  return { ...client, accountId: id };
}

/** Links a DID to the account that is logged in. */
export async function link(client: Client, holder: Holder): Promise<Json> {
  const challenge = await challengeFor(client, holder.did, { purpose: 'link' });
  const body = { challenge_id: challenge.challenge_id, proof: await holder.prove(challenge) };
  return client.ok('POST', '/v1/me/dids', { body });
}

/** What links a wallet: both signatures over one challenge. */
export async function bothProofs(challenge: Json, holder: KeyHolder, wallet: WalletHolder): Promise<Json> {
  const did_jwt = await holder.token(challenge.jwt_claims, challenge.jwt_header);
  return { challenge_id: challenge.challenge_id, did_jwt, siwe_signature: await wallet.sign(challenge.siwe_message) };
}

export const walletChallenge = (client: Client, holder: KeyHolder, wallet: WalletHolder): Promise<Json> =>
  challengeFor(client, holder.did, { purpose: 'wallet', wallet: `eip155:8453:${wallet.address}` });

/** Links a wallet to a DID of the account that is logged in. */
export async function linkWallet(client: Client, holder: KeyHolder, wallet: WalletHolder): Promise<Json> {
  const body = await bothProofs(await walletChallenge(client, holder, wallet), holder, wallet);
  return client.ok('POST', '/v1/wallets', { body });
}
