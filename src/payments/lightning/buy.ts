import { desc, eq } from 'drizzle-orm';
import type { Tx } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { type Keyed, rememberKey, takeKey } from '../../platform/http/idempotency.ts';
import { invalidField } from '../../platform/http/problem.ts';
import type { Purchase } from '../purchases/history.ts';
import { checkReturnUri, recordPurchase, type StartDeps } from '../purchases/start.ts';
import type { LightningRail } from '../rails/lightning/lightning.ts';
import { EXPIRES_IN_S, type Invoice, intendAgain, intendInvoice, lockPurchase, openInvoice } from './open.ts';
import { lightningPricesOf } from './prices.ts';
import { invoices } from './tables.ts';

export interface InvoiceOrder {
  accountId: string;
  packageId: string;
  returnUri: string | null;
}

/**
 * Buys a package by an invoice of our wallet. Recorded before the wallet is asked; the same key again finds the purchase,
 * and asks for an invoice where none came.
 */
export async function buyByInvoice(
  deps: StartDeps & { lightning: LightningRail | null },
  keyed: Keyed,
  order: InvoiceOrder,
): Promise<{ purchaseId: string; replayed: boolean }> {
  const { db, lightning, vault } = deps;
  checkReturnUri(deps, order.returnUri);
  if (!lightning) throw invalidField('/method/type', 'is not set up here', 'method_unavailable');
  const begun = await db.transaction(async (tx) => {
    const before = await takeKey(tx, vault, keyed);
    if (before?.resourceId) return { ...(await resume(tx, before.resourceId)), replayed: true };
    const amountMsat = (await lightningPricesOf(tx, [order.packageId])).get(order.packageId);
    if (amountMsat === undefined)
      throw invalidField('/method/type', 'has no price for this package', 'method_unavailable');
    const purchase = await recordPurchase(tx, deps, { ...order, method: 'lightning', expiresInS: EXPIRES_IN_S });
    await rememberKey(tx, vault, keyed, { resourceId: purchase.id });
    const intended = await intendInvoice(tx, purchase.id, amountMsat);
    await failpoint('payments.invoice.before_intend_commit');
    return { purchase, intended, replayed: false };
  });
  await failpoint('payments.invoice.after_intend');
  const { purchase, intended, replayed } = begun;
  if (intended) await openInvoice({ ...deps, lightning }, purchase, intended);
  return { purchaseId: purchase.id, replayed };
}

/** Another request with the same key: a new invoice, for the same amount, where the last one never came. */
async function resume(tx: Tx, purchaseId: string): Promise<{ purchase: Purchase; intended: Invoice | undefined }> {
  const purchase = await lockPurchase(tx, purchaseId);
  const [last] = await tx
    .select()
    .from(invoices)
    .where(eq(invoices.purchaseId, purchaseId))
    .orderBy(desc(invoices.createdAt))
    .limit(1);
  if (!last) throw new Error('a purchase by Lightning that was never to be paid');
  return { purchase, intended: await intendAgain(tx, purchase, last.amountMsat) };
}
