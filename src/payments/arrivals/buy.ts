import { and, eq } from 'drizzle-orm';
import type { Tx } from '../../platform/database/clients.ts';
import { invalidField, Problem } from '../../platform/http/problem.ts';
import { toWire } from '../../platform/ids.ts';
import type { Purchase } from '../purchases/history.ts';
import { insertPurchase, type StartDeps } from '../purchases/start.ts';
import type { EvmRail } from '../rails/evm/evm.ts';
import type { Terms as ChainTerms } from '../rails/evm/terms.ts';
import type { LightningRail } from '../rails/lightning/lightning.ts';
import { payerOf } from '../requests/buy.ts';
import { createRequest } from '../requests/create.ts';
import { paymentRequests } from '../requests/tables.ts';
import { purchases } from '../tables.ts';
import type { Purpose } from './settle.ts';

/** What exactly so many credits cost elsewhere: minor units of a currency, or base units of an asset (CAIP-19). */
export type Price =
  | { rail: 'omise'; amount: bigint; currency: string }
  | { rail: 'evm'; asset: string; amount: string; payer: string | null; terms: ChainTerms | Problem }
  /** By an invoice that our wallet is asked for afterwards (`ensureInvoice`); `expiresInS`: its life. */
  | { rail: 'lightning'; expiresInS: number };

interface Wanted {
  accountId: string;
  purpose: Purpose;
  /** What the payer reads. */
  name: string;
  credits: bigint;
  price: Price;
  returnUri: string | null;
}

export type BuyDeps = Pick<StartDeps, 'maxPending' | 'livemode' | 'publicUrl' | 'capabilities'> & {
  evm: EvmRail;
  lightning: LightningRail | null;
  currency: string;
};

/** A payer has an hour on chain, because the price is of now; a day at the provider. */
const EXPIRES_IN_S = { omise: 86_400, evm: 3_600 };
const METHOD = { omise: 'payment_link', evm: 'crypto', lightning: 'lightning' } as const;

/**
 * Opens a purchase of exactly the credits that something wants; what it brings is set aside for that (`settle.ts`). The
 * same again leads to the same purchase while it is open, and of two others one at a time. Invoices stand in nobody's way:
 * they may have been made unasked, nobody can take one back, and what comes too much is credits of the account.
 */
export async function buyFor(tx: Tx, deps: BuyDeps, wanted: Wanted): Promise<Purchase> {
  const { accountId, purpose, name, credits, price, returnUri } = wanted;
  if (price.rail === 'omise' && price.currency !== deps.currency)
    throw invalidField('/rail', 'has no price in the currency of this installation', 'method_unavailable');
  if (price.rail === 'lightning' && !deps.lightning)
    throw invalidField('/rail', 'is not set up here', 'method_unavailable');
  const method = METHOD[price.rail];
  const open = await openPurchases(tx, purpose);
  const before = open.find((one) => one.credits === credits && one.method === method);
  if (before && (price.rail !== 'evm' || (await isAsked(tx, before, price)))) return before;
  const other = open.find((one) => one.method !== 'lightning');
  if (other && method !== 'lightning')
    throw new Problem('conflict', 'Another payment of it is under way. Pay or cancel that purchase first.', {
      extra: { purchase_id: toWire('purchase', other.id) },
    });
  // What is missing may be less than the provider takes; its checkout would show no way to pay it.
  if (
    price.rail === 'omise' &&
    deps.capabilities.methodsFor({ price: price.amount, currency: price.currency }).length === 0
  )
    throw invalidField('/rail', `takes no payment of ${price.amount} ${price.currency}`, 'method_unavailable');
  const purchase = await insertPurchase(tx, deps, {
    ...{ accountId, packageId: null, packageName: name, credits, returnUri, forType: purpose.type, forId: purpose.id },
    // What is asked for elsewhere stands in the request or the invoice; in money it has no price then (ISO 4217: XXX).
    ...(price.rail === 'omise'
      ? { price: price.amount, currency: price.currency }
      : { price: credits, currency: 'XXX' }),
    ...{ method, expiresInS: price.rail === 'lightning' ? price.expiresInS : EXPIRES_IN_S[price.rail] },
  });
  if (price.rail === 'evm') {
    const { asset, amount, payer, terms } = price;
    const of = { merchantId: null, purchaseId: purchase.id, pageToken: purchase.pageToken };
    const asked = { payerDid: await payerOf(tx, { accountId, payer }, '/payer'), asset, amount, description: name };
    const until = { late: 'refundable', expiresInS: EXPIRES_IN_S.evm } as const;
    await createRequest(tx, deps, { ...of, ...asked, purpose: { type: 'credits', credits }, ...until }, terms);
  }
  return purchase;
}

const openPurchases = (tx: Tx, { type, id }: Purpose): Promise<Purchase[]> =>
  tx
    .select()
    .from(purchases)
    .where(and(eq(purchases.forType, type), eq(purchases.forId, id), eq(purchases.state, 'pending')));

/** Whether it is paid in this asset, by this DID: the page of one shows no other. */
async function isAsked(tx: Tx, { id, accountId }: Purchase, price: Extract<Price, { rail: 'evm' }>): Promise<boolean> {
  const [request] = await tx.select().from(paymentRequests).where(eq(paymentRequests.purchaseId, id));
  const isPayer = price.payer === null || request?.payerDid === (await payerOf(tx, { accountId, ...price }, '/payer'));
  return request?.asset.toLowerCase() === price.asset.toLowerCase() && isPayer;
}
