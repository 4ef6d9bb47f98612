import { sql } from 'drizzle-orm';
import { bigint, index, integer, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import { createdAt, moment } from '../../platform/database/columns.ts';
import { packages, paymentsSchema, purchases } from '../tables.ts';

export type InvoiceState =
  | 'creating' // the wallet was asked, and has not answered
  | 'open'
  | 'paid'
  | 'expired' // the wallet has said after its end that nothing came
  | 'abandoned' // nobody has ever seen it
  | 'review'; // something else than agreed came

const msat = (name: string) => bigint(name, { mode: 'bigint' });

/** What a package costs in Lightning, as the operator has set it: nobody else's rate decides what a customer pays. */
export const lightningPrices = paymentsSchema.table('lightning_prices', {
  packageId: uuid('package_id')
    .primaryKey()
    .references(() => packages.id),
  amountMsat: msat('amount_msat').notNull(),
});

/** An invoice of our wallet that pays a purchase. Committed before the wallet is asked for it. */
export const invoices = paymentsSchema.table(
  'invoices',
  {
    id: uuid('id').primaryKey(),
    purchaseId: uuid('purchase_id')
      .notNull()
      .references(() => purchases.id),
    amountMsat: msat('amount_msat').notNull(),
    state: text('state').$type<InvoiceState>().notNull().default('creating'),
    bolt11: text('bolt11'),
    /** Says "once" about its money, on every rail. */
    paymentHash: text('payment_hash'),
    /** What the wallet says that it has got. */
    receivedMsat: msat('received_msat'),
    createdAt: createdAt(),
    expiresAt: moment('expires_at'),
    settledAt: moment('settled_at'),
    /** The wallet is asked again then; null when there is nothing left to learn. */
    nextCheckAt: moment('next_check_at'),
    checks: integer('checks').notNull().default(0),
  },
  (t) => [
    uniqueIndex('invoices_payment_hash').on(t.paymentHash),
    // Of one purchase no second invoice while the first can be paid.
    uniqueIndex('invoices_live').on(t.purchaseId).where(sql`state in ('creating', 'open')`),
    index('invoices_purchase').on(t.purchaseId, t.createdAt),
    index('invoices_due').on(t.nextCheckAt).where(sql`next_check_at is not null`),
  ],
);
