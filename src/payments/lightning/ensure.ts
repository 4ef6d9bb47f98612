import { and, eq, gt, sql } from 'drizzle-orm';
import type { Db, Tx } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import type { Purpose } from '../arrivals/settle.ts';
import { purchases } from '../tables.ts';
import { type Invoice, intendAgain, liveInvoice, lockPurchase, type OpenDeps, openInvoice } from './open.ts';
import { invoices } from './tables.ts';

export type InvoiceDeps = Omit<OpenDeps, 'lightning'> & { lightning: OpenDeps['lightning'] | null };

/** Wallets count in seconds, and payers need some. */
const LEAST_S = 60;

/**
 * The invoice of a purchase that was opened for something (`arrivals/buy.ts`): the one that can be paid, or a new one, for as
 * long as the purchase lives. `undefined` when there is nothing to pay any more. 503 when the wallet makes none now, 409
 * while another request asks it: again is always right.
 */
export async function ensureInvoice(
  deps: OpenDeps,
  purchaseId: string,
  msatPerCredit: bigint,
): Promise<Invoice | undefined> {
  const { purchase, intended } = await deps.db.transaction(async (tx) => {
    const locked = await lockPurchase(tx, purchaseId);
    return { purchase: locked, intended: await intendAgain(tx, locked, locked.credits * msatPerCredit) };
  });
  await failpoint('payments.invoice.after_intend_for');
  if (intended) {
    const left = Math.ceil((purchase.expiresAt.getTime() - Date.now()) / 1000);
    await openInvoice(deps, purchase, intended, Math.max(LEAST_S, left));
  }
  const live = await liveInvoice(deps.db, purchaseId);
  return live?.state === 'open' ? live : undefined;
}

/** The invoice by which exactly so many credits can be bought for something now. */
export async function shownInvoice(
  on: Db | Tx,
  { type, id }: Purpose,
  credits: bigint,
): Promise<{ bolt11: string; pageToken: string } | undefined> {
  const [shown] = await on
    .select({ bolt11: invoices.bolt11, pageToken: purchases.pageToken })
    .from(purchases)
    .innerJoin(invoices, and(eq(invoices.purchaseId, purchases.id), eq(invoices.state, 'open')))
    .where(
      and(
        ...[eq(purchases.forType, type), eq(purchases.forId, id), eq(purchases.state, 'pending')],
        ...[eq(purchases.credits, credits), gt(invoices.expiresAt, sql`now()`)],
      ),
    );
  return shown?.bolt11 ? { bolt11: shown.bolt11, pageToken: shown.pageToken } : undefined;
}
