import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { requireLogin } from '../../platform/http/access.ts';
import { Problem } from '../../platform/http/problem.ts';
import type { App } from '../../platform/http/server.ts';
import { answers, idIn, idOut, JsonObject, time, timeOut } from '../../platform/http/wire.ts';
import { toWire } from '../../platform/ids.ts';
import type { IdentityDeps } from '../routes.ts';
import { renderSession, SessionOut } from '../sessions.ts';
import { Proof, signaturesOf, verifyAnswer } from './answers.ts';
import { type Asked, makeChallenge } from './challenges.ts';
import { checksummed, MAX_DID, parseDid, parseWallet } from './did.ts';
import { signIn } from './sign-in.ts';
import { type Challenge, jwtClaims, jwtHeader, siweMessage } from './signed.ts';

const did = z.string().min(1).max(MAX_DID).describe('did:key of Ed25519, secp256k1 or P-256, or did:pkh:eip155');

const Wish = z.discriminatedUnion('purpose', [
  z.strictObject({ purpose: z.literal('login'), did }),
  z.strictObject({ purpose: z.literal('link').describe('to the account that is logged in'), did }),
  z.strictObject({
    purpose: z.literal('wallet').describe('a wallet for a did:key of the account that is logged in'),
    did,
    wallet: z.string().max(100).describe('CAIP-10, such as eip155:1:0x…'),
  }),
]);

export const ChallengeOut = z
  .object({
    object: z.literal('did_challenge'),
    challenge_id: idOut('challenge'),
    created_at: timeOut,
    expires_at: timeOut,
    nonce: z.string(),
    jwt_header: JsonObject.nullable().describe('for a did:key: the header to sign, to which only `kid` may be added'),
    jwt_claims: JsonObject.nullable().describe('for a did:key: the claims to sign, all of them and no others'),
    siwe_message: z.string().nullable().describe('for a wallet: the text to sign (EIP-4361 by EIP-191)'),
  })
  .meta({ id: 'DidChallenge' });

/** A challenge as its holder needs it, with what is to be signed. */
export function renderChallenge(challenge: Challenge, publicUrl: string): z.infer<typeof ChallengeOut> {
  const holder = parseDid(challenge.did);
  const { origin } = new URL(publicUrl);
  const { wallet } = challenge;
  return {
    object: 'did_challenge',
    challenge_id: toWire('challenge', challenge.id),
    created_at: time(challenge.createdAt),
    expires_at: time(challenge.expiresAt),
    nonce: challenge.nonce,
    jwt_header: holder.method === 'key' ? jwtHeader(holder) : null,
    jwt_claims: holder.method === 'key' ? jwtClaims(challenge, origin) : null,
    siwe_message: wallet === null ? null : siweMessage({ ...challenge, wallet }, origin),
  };
}

/** Asking for a challenge, and signing in by its answer. */
export function challengeRoutes(app: App, deps: IdentityDeps): void {
  const { db, sessions, authenticator, publicUrl } = deps;
  const tags = ['accounts'];
  const open = { access: 'anyone', rate: 'auth', idempotency: 'none' } as const;

  const accountOf = async (request: FastifyRequest) => {
    const caller = await authenticator.authenticate(request);
    requireLogin(caller);
    return caller.accountId;
  };

  app.post(
    '/v1/auth/did/challenges',
    {
      config: open,
      schema: {
        tags,
        summary: 'Ask for something to sign with a DID; `link` and `wallet` need a log-in',
        body: Wish,
        response: answers({ 201: ChallengeOut }),
      },
    },
    async (request, reply) => {
      const asked = await read(request.body, () => accountOf(request), new URL(publicUrl).origin);
      const challenge = await makeChallenge(db, asked);
      return reply.code(201).send(renderChallenge(challenge, publicUrl));
    },
  );

  app.post(
    '/v1/auth/did/tokens',
    {
      config: open,
      schema: {
        tags,
        summary: 'Sign in with a DID; the first time opens an account',
        body: z.strictObject({ challenge_id: idIn('challenge'), proof: Proof }),
        response: answers({ 200: SessionOut }),
      },
    },
    async (request) => {
      const { challenge_id: challengeId, proof } = request.body;
      const wanted = { challengeId, purpose: 'login' } as const;
      const challenge = await verifyAnswer(deps, wanted, signaturesOf(proof), request.id);
      return renderSession(await signIn(db, sessions, challenge, request.id));
    },
  );
}

/** What a wish comes to. The sentences are what the holder reads in the wallet. */
async function read(wish: z.infer<typeof Wish>, account: () => Promise<string>, origin: string): Promise<Asked> {
  const { purpose } = wish;
  const holder = parseDid(wish.did);
  if (purpose === 'login') return { did: holder, purpose, statement: `Sign in to ${origin}.` };
  const id = await account();
  const subject = { type: 'account', id } as const;
  if (purpose === 'link') {
    const statement = `Let this DID sign in to the account ${toWire('account', id)}, and spend what is on it.`;
    return { did: holder, purpose, statement, subject };
  }
  // A wallet that is a DID itself is linked as one.
  if (holder.method === 'pkh') throw new Problem('did_key_type_unsupported', 'Send the did:key to link the wallet to.');
  const wallet = parseWallet(wish.wallet);
  const statement = `Link the wallet ${checksummed(wallet.wallet)} to ${holder.did}.`;
  return { did: holder, purpose, statement, subject, wallet };
}
