import { and, eq, inArray, sql } from 'drizzle-orm';
import { post } from '../../credits/index.ts';
import type { Tx } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { toWire } from '../../platform/ids.ts';
import { settlePurchase } from '../arrivals/settle.ts';
import { differ } from '../differences.ts';
import { lockOrderOf, settleOrder } from '../orders/settle.ts';
import { type Actor, note, type Purchase } from '../purchases/history.ts';
import { isPaid, move } from '../purchases/move.ts';
import type { Seen } from '../rails/lightning/lightning.ts';
import { claims } from '../tables.ts';
import { type Invoice, lockPurchase } from './open.ts';
import { invoices } from './tables.ts';

/** What looking at an invoice changed. `review`: something new that a person has to look at. */
export interface Outcome {
  applied: 'credited' | 'review' | 'ended' | 'waiting' | 'unchanged';
  purchase: Purchase;
}

/** Looks from the beginning: often at first, then every minute; what lives for long every five, after a quarter of an hour. */
const PAUSES_S = [2, 5, 10, 30, ...Array<number>(15).fill(60), 300];
/** One last look so long after the end: what was on its way then has come, or never will. */
const LAST_LOOK_S = 60;

/** Applies what the wallet says of an invoice, under its purchase's lock. The same again changes nothing. `null`: it knows none. */
export async function applySeen(
  tx: Tx,
  { id, purchaseId }: Invoice,
  seen: Seen | null,
  actor: Actor,
): Promise<Outcome> {
  const purchase = await lockPurchase(tx, purchaseId);
  const [invoice] = await tx
    .select()
    .from(invoices)
    .where(and(eq(invoices.id, id), inArray(invoices.state, ['open', 'expired'])))
    .for('update');
  if (!invoice) return { applied: 'unchanged', purchase };
  if (!seen?.isSettled) {
    if (seen === null) await tellMissing(tx, invoice);
    return wait(tx, invoice, purchase);
  }
  if (seen.amountMsat < invoice.amountMsat) return review(tx, invoice, purchase, seen, 'wrong_amount', actor);
  return credit(tx, invoice, purchase, seen, actor);
}

/** The credits of a purchase whose invoice was paid, once: whatever state it is in, the money has come. */
async function credit(tx: Tx, invoice: Invoice, purchase: Purchase, seen: Seen, actor: Actor): Promise<Outcome> {
  const { paymentHash } = seen;
  const { price: amount, currency } = purchase;
  const [claim] = await tx
    .insert(claims)
    .values({ rail: 'lightning', reference: paymentHash, purchaseId: purchase.id, amount, currency })
    .onConflictDoNothing()
    .returning();
  await failpoint('payments.invoice.after_claim');
  if (!claim) return review(tx, invoice, purchase, seen, 'paid_twice', actor);
  await settleInvoice(tx, invoice, seen, 'paid');
  const waiting = await lockOrderOf(tx, purchase.orderId === null ? null : purchase.id);
  const cause = { type: 'purchase', id: purchase.id };
  const { result, transferId, available } = await post(tx, 'purchase', purchase.accountId, purchase.credits, cause);
  if (result !== 'posted' || transferId === null) throw new Error(`the credit of a purchase was ${result}`);
  await failpoint('payments.invoice.after_post');
  const completed = await move(tx, purchase, 'completed', {});
  const detail = {
    ...{ from: purchase.state, payment_hash: paymentHash, transfer_id: toWire('transfer', transferId) },
    credits: Number(purchase.credits),
  };
  await note(tx, purchase.id, { actor, what: 'purchase_completed', detail });
  if (seen.amountMsat > invoice.amountMsat) await tellAmounts(tx, invoice, seen, 'overpaid');
  if (waiting) await settleOrder(tx, waiting, purchase.accountId);
  await settlePurchase(tx, purchase, { rail: 'lightning', key: paymentHash, available });
  return { applied: 'credited', purchase: completed };
}

/** Money came, and not as agreed: no credits are given until somebody decides. */
async function review(
  tx: Tx,
  invoice: Invoice,
  purchase: Purchase,
  seen: Seen,
  reason: 'wrong_amount' | 'paid_twice',
  actor: Actor,
): Promise<Outcome> {
  await settleInvoice(tx, invoice, seen, 'review');
  await tellAmounts(tx, invoice, seen, reason);
  await note(tx, purchase.id, { actor, what: 'review', detail: { reason, payment_hash: seen.paymentHash } });
  const stays = isPaid(purchase) || purchase.state === 'review';
  return { applied: 'review', purchase: stays ? purchase : await move(tx, purchase, 'review', {}) };
}

const tellAmounts = (tx: Tx, { purchaseId, amountMsat }: Invoice, seen: Seen, kind: string) =>
  differ(tx, kind, seen.paymentHash, purchaseId, {
    ...{ amount_msat: seen.amountMsat.toString(), expected_msat: amountMsat.toString() },
  });

const settleInvoice = (tx: Tx, { id }: Invoice, { amountMsat }: Seen, state: 'paid' | 'review') =>
  tx
    .update(invoices)
    .set({
      state,
      receivedMsat: amountMsat,
      settledAt: sql`now()`,
      nextCheckAt: null,
      checks: sql`${invoices.checks} + 1`,
    })
    .where(eq(invoices.id, id));

/** The wallet made it and denies it: the connection leads to another wallet now, as a rule. */
async function tellMissing(tx: Tx, { paymentHash, purchaseId }: Invoice): Promise<void> {
  if (paymentHash !== null) await differ(tx, 'missing_at_provider', paymentHash, purchaseId, { rail: 'lightning' });
}

const lastLook = sql`${invoices.expiresAt} + make_interval(secs => ${LAST_LOOK_S})`;

/** Not paid yet: looked at again, or over when the last look is. */
async function wait(tx: Tx, invoice: Invoice, purchase: Purchase): Promise<Outcome> {
  const pauseS = PAUSES_S[Math.min(invoice.checks, PAUSES_S.length - 1)] ?? LAST_LOOK_S;
  const next = sql`now() + make_interval(secs => ${pauseS})`;
  const [looked] = await tx
    .update(invoices)
    .set({
      checks: sql`${invoices.checks} + 1`,
      state: sql`case when now() >= ${lastLook} then 'expired' else ${invoices.state} end`,
      // Due again: the wallet has told of it since this look began.
      nextCheckAt: sql`case when ${invoices.nextCheckAt} <= now() then ${invoices.nextCheckAt}
        when now() >= ${lastLook} then null when ${next} < ${invoices.expiresAt} then ${next} else ${lastLook} end`,
    })
    .where(eq(invoices.id, invoice.id))
    .returning();
  if (looked?.state !== 'expired' || purchase.state !== 'pending') return { applied: 'waiting', purchase };
  const expired = await move(tx, purchase, 'expired', {
    ...{ failureCode: 'not_paid', failureMessage: 'The purchase was not paid in time.' },
  });
  await note(tx, purchase.id, { actor: 'reconciler', what: 'purchase_expired' });
  return { applied: 'ended', purchase: expired };
}
