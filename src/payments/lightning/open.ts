import { and, eq, inArray, sql } from 'drizzle-orm';
import type { Db, Tx } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { retryLater } from '../../platform/http/problem.ts';
import { newId, toWire } from '../../platform/ids.ts';
import type { Metrics } from '../../platform/metrics.ts';
import { type Actor, note, type Purchase } from '../purchases/history.ts';
import { move } from '../purchases/move.ts';
import type { LightningRail, NewInvoice } from '../rails/lightning/lightning.ts';
import { purchases } from '../tables.ts';
import { isPaymentCounted } from './counted.ts';
import { type InvoiceState, invoices } from './tables.ts';

export type Invoice = typeof invoices.$inferSelect;

export interface OpenDeps {
  db: Db;
  lightning: LightningRail;
  metrics: Metrics;
}

/** The price was of the moment in which it was asked for. */
export const EXPIRES_IN_S = 900;
/** The wallet's own time for an answer, and then some: until then nobody else makes an invoice. */
const ANSWERED_WITHIN_S = 20;
const FIRST_LOOK_S = 2;
const UNAVAILABLE_RETRY_S = 5;
const LIVE: InvoiceState[] = ['creating', 'open'];

/** The invoice of a purchase that can be paid, or is about to be made. */
export async function liveInvoice(on: Db | Tx, purchaseId: string): Promise<Invoice | undefined> {
  const [live] = await on
    .select()
    .from(invoices)
    .where(and(eq(invoices.purchaseId, purchaseId), inArray(invoices.state, LIVE)));
  return live;
}

/** Commits the intent to ask for an invoice. The caller holds the purchase's lock, and no other invoice of it lives. */
export async function intendInvoice(tx: Tx, purchaseId: string, amountMsat: bigint): Promise<Invoice> {
  const nextCheckAt = sql`now() + make_interval(secs => ${ANSWERED_WITHIN_S})`;
  const [intended] = await tx.insert(invoices).values({ id: newId(), purchaseId, amountMsat, nextCheckAt }).returning();
  if (!intended) throw new Error('no invoice was intended');
  return intended;
}

/** Another try for a purchase that is locked: none where it has its invoice or is over, 409 while somebody else asks. */
export async function intendAgain(tx: Tx, purchase: Purchase, amountMsat: bigint): Promise<Invoice | undefined> {
  if (purchase.state !== 'pending') return undefined;
  const live = await liveInvoice(tx, purchase.id);
  if (live?.state === 'open') return undefined;
  if (live && live.nextCheckAt !== null && live.nextCheckAt > new Date()) throw retryLater('request_in_flight', 2);
  if (live) await giveUp(tx, live, 'asked_again', `account:${purchase.accountId}`);
  return intendInvoice(tx, purchase.id, amountMsat);
}

/**
 * Asks the wallet for the invoice of a purchase and writes it down. A 503 problem when there is none, 409 when it came too
 * late: nobody has seen it then, so nobody can pay it, and the next request with the same key asks for another.
 */
export async function openInvoice(
  { db, lightning, metrics }: OpenDeps,
  purchase: Purchase,
  intended: Invoice,
  expiryS = EXPIRES_IN_S,
): Promise<void> {
  await failpoint('payments.invoice.before_make');
  const made = await lightning.makeInvoice({
    amountMsat: intended.amountMsat,
    description: `${purchase.packageName} (${toWire('purchase', purchase.id)})`,
    expiryS,
  });
  await failpoint('payments.invoice.after_make');
  const actor: Actor = `account:${purchase.accountId}`;
  if (made.outcome === 'ok') {
    const opened = await db.transaction(async (tx) => {
      const what = await open(tx, intended, made.value, actor);
      await failpoint('payments.invoice.before_open_commit');
      return what;
    });
    await failpoint('payments.invoice.after_open');
    if (opened === 'open' || opened === 'unwanted') return;
    if (opened === 'late') throw retryLater('request_in_flight', 2); // given up meanwhile, by whoever asks for another
  } else if (made.outcome === 'rejected') {
    const isFailed = await db.transaction(async (tx) => {
      const locked = await giveUp(tx, intended, made.code, actor);
      if (locked?.state !== 'pending') return false;
      await move(tx, locked, 'failed', { failureCode: made.code.toLowerCase(), failureMessage: made.message });
      return true;
    });
    if (isFailed) metrics.purchases.inc({ state: 'failed' });
    return;
  } else await db.transaction((tx) => giveUp(tx, intended, made.reason, actor));
  throw retryLater('provider_unavailable', UNAVAILABLE_RETRY_S);
}

/** `late`: it was given up before. `known`: its money was, or will be, booked for something else. `unwanted`: nobody waits for it. */
async function open(
  tx: Tx,
  intended: Invoice,
  made: NewInvoice,
  actor: Actor,
): Promise<'open' | 'late' | 'known' | 'unwanted'> {
  const { id, purchaseId } = intended;
  const { state } = await lockPurchase(tx, purchaseId);
  if (state !== 'pending') return (await giveUp(tx, intended, state, actor)) ? 'unwanted' : 'late';
  if (await isPaymentCounted(tx, made.paymentHash))
    return (await giveUp(tx, intended, 'known_before', actor)) ? 'known' : 'late';
  const [opened] = await tx
    .update(invoices)
    .set({ state: 'open', ...made, nextCheckAt: sql`now() + make_interval(secs => ${FIRST_LOOK_S})` })
    .where(and(eq(invoices.id, id), eq(invoices.state, 'creating')))
    .returning({ id: invoices.id });
  if (!opened) return 'late';
  await tx.update(purchases).set({ expiresAt: made.expiresAt }).where(eq(purchases.id, purchaseId));
  await note(tx, purchaseId, { actor, what: 'invoice_opened', detail: { payment_hash: made.paymentHash } });
  return 'open';
}

/** Nobody has seen it. Resolves to its purchase, locked; `undefined`: it was given up before, or is open. */
export async function giveUp(tx: Tx, { id, purchaseId }: Invoice, reason: string, actor: Actor) {
  const purchase = await lockPurchase(tx, purchaseId);
  const [given] = await tx
    .update(invoices)
    .set({ state: 'abandoned', nextCheckAt: null })
    .where(and(eq(invoices.id, id), eq(invoices.state, 'creating')))
    .returning({ id: invoices.id });
  if (!given) return undefined;
  await note(tx, purchaseId, { actor, what: 'invoice_abandoned', detail: { reason } });
  await failpoint('payments.invoice.before_abandon_commit');
  return purchase;
}

/** Always before its invoices. */
export async function lockPurchase(tx: Tx, id: string): Promise<Purchase> {
  const [purchase] = await tx.select().from(purchases).where(eq(purchases.id, id)).for('update');
  if (!purchase) throw new Error('an invoice without its purchase');
  return purchase;
}
