import { and, desc, eq, inArray, isNotNull, sql } from 'drizzle-orm';
import { z } from 'zod';
import type { Db } from '../../platform/database/clients.ts';
import { amount, amountOut, head, headOut, idOut, timeOrNull, timeOut } from '../../platform/http/wire.ts';
import { toWire } from '../../platform/ids.ts';
import { InvoiceOut, renderInvoice } from '../lightning/prices.ts';
import { invoices } from '../lightning/tables.ts';
import { paymentRequests } from '../requests/tables.ts';
import { charges, purchases } from '../tables.ts';
import type { Attempt } from './apply.ts';
import type { Purchase } from './history.ts';

export const PurchaseOut = z
  .object({
    ...headOut('purchase'),
    package_id: idOut('package').nullable().describe('null: exactly the credits that something costs'),
    credits: amountOut,
    price: amountOut.describe('minor units of the currency'),
    currency: z.string(),
    method: z.string(),
    status: z.enum([
      ...['pending', 'completed', 'failed', 'expired', 'cancelled', 'review', 'partially_refunded', 'refunded'],
    ] as [Purchase['state'], ...Purchase['state'][]]),
    refunded_credits: amountOut.describe('credits that went back with their money'),
    refunded_amount: amountOut.describe('money that went back, in minor units'),
    failure: z.object({ code: z.string(), message: z.string().nullable() }).nullable(),
    qr_url: z.string().nullable().describe('image of the PromptPay QR code'),
    authorize_uri: z.string().nullable().describe("where the payer's browser goes on"),
    status_url: z.string().describe('page that shows the payment and takes it; whoever has the link can pay'),
    expires_at: timeOut,
    completed_at: timeOut.nullable(),
    payment_request_id: idOut('paymentRequest')
      .nullable()
      .describe('method `crypto`: what the payer agrees to and pays'),
    lightning: InvoiceOut.nullable().describe('method `lightning`: what the payer pays, while it can be paid'),
    livemode: z.boolean(),
  })
  .meta({ id: 'Purchase' });

/** A purchase with its latest attempt that still matters. */
export interface PurchaseView {
  purchase: Purchase;
  attempt: Attempt | null;
  /** Of a purchase that is paid on chain. */
  requestId: string | null;
  /** Of a purchase that is paid by Lightning: its latest invoice that was shown. */
  invoice: typeof invoices.$inferSelect | null;
}

export function renderPurchase(view: PurchaseView, publicUrl: string): z.infer<typeof PurchaseOut> {
  const { purchase, attempt, requestId } = view;
  const statusUrl = `${publicUrl}/${pageOf(view)}/${purchase.pageToken}`;
  const payable = purchase.state === 'pending' && attempt?.state === 'pending' ? attempt : null;
  return {
    ...head('purchase', purchase),
    package_id: purchase.packageId === null ? null : toWire('package', purchase.packageId),
    credits: amount(purchase.credits),
    price: amount(purchase.price),
    currency: purchase.currency,
    method: purchase.method,
    status: purchase.state,
    refunded_credits: amount(purchase.refundedCredits),
    refunded_amount: amount(purchase.refundedAmount),
    failure: purchase.failureCode === null ? null : { code: purchase.failureCode, message: purchase.failureMessage },
    qr_url: payable?.qrUri ? `${statusUrl}/qr` : null,
    authorize_uri: payable?.authorizeUri ?? null,
    status_url: statusUrl,
    expires_at: (attempt?.expiresAt ?? purchase.expiresAt).toISOString(),
    completed_at: timeOrNull(purchase.completedAt),
    payment_request_id: requestId === null ? null : toWire('paymentRequest', requestId),
    lightning: lightningOf(view),
    livemode: purchase.livemode,
  };
}

const pageOf = ({ purchase, requestId }: PurchaseView) =>
  purchase.method === 'lightning' ? 'lightning' : requestId === null ? 'checkout' : 'pay';

function lightningOf({ purchase, invoice }: PurchaseView): z.infer<typeof PurchaseOut>['lightning'] {
  if (purchase.state !== 'pending' || invoice?.state !== 'open') return null;
  return renderInvoice(invoice);
}

/** A purchase of the account. */
export const findPurchase = (db: Db, accountId: string, id: string): Promise<PurchaseView | undefined> =>
  findOne(db, and(eq(purchases.accountId, accountId), eq(purchases.id, id)));

/** Anybody's purchase, for the operator. */
export const findAnyPurchase = (db: Db, id: string): Promise<PurchaseView | undefined> =>
  findOne(db, eq(purchases.id, id));

/** The purchase of a checkout page. */
export const findByPageToken = (db: Db, token: string): Promise<PurchaseView | undefined> =>
  findOne(db, eq(purchases.pageToken, token));

async function findOne(
  db: Db,
  condition: ReturnType<typeof eq> | ReturnType<typeof and>,
): Promise<PurchaseView | undefined> {
  const [purchase] = await db.select().from(purchases).where(condition);
  if (!purchase) return undefined;
  const [view] = await withAttempts(db, [purchase]);
  return view;
}

/** Newest first; `after` is the id of the last one seen. */
export async function listPurchases(
  db: Db,
  filter: { accountId?: string | undefined; state?: Purchase['state'] | undefined },
  after: string | null,
  limit: number,
): Promise<PurchaseView[]> {
  const rows = await db
    .select()
    .from(purchases)
    .where(
      and(
        filter.accountId === undefined ? undefined : eq(purchases.accountId, filter.accountId),
        filter.state === undefined ? undefined : eq(purchases.state, filter.state),
        after === null
          ? undefined
          : sql`(${purchases.createdAt}, ${purchases.id}) < (select created_at, id from ${purchases} where id = ${after}::uuid)`,
      ),
    )
    .orderBy(desc(purchases.createdAt), desc(purchases.id))
    .limit(limit);
  return withAttempts(db, rows);
}

async function withAttempts(db: Db, rows: Purchase[]): Promise<PurchaseView[]> {
  if (rows.length === 0) return [];
  const attempts = await db
    .selectDistinctOn([charges.purchaseId])
    .from(charges)
    .where(
      inArray(
        charges.purchaseId,
        rows.map(({ id }) => id),
      ),
    )
    .orderBy(charges.purchaseId, sql`${charges.state} in ('abandoned', 'failed', 'expired')`, desc(charges.createdAt));
  const requests = await requestsOf(db, rows);
  const shown = await invoicesOf(db, rows);
  return rows.map((purchase) => ({
    purchase,
    attempt: attempts.find((one) => one.purchaseId === purchase.id) ?? null,
    requestId: requests.find((one) => one.purchaseId === purchase.id)?.id ?? null,
    invoice: shown.find((one) => one.purchaseId === purchase.id) ?? null,
  }));
}

function requestsOf(db: Db, rows: Purchase[]) {
  const ids = rows.filter(({ method }) => method === 'crypto').map(({ id }) => id);
  if (ids.length === 0) return [];
  const { id, purchaseId } = paymentRequests;
  return db.select({ id, purchaseId }).from(paymentRequests).where(inArray(purchaseId, ids));
}

async function invoicesOf(db: Db, rows: Purchase[]) {
  const ids = rows.filter(({ method }) => method === 'lightning').map(({ id }) => id);
  if (ids.length === 0) return [];
  const ofThese = and(inArray(invoices.purchaseId, ids), isNotNull(invoices.paymentHash));
  return db.select().from(invoices).where(ofThese).orderBy(desc(invoices.createdAt));
}
