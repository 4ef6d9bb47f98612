import type { OrderState } from './tables.ts';

/**
 * What a visitor of an order gets: one outcome for every combination of what the order is, what the visitor can show, and
 * the session that is asked about. Pure; the pages and the JSON are two ways to say the same.
 */

export interface Standing {
  state: OrderState;
  /** Not paid, and past its end. */
  isExpired: boolean;
  /** The money went back, so far that it opens nothing any more. */
  isRevoked: boolean;
  hasReorderUrl: boolean;
}

/** A wrong one is told apart from none: it comes from an old link. */
export type Shown = 'right' | 'wrong' | 'none';

export interface Visit {
  /** `right` also when the order needs none. */
  token: Shown;
  hash: Shown;
  /** `proven`: it has shown that this order was paid. */
  session: 'none' | 'proven' | 'other';
  /** Another order for the same address was paid, and is open to this session. */
  hasBoughtBefore: boolean;
}

export type Outcome =
  /** 404 */
  | 'unknown'
  /** 403 */
  | 'forbidden'
  /** 410 */
  | 'expired'
  /** 402: nobody has taken it yet. */
  | 'to_claim'
  /** 402: a wallet has it, and is to pay. */
  | 'to_pay'
  /** 402: it is paid, and the wallet is to show so for this session. */
  | 'to_prove'
  /** 402: nothing to pay, because an earlier order opens the same. */
  | 'bought_before'
  /** 200 */
  | 'paid'
  /** 200 */
  | 'refunded'
  /** 202: an old link to what somebody has paid; a new order can be had. */
  | 'elsewhere';

export function outcomeOf(order: Standing | undefined, visit: Visit): Outcome {
  if (!order) return 'unknown';
  return order.state === 'paid' ? ofPaid(order, visit) : ofUnpaid(order, visit);
}

function ofUnpaid(order: Standing, { token, hash, hasBoughtBefore }: Visit): Outcome {
  // The link from before the claim is good until it is paid.
  const mayLook = token === 'right' || (order.state === 'claimed' && hash === 'right');
  if (!mayLook) return 'forbidden';
  if (hasBoughtBefore) return 'bought_before';
  if (order.isExpired) return 'expired';
  return order.state === 'claimed' ? 'to_pay' : 'to_claim';
}

/**
 * The token told who could claim it; now only the hash of what was agreed does. But the browser that was shown the token may
 * not have heard of the claim before it was paid: for the session that it is open to, the old link is as good.
 */
function ofPaid(order: Standing, { token, hash, session }: Visit): Outcome {
  const isWhereItBegan = hash === 'none' && token === 'right' && session === 'proven';
  if (hash !== 'right' && !isWhereItBegan) {
    const isOldLink = token !== 'none';
    return isOldLink && order.hasReorderUrl ? 'elsewhere' : 'forbidden';
  }
  if (order.isRevoked) return 'refunded';
  return session === 'other' ? 'to_prove' : 'paid';
}

export const statusOf: Record<Outcome, number> = {
  ...{ unknown: 404, forbidden: 403, expired: 410 },
  ...{ to_claim: 402, to_pay: 402, to_prove: 402, bought_before: 402 },
  ...{ paid: 200, refunded: 200, elsewhere: 202 },
};
