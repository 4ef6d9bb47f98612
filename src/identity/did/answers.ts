import { z } from 'zod';
import type { Alarm } from '../../platform/audit-log.ts';
import type { Db } from '../../platform/database/clients.ts';
import { Problem } from '../../platform/http/problem.ts';
import { takeAttempt, type Wanted } from './challenges.ts';
import { parseDid } from './did.ts';
import { BadProof, MAX_JWT, verifyJwt, verifySiwe } from './proof.ts';
import type { Challenge } from './signed.ts';

/** Answers to challenges, as they come and as they are judged. */

export const Jwt = z.string().min(1).max(MAX_JWT).describe('of exactly `jwt_header` and `jwt_claims`');
export const SiweSignature = z
  .string()
  .regex(/^0x[0-9a-fA-F]{130}$/, 'must be 65 bytes in hex')
  .transform((hex) => hex.toLowerCase())
  .describe('EIP-191 signature of exactly `siwe_message`');

/** How the holder of one DID proves it: a did:key by a token, a did:pkh by its wallet. */
export const Proof = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('did-jwt'), jwt: Jwt }),
  z.strictObject({ type: z.literal('siwe'), signature: SiweSignature }),
]);

/** What was signed; purpose `wallet` needs both. */
export interface Signatures {
  jwt?: string;
  siwe?: string;
}

export const signaturesOf = (proof: z.infer<typeof Proof>): Signatures =>
  proof.type === 'did-jwt' ? { jwt: proof.jwt } : { siwe: proof.signature };

export interface VerifierDeps {
  db: Db;
  alarm: Alarm;
  publicUrl: string;
}

/**
 * The challenge, when this is its answer: to be consumed by the transaction that acts on it (`consumeChallenge`). Else a
 * 401 that tells nothing, an entry in the audit log that does, and one try less. Call it outside of any transaction.
 */
export async function verifyAnswer(
  { db, alarm, publicUrl }: VerifierDeps,
  wanted: Wanted,
  signatures: Signatures,
  requestId: string,
): Promise<Challenge> {
  const challenge = await takeAttempt(db, wanted);
  try {
    if (!challenge) throw new BadProof('there is no such challenge that is open');
    await verify(challenge, signatures, new URL(publicUrl).origin);
    return challenge;
  } catch (fault) {
    if (!(fault instanceof BadProof)) throw fault;
    const detail = { purpose: wanted.purpose, did: challenge?.did, reason: fault.message };
    const subjectId = wanted.challengeId;
    alarm({ actor: 'anonymous', action: 'security.did_auth_failed', subjectId, detail, requestId });
    throw new Problem('did_auth_failed');
  }
}

/** Exactly the signatures that the challenge asks for. */
async function verify(challenge: Challenge, { jwt, siwe }: Signatures, origin: string): Promise<void> {
  const did = parseDid(challenge.did);
  const needsJwt = did.method === 'key';
  const needsSiwe = challenge.wallet !== null;
  if ((jwt !== undefined) !== needsJwt || (siwe !== undefined) !== needsSiwe) throw new BadProof('of another kind');
  if (did.method === 'key' && jwt !== undefined) await verifyJwt(jwt, challenge, did, origin);
  if (siwe !== undefined) await verifySiwe(siwe, challenge, origin);
}
