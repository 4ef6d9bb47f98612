import { createHash } from 'node:crypto';
import { eq, sql } from 'drizzle-orm';
import { type Challenge, consumeChallenge, makeChallenge, parseDid, type ServiceDid } from '../../identity/index.ts';
import type { Db, Tx } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { Problem } from '../../platform/http/problem.ts';
import { count } from '../../platform/http/words.ts';
import { toWire } from '../../platform/ids.ts';
import { hashContract, type Json, spell } from './contract.ts';
import { lockOrder, type Order, type SeenOrder, tellOrder } from './read.ts';
import { orders } from './tables.ts';

/** A wallet takes an order, and gives it up again: what it agrees to is frozen, and only its DID can go on with it. */

/** What a wallet signs for. All of it is in the hash that is signed. */
export type Deed =
  | { action: 'claim'; nonce: string }
  | { action: 'unclaim' }
  | { action: 'pay'; rail: 'credits' | 'omise' | 'evm'; sessionId: string | null }
  | { action: 'prove'; sessionId: string };

/** What the holder of a DID is asked to sign about an order; in words for people, and by a hash for us. */
export async function askWallet(on: Db | Tx, order: Order, did: string, deed: Deed): Promise<Challenge> {
  return makeChallenge(on, {
    ...{ did: parseDid(did), purpose: 'order', statement: sentenceFor(order, deed) },
    subject: { type: 'order', id: order.id, termsHash: deedHash(order, deed) },
  });
}

function sentenceFor({ orderId, price }: Order, deed: Deed): string {
  switch (deed.action) {
    case 'claim':
      return `Take the order ${orderId}, for ${count(price)}.`;
    case 'unclaim':
      return `Give up the order ${orderId}.`;
    case 'pay':
      return `Pay the order ${orderId} of ${count(price)} by ${deed.rail}.`;
    case 'prove':
      return `Open what the order ${orderId} has paid in the browser session ${deed.sessionId}.`;
  }
}

/** SHA-256 in hex. A claim is for the wallet's nonce; everything later for the contract that came of it. */
const deedHash = ({ orderId, hContract }: Order, deed: Deed): string =>
  createHash('sha256')
    .update(spell({ ...deed, order_id: orderId, h_contract: deed.action === 'claim' ? null : hContract }))
    .digest('hex');

/** Uses an answered challenge up for exactly this. The caller has locked the order. */
export async function requireDeed(tx: Tx, order: Order, challenge: Challenge, deed: Deed): Promise<void> {
  await consumeChallenge(tx, challenge);
  const isWallets = deed.action === 'claim' || challenge.did === order.claimDid;
  if (!isWallets || challenge.termsHash !== deedHash(order, deed)) throw new Problem('did_auth_failed');
}

/** The same wallet with the same nonce again gets the same contract. 409 for any other wallet, 410 when it is too late. */
export async function claimOrder(
  tx: Tx,
  publicUrl: string,
  { orderUuid, nonce }: { orderUuid: string; nonce: string },
  challenge: Challenge,
): Promise<SeenOrder> {
  const order = await lockOrder(tx, orderUuid);
  await requireDeed(tx, order, challenge, { action: 'claim', nonce });
  if (order.claimDid === challenge.did && order.nonce === nonce) return order;
  if (order.claimDid !== null) throw new Problem('order_claimed');
  if (order.isExpired) throw new Problem('order_expired');
  const contract = contractOf(order, { publicUrl, nonce, claimDid: challenge.did });
  const [claimed] = await tx
    .update(orders)
    .set({
      ...{ state: 'claimed', claimedAt: sql`now()`, claimDid: challenge.did, nonce },
      ...{ contract: spell(contract), hContract: hashContract(contract), version: sql`${orders.version} + 1` },
    })
    .where(eq(orders.id, order.id))
    .returning();
  if (!claimed) throw new Error('an order that vanished');
  await tellOrder(tx, claimed, 'claimed');
  await failpoint('payments.order.before_claim_commit');
  return { ...claimed, isExpired: false };
}

/** Somebody may have opened it with the wrong wallet. What is paid stays. */
export async function unclaimOrder(tx: Tx, orderUuid: string, challenge: Challenge): Promise<void> {
  const order = await lockOrder(tx, orderUuid);
  if (order.state !== 'claimed') throw new Problem('conflict', `The order is ${order.state}.`);
  await requireDeed(tx, order, challenge, { action: 'unclaim' });
  const [free] = await tx
    .update(orders)
    .set({
      ...{ state: 'unpaid', claimedAt: null, claimDid: null, nonce: null, contract: null, hContract: null },
      version: sql`${orders.version} + 1`,
    })
    .where(eq(orders.id, order.id))
    .returning();
  if (free) await tellOrder(tx, free, 'unclaimed');
}

/** Names as GNU Taler's contract terms have them, where it has them; amounts are strings. */
function contractOf(
  order: Order,
  claim: { publicUrl: string; nonce: string; claimDid: string },
): { [name: string]: Json } {
  const optional = (name: string, value: Json) => (value === null ? {} : { [name]: value });
  return {
    ...{ version: 1, order_id: order.orderId, summary: order.summary, amount: `CREDITS:${order.price}` },
    ...{ merchant_base_url: `${claim.publicUrl}/`, merchant: { account: toWire('account', order.merchantId) } },
    ...optional('fulfillment_url', order.fulfillmentUrl),
    ...optional('fulfillment_message', order.fulfillmentMessage),
    ...optional('public_reorder_url', order.publicReorderUrl),
    ...{
      prices: order.prices as unknown as Json,
      resource: order.resource,
      max_sessions: order.maxSessions,
      refund_policy: order.refundPolicy,
    },
    ...{ timestamp: seconds(order.createdAt), pay_deadline: seconds(order.payDeadline) },
    ...{ refund_deadline: seconds(order.refundDeadline), nonce: claim.nonce, wallet: claim.claimDid },
    ...optional('extra', order.extra as Json),
  };
}

export const seconds = (moment: Date) => ({ t_s: Math.floor(moment.getTime() / 1000) });

/** So that it can be taken for nothing else (RFC 8725 §3.11). */
const CONTRACT_TYPE = 'order-contract+jwt';
const PAID_TYPE = 'order-paid+jwt';

/** Our signature over what was agreed to; another one of the same meaning when our key has changed since. */
export async function signContract(serviceDid: ServiceDid, order: Order): Promise<string> {
  const at = order.claimedAt ?? order.createdAt;
  const claims = { iat: seconds(at).t_s, order_id: order.orderId, h_contract: order.hContract };
  return (await serviceDid.sign(CONTRACT_TYPE, claims)).jws;
}

/** Our signature that it is paid: the receipt. It opens nothing by itself. */
export async function signPaid(serviceDid: ServiceDid, order: Order): Promise<string> {
  const at = order.paidAt ?? order.createdAt;
  const claims = { iat: seconds(at).t_s, order_id: order.orderId, h_contract: order.hContract, sub: order.claimDid };
  return (await serviceDid.sign(PAID_TYPE, claims)).jws;
}
