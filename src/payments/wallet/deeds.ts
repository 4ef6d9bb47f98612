import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Deed } from '../orders/claim.ts';
import { spell } from '../orders/contract.ts';
import { refused } from './fault.ts';
import { signClaims, type WalletKey } from './keys.ts';
import { faultOf, type Reply, talk } from './talk.ts';

/** What a wallet does to an order: it signs for exactly that, and for nothing that it has not worked out itself. */

export interface DeedOrder {
  base: string;
  orderId: string;
  key: WalletKey;
  /** Known from the claim on. */
  hContract: string | null;
}

interface Told {
  /** What the challenge is asked with, and then the deed. */
  wish: Record<string, unknown>;
  /** Last part of the address where it is done. */
  to: 'claim' | 'unclaim' | 'pay' | 'paid';
  token?: string | undefined;
  /** The sentence for when it is not done. */
  what: string;
}

/** Throws `WalletFault` for every answer but a good one. */
export async function doDeed(order: DeedOrder, deed: Deed, { wish, to, token, what }: Told): Promise<Reply['body']> {
  const path = `/orders/${order.orderId}`;
  const asked = await talk(order.base, `${path}/challenges`, { body: { action: deed.action, ...wish } });
  if (asked.status !== 201) throw faultOf(what, asked);
  const termsHash = hashOf(deed, order.orderId, order.hContract);
  const answer = { ...wish, ...(await answerTo(asked.body, order, { purpose: 'order', termsHash }, what)) };
  const done = await talk(order.base, `${path}/${to}`, { body: answer, token });
  if (done.status >= 300) throw faultOf(what, done);
  return done.body;
}

/** Signs what it is asked to, when that is for nothing but this purpose and these terms. */
export async function answerTo(
  challenge: Reply['body'],
  { base, key }: Pick<DeedOrder, 'base' | 'key'>,
  wanted: { purpose: 'order' | 'payment' | 'login' | 'refund'; termsHash?: string },
  what: string,
): Promise<{ challenge_id: unknown; proof: { type: 'did-jwt'; jwt: string } }> {
  const jwt = await signClaims(key, claimsOf(challenge, { base, key }, wanted, what));
  return { challenge_id: challenge['challenge_id'], proof: { type: 'did-jwt', jwt } };
}

/** A challenge that asks for anything else could be worth money elsewhere. */
function claimsOf(
  challenge: Reply['body'],
  { base, key }: Pick<DeedOrder, 'base' | 'key'>,
  asked: { purpose: string; termsHash?: string },
  what: string,
): object {
  const claims = (challenge['jwt_claims'] ?? {}) as Record<string, unknown>;
  const { iss, sub, aud, purpose, terms_hash } = claims;
  const wanted = {
    ...{ iss: key.did, sub: key.did, aud: new URL(base).origin, purpose: asked.purpose },
    terms_hash: asked.termsHash,
  };
  if (!isDeepStrictEqual({ iss, sub, aud, purpose, terms_hash }, wanted))
    throw refused(
      what,
      `${base} asked for a signature under something else.`,
      'Nothing was signed. Is this the address that the shop gave you?',
    );
  return claims;
}

/** What the service must have put into the challenge. Made here and not where the service makes it: the wallet is the check. */
const hashOf = (deed: Deed, orderId: string, hContract: string | null): string =>
  createHash('sha256')
    .update(spell({ ...deed, order_id: orderId, h_contract: deed.action === 'claim' ? null : hContract }))
    .digest('hex');
