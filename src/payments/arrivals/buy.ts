import { and, eq } from 'drizzle-orm';
import type { Tx } from '../../platform/database/clients.ts';
import { invalidField, Problem } from '../../platform/http/problem.ts';
import type { Purchase } from '../purchases/history.ts';
import { insertPurchase, type StartDeps } from '../purchases/start.ts';
import type { EvmRail } from '../rails/evm/evm.ts';
import type { Terms as ChainTerms } from '../rails/evm/terms.ts';
import { payerOf } from '../requests/buy.ts';
import { createRequest } from '../requests/create.ts';
import { purchases } from '../tables.ts';
import type { Purpose } from './settle.ts';

/** What exactly so many credits cost elsewhere: minor units of a currency, or base units of an asset (CAIP-19). */
export type Price =
  | { rail: 'omise'; amount: bigint; currency: string }
  | { rail: 'evm'; asset: string; amount: string; payer: string | null; terms: ChainTerms | Problem };

interface Wanted {
  accountId: string;
  purpose: Purpose;
  /** What the payer reads. */
  name: string;
  credits: bigint;
  price: Price;
  returnUri: string | null;
}

export type BuyDeps = Pick<StartDeps, 'maxPending' | 'livemode' | 'publicUrl'> & { evm: EvmRail; currency: string };

/** A payer has an hour on chain, because the price is of now; a day at the provider. */
const EXPIRES_IN_S = { omise: 86_400, evm: 3_600 };

/**
 * Opens a purchase of exactly the credits that something wants; what it brings is set aside for that (`settle.ts`). The
 * same again leads to the same purchase while it is open.
 */
export async function buyFor(tx: Tx, deps: BuyDeps, wanted: Wanted): Promise<Purchase> {
  const { accountId, purpose, name, credits, price, returnUri } = wanted;
  if (price.rail === 'omise' && price.currency !== deps.currency)
    throw invalidField('/rail', 'has no price in the currency of this installation', 'method_unavailable');
  const before = await openPurchase(tx, purpose);
  if (before?.credits === credits && (before.method === 'crypto') === (price.rail === 'evm')) return before;
  if (before) throw new Problem('conflict', 'Another payment of it is under way. Pay or cancel that purchase first.');
  const purchase = await insertPurchase(tx, deps, {
    ...{ accountId, packageId: null, packageName: name, credits, returnUri, forType: purpose.type, forId: purpose.id },
    // What is asked for on chain stands in the request; in money it has no price then (ISO 4217: XXX).
    ...(price.rail === 'omise'
      ? { price: price.amount, currency: price.currency, method: 'payment_link' }
      : { price: credits, currency: 'XXX', method: 'crypto' }),
    expiresInS: EXPIRES_IN_S[price.rail],
  });
  if (price.rail === 'evm') {
    const { asset, amount, payer, terms } = price;
    const of = { merchantId: null, purchaseId: purchase.id, pageToken: purchase.pageToken };
    const asked = { payerDid: await payerOf(tx, { accountId, payer }), asset, amount, description: name };
    const until = { late: 'refundable', expiresInS: EXPIRES_IN_S.evm } as const;
    await createRequest(tx, deps, { ...of, ...asked, purpose: { type: 'credits', credits }, ...until }, terms);
  }
  return purchase;
}

const openPurchase = async (tx: Tx, { type, id }: Purpose): Promise<Purchase | undefined> => {
  const isOpen = and(eq(purchases.forType, type), eq(purchases.forId, id), eq(purchases.state, 'pending'));
  const [open] = await tx.select().from(purchases).where(isOpen);
  return open;
};
