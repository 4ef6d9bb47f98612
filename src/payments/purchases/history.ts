import { asc, eq } from 'drizzle-orm';
import type { Db, Tx } from '../../platform/database/clients.ts';
import { appendEvents } from '../../platform/delivery/events.ts';
import { history, type purchases } from '../tables.ts';

export type Purchase = typeof purchases.$inferSelect;

/** Who did a step: an account, or a part of ours. */
export type Actor = 'refund' | 'webhook' | 'chain' | 'reconciler' | 'page' | 'request' | `account:${string}`;

/** Adds a step to a purchase's audit trail, in the transaction that makes it. */
export async function note(
  tx: Tx,
  purchaseId: string,
  step: { actor: Actor; what: string; chargeId?: string | null; detail?: Record<string, unknown> },
): Promise<void> {
  await tx.insert(history).values({
    purchaseId,
    actor: step.actor,
    what: step.what,
    chargeId: step.chargeId ?? null,
    detail: step.detail ?? {},
  });
}

/** Everything that happened to a purchase, in order. */
export const trailOf = (db: Db, purchaseId: string) =>
  db.select().from(history).where(eq(history.purchaseId, purchaseId)).orderBy(asc(history.seq));

/** Tells the purchase's account of a new state. The caller has just changed the row. */
export const tellPurchase = (tx: Tx, purchase: Purchase): Promise<void> =>
  appendEvents(tx, [
    {
      accountId: purchase.accountId,
      type: `payments.purchase_${purchase.state}`,
      subjectId: purchase.id,
      payload: {
        state: purchase.state,
        credits: Number(purchase.credits),
        price: Number(purchase.price),
        currency: purchase.currency,
        failure_code: purchase.failureCode,
      },
    },
  ]);

/** Tells of a step of a purchase's charge, for whoever is looking at its page. */
export const tellCharge = (tx: Tx, purchase: Purchase, what: 'charge_opened' | 'charge_ended'): Promise<void> =>
  appendEvents(tx, [
    {
      accountId: purchase.accountId,
      type: `payments.${what}`,
      subjectId: purchase.id,
      payload: { state: purchase.state },
    },
  ]);
