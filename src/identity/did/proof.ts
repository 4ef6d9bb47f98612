import { isDeepStrictEqual } from 'node:util';
import { decodeJWT, verifyJWT } from 'did-jwt';
import { Resolver } from 'did-resolver';
import { getResolver } from 'key-did-resolver';
import { recoverMessageAddress } from 'viem/utils';
import type { KeyDid } from './did.ts';
import { type Challenge, jwtClaims, jwtHeader, siweMessage } from './signed.ts';

/**
 * The strict verifier. `verifyJWT` alone accepts a token without `aud` or `exp`, any `kid`, `crit`, a DID URL as
 * issuer, and 300 s after the end; so the token must be, header and claim, what we asked for, before it is looked at.
 */

/** What is wrong with a proof: for our own eyes. */
export class BadProof extends Error {}

export const MAX_JWT = 4096; // characters; ours have about 700

const SKEW_S = 30;
const resolver = new Resolver(getResolver());

/** Throws `BadProof` unless the holder of the DID has signed this challenge. */
export async function verifyJwt(jwt: string, challenge: Challenge, did: KeyDid, origin: string): Promise<void> {
  if (jwt.length > MAX_JWT) throw new BadProof('the token is too long');
  const { header, payload } = await orBad(async () => decodeJWT(jwt, false));
  const claims = jwtClaims(challenge, origin);
  const kid = `${did.did}#${did.did.slice('did:key:'.length)}`;
  const { kid: named = kid, ...others } = header;
  if (named !== kid || !isDeepStrictEqual(others, jwtHeader(did))) throw new BadProof('the header is not as asked for');
  if (!isDeepStrictEqual(payload, claims)) throw new BadProof('the claims are not as asked for');
  // Options of its own for each call: the library keeps the keys of the first issuer in them.
  const options = { resolver, audience: origin, proofPurpose: 'authentication', skewTime: SKEW_S } as const;
  const { issuer, signer } = await orBad(() => verifyJWT(jwt, { ...options }));
  if (issuer !== did.did || signer.id !== kid) throw new BadProof('another key has signed');
}

/** Throws `BadProof` unless the wallet has signed this challenge: EIP-191 over the text as we write it. */
export async function verifySiwe(signature: string, challenge: Challenge, origin: string): Promise<void> {
  const { wallet } = challenge;
  if (wallet === null) throw new BadProof('no wallet was asked');
  if (!/^0x[0-9a-f]{130}$/i.test(signature)) throw new BadProof('that is no signature');
  const message = siweMessage({ ...challenge, wallet }, origin);
  const signer = await orBad(() => recoverMessageAddress({ message, signature: signature as `0x${string}` }));
  if (signer.toLowerCase() !== wallet) throw new BadProof('another wallet has signed, or another text');
}

/** The libraries do no I/O here: whatever they throw is in the proof. */
async function orBad<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (fault) {
    throw new BadProof(fault instanceof Error ? fault.message.slice(0, 200) : 'it cannot be read');
  }
}
