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
  const proof = { type: 'did-jwt', jwt: await signClaims(order.key, claimsOf(asked.body, order, deed, what)) };
  const answer = { ...wish, challenge_id: asked.body['challenge_id'], proof };
  const done = await talk(order.base, `${path}/${to}`, { body: answer, token });
  if (done.status !== 200 && done.status !== 204) throw faultOf(what, done);
  return done.body;
}

/** A challenge that asks for anything else could be worth money elsewhere. */
function claimsOf(
  challenge: Reply['body'],
  { base, orderId, key, hContract }: DeedOrder,
  deed: Deed,
  what: string,
): object {
  const claims = (challenge['jwt_claims'] ?? {}) as Record<string, unknown>;
  const { iss, sub, aud, purpose, terms_hash } = claims;
  const wanted = {
    ...{ iss: key.did, sub: key.did, aud: new URL(base).origin, purpose: 'order' },
    terms_hash: hashOf(deed, orderId, hContract),
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
