import { and, eq } from 'drizzle-orm';
import { accountOfHolder, type Challenge } from '../../identity/index.ts';
import type { Tx } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { invalidField, Problem } from '../../platform/http/problem.ts';
import { cancelPurchase } from '../purchases/cancel.ts';
import type { ConvergeDeps } from '../purchases/converge.ts';
import type { Purchase } from '../purchases/history.ts';
import { insertPurchase, type StartDeps } from '../purchases/start.ts';
import type { EvmRail } from '../rails/evm/evm.ts';
import type { Terms as ChainTerms } from '../rails/evm/terms.ts';
import { cancelBuying } from '../requests/cancel.ts';
import { createRequest } from '../requests/create.ts';
import { purchases } from '../tables.ts';
import { statusUrl } from './addresses.ts';
import { requireDeed } from './claim.ts';
import { boughtBefore, lockOrder, type SeenOrder } from './read.ts';
import { takePrice, tooLittle } from './settle.ts';
import type { RailPrice } from './tables.ts';

/** A wallet pays: with credits at once, or by buying exactly the order's credits on another rail. */

interface Paying {
  orderUuid: string;
  sessionId: string | null;
  requestId: string;
}

/**
 * From the account that is named, or the one that the wallet's DID opens. Again is a replay; never twice. 402 when the
 * credits do not suffice, 410 when it is too late: then nothing has changed.
 */
export async function payWithCredits(
  tx: Tx,
  { orderUuid, accountId: named, sessionId, requestId }: Paying & { accountId: string | undefined },
  challenge: Challenge,
): Promise<SeenOrder> {
  const accountId = named ?? (await lockHolder(tx, challenge, requestId)).id;
  const order = await lockOrder(tx, orderUuid);
  await requireDeed(tx, order, challenge, { action: 'pay', rail: 'credits', sessionId });
  if (order.state === 'paid') return order;
  if (order.isExpired) throw new Problem('order_expired');
  await requireNotBought(tx, order, sessionId);
  const done = await takePrice(tx, order, { accountId, sessionId });
  if ('available' in done) throw tooLittle(order.price, done.available);
  await failpoint('payments.order.before_pay_commit');
  return done.paid;
}

/** Another order has opened the same to this session meanwhile, as a rule by another wallet: nobody pays that twice. */
async function requireNotBought(tx: Tx, order: SeenOrder, sessionId: string | null): Promise<void> {
  const before = await boughtBefore(tx, order, sessionId);
  if (!before) return;
  const extra = { already_paid_order_id: before.orderId };
  throw new Problem('conflict', 'This session can read it already: there is nothing to pay.', { extra });
}

/** The account of the wallet's DID, which is opened when there is none. Locked before the order, as where a request is agreed to. */
async function lockHolder(tx: Tx, challenge: Challenge, requestId: string) {
  const account = await accountOfHolder(tx, challenge, requestId);
  if (account.disabledAt) throw new Problem('account_disabled');
  return account;
}

interface Opening extends Paying {
  rail: 'omise' | 'evm';
  /** Of a price on chain. */
  terms: ChainTerms | Problem | undefined;
}

/** The same wallet has begun to pay by another rail; nothing has changed yet. */
class OtherWay extends Error {
  readonly purchase: Purchase;
  constructor(purchase: Purchase) {
    super('an order is being paid by another rail');
    this.purchase = purchase;
  }
}

/**
 * Opens a payment, and first ends the one by another rail that the same wallet has begun: the provider is told, and where
 * money is on its way already it stays as it is (409).
 */
export async function openPayment(
  deps: ConvergeDeps & Parameters<typeof payByPurchase>[1],
  opening: Opening,
  challenge: Challenge,
): Promise<Purchase> {
  const open = () => deps.db.transaction((tx) => payByPurchase(tx, deps, opening, challenge));
  try {
    return await open();
  } catch (fault) {
    if (!(fault instanceof OtherWay)) throw fault;
    const { purchase } = fault;
    if (purchase.method !== 'crypto') await cancelPurchase(deps, purchase);
    else await deps.db.transaction((tx) => cancelBuying(tx, purchase.id, purchase.accountId));
    return open();
  }
}

/** A payer has an hour on chain and a day at the provider, or what is left of the order's time. */
const CHAIN_EXPIRES_IN_S = 3_600;
const CHECKOUT_EXPIRES_IN_S = 86_400;
const LEAST_EXPIRES_IN_S = 60;

/**
 * Opens a purchase of exactly the order's credits, by the account of the wallet's DID, which is opened when there is none.
 * What it brings pays the order in the same transaction. The same order again leads to the same purchase while it is open.
 */
async function payByPurchase(
  tx: Tx,
  deps: Pick<StartDeps, 'maxPending' | 'livemode' | 'publicUrl'> & { evm: EvmRail },
  { orderUuid, sessionId, rail, terms, requestId }: Opening,
  challenge: Challenge,
): Promise<Purchase> {
  const account = await lockHolder(tx, challenge, requestId);
  const order = await lockOrder(tx, orderUuid);
  await requireDeed(tx, order, challenge, { action: 'pay', rail, sessionId });
  if (order.state === 'paid') throw new Problem('conflict', 'The order is paid.');
  if (order.isExpired) throw new Problem('order_expired');
  await requireNotBought(tx, order, sessionId);
  const price = order.prices.find((one) => one.rail === rail);
  if (!price) throw invalidField('/rail', 'has no price for this order', 'method_unavailable');
  const own = and(eq(purchases.orderId, order.id), eq(purchases.accountId, account.id));
  const [before] = await tx
    .select()
    .from(purchases)
    .where(and(own, eq(purchases.state, 'pending')));
  if (before && (before.method === 'crypto') === (rail === 'evm')) return before;
  if (before) throw new OtherWay(before);
  const expiresInS = secondsUntil(order.payDeadline, rail === 'evm' ? CHAIN_EXPIRES_IN_S : CHECKOUT_EXPIRES_IN_S);
  const purchase = await insertPurchase(tx, deps, {
    ...{ accountId: account.id, packageId: null, orderId: order.id, orderSession: sessionId },
    ...{ packageName: order.summary, credits: order.price, ...moneyOf(price, order) },
    returnUri: statusUrl(deps.publicUrl, { ...order, sessionId, token: null }),
    expiresInS,
  });
  if (price.rail === 'evm') {
    if (!terms) throw new Error('a price on chain without terms');
    const purpose = { type: 'credits', credits: order.price } as const;
    const asked = { payerDid: challenge.did, asset: price.asset, amount: price.amount, description: order.summary };
    const of = { merchantId: null, purchaseId: purchase.id, pageToken: purchase.pageToken };
    const until = { late: 'refundable', expiresInS } as const;
    await createRequest(tx, deps, { ...of, ...asked, purpose, ...until }, terms);
  }
  await failpoint('payments.order.before_open_commit');
  return purchase;
}

/** What is asked for on chain stands in the request; in money it has no price then (ISO 4217: XXX). */
const moneyOf = (price: RailPrice, order: SeenOrder): Pick<Purchase, 'price' | 'currency' | 'method'> =>
  price.rail === 'omise'
    ? { price: BigInt(price.amount), currency: price.currency, method: 'payment_link' }
    : { price: order.price, currency: 'XXX', method: 'crypto' };

const secondsUntil = (moment: Date, atMost: number): number =>
  Math.max(LEAST_EXPIRES_IN_S, Math.min(atMost, Math.ceil((moment.getTime() - Date.now()) / 1_000)));
