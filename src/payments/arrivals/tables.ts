import { sql } from 'drizzle-orm';
import { index, jsonb, primaryKey, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import { amount, createdAt } from '../../platform/database/columns.ts';
import { paymentsSchema, purchases } from '../tables.ts';

/** Money that arrived for something of another context: once by its rail's own key, credited and set aside with it. */
export const arrivals = paymentsSchema.table(
  'arrivals',
  {
    rail: text('rail').notNull(),
    /** What the rail calls this payment: a payment hash, a charge, a completion. */
    key: text('key').notNull(),
    /** Also the id of the hold. */
    id: uuid('id').notNull(),
    accountId: uuid('account_id').notNull(),
    /** What it is worth. */
    credits: amount('credits').notNull(),
    /** Of these, what was set aside: less where an old debt was paid first, none where it came for nothing. */
    held: amount('held').notNull().default(sql`0`),
    /** Opaque; null: it came for nothing in particular, and tops the account up. */
    forType: text('for_type'),
    forId: uuid('for_id'),
    /** That brought the credits; null: the arrival itself did. */
    purchaseId: uuid('purchase_id').references(() => purchases.id),
    /** What the rail can show for it. */
    evidence: jsonb('evidence').notNull().default({}),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ name: 'arrivals_pkey', columns: [t.rail, t.key] }),
    uniqueIndex('arrivals_id').on(t.id),
    index('arrivals_purpose').on(t.forType, t.forId, t.createdAt),
    index('arrivals_purchase').on(t.purchaseId).where(sql`purchase_id is not null`),
  ],
);
