import { toWire } from '../../platform/ids.ts';
import type { didChallenges } from '../tables.ts';
import { checksummed, type KeyDid } from './did.ts';

/**
 * What is signed for a challenge, made from its row alone: handed out with the challenge, and made again to verify the
 * answer. Nothing that a client sends back is parsed for its meaning.
 */

export type Challenge = typeof didChallenges.$inferSelect;

/** So that a token of another protocol is worth nothing here, and ours nothing there (RFC 8725 §3.11). */
const JWT_TYPE = 'did-auth+jwt';

const algorithms = { Ed25519: 'EdDSA', secp256k1: 'ES256K', 'P-256': 'ES256' } as const;

/** The header of the token, `kid` apart, which a signer may add. */
export const jwtHeader = ({ keyType }: KeyDid) => ({ typ: JWT_TYPE, alg: algorithms[keyType] });

/** The claims of the token: these, and no others. `origin` is ours, as configured. */
export const jwtClaims = (challenge: Challenge, origin: string) => ({
  iss: challenge.did,
  sub: challenge.did,
  aud: origin,
  iat: Math.floor(challenge.createdAt.getTime() / 1000),
  exp: Math.floor(challenge.expiresAt.getTime() / 1000),
  nonce: challenge.nonce,
  purpose: challenge.purpose,
  statement: challenge.statement,
  ...(challenge.wallet === null ? {} : { wallet: caip10(challenge) }),
  ...(subjectOf(challenge) === null ? {} : { subject: subjectOf(challenge) }),
  ...(challenge.termsHash === null ? {} : { terms_hash: challenge.termsHash }),
});

/** The text of EIP-4361 (Sign-In with Ethereum), with everything that a token would say. */
export function siweMessage(challenge: Challenge & { wallet: string }, origin: string): string {
  const resources = [
    challenge.did,
    `urn:farebox:purpose:${challenge.purpose}`,
    ...(subjectOf(challenge) === null ? [] : [`urn:farebox:subject:${subjectOf(challenge)}`]),
    ...(challenge.termsHash === null ? [] : [`urn:sha256:${challenge.termsHash}`]),
  ];
  return [
    `${new URL(origin).host} wants you to sign in with your Ethereum account:`,
    checksummed(challenge.wallet),
    '',
    challenge.statement,
    '',
    `URI: ${origin}`,
    'Version: 1',
    `Chain ID: ${challenge.chainId}`,
    `Nonce: ${challenge.nonce}`,
    `Issued At: ${challenge.createdAt.toISOString()}`,
    `Expiration Time: ${challenge.expiresAt.toISOString()}`,
    `Request ID: ${toWire('challenge', challenge.id)}`,
    'Resources:',
    ...resources.map((resource) => `- ${resource}`),
  ].join('\n');
}

const caip10 = ({ chainId, wallet }: Challenge) => `eip155:${chainId}:${wallet}`;

const subjectOf = ({ subjectType, subjectId }: Challenge): string | null =>
  subjectType === null || subjectId === null ? null : toWire(subjectType, subjectId);
