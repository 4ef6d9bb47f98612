import { sql } from 'drizzle-orm';
import { index, pgSchema, primaryKey, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import { amount, bytea, createdAt, moment } from '../platform/database/columns.ts';

/** Schema `credits`, as the application may read it. Written only by the functions of that schema. */
export const creditsSchema = pgSchema('credits');

/** An account's balances; the row appears with its first inflow. `seq` and `headHash` are its last transfer's. */
export const balances = creditsSchema.table('accounts', {
  accountId: uuid('account_id').primaryKey(),
  available: amount('available').notNull().default(sql`0`),
  held: amount('held').notNull().default(sql`0`),
  debt: amount('debt').notNull().default(sql`0`),
  seq: amount('seq').notNull().default(sql`0`),
  headHash: bytea('head_hash').notNull().default(sql`''`),
});

/** Credits set aside under an opaque purpose; what is neither captured nor released is still held. */
export const holds = creditsSchema.table(
  'holds',
  {
    accountId: uuid('account_id').notNull(),
    id: uuid('id').notNull(),
    amount: amount('amount').notNull(),
    captured: amount('captured').notNull().default(sql`0`),
    released: amount('released').notNull().default(sql`0`),
    forType: text('for_type').notNull(),
    forId: uuid('for_id').notNull(),
    createdAt: createdAt(),
    expiresAt: moment('expires_at'),
  },
  (t) => [
    primaryKey({ name: 'holds_pkey', columns: [t.accountId, t.id] }),
    index('holds_purpose').on(t.forType, t.forId),
  ],
);

/** One immutable line of the ledger: `amount` moves from the account `debit` to the account `credit`. */
export const transfers = creditsSchema.table(
  'transfers',
  {
    accountId: uuid('account_id').notNull(),
    seq: amount('seq').notNull(),
    id: uuid('id').notNull(),
    kind: text('kind').notNull(),
    debit: text('debit').notNull(),
    credit: text('credit').notNull(),
    amount: amount('amount').notNull(),
    availableAfter: amount('available_after').notNull(),
    heldAfter: amount('held_after').notNull(),
    debtAfter: amount('debt_after').notNull(),
    refType: text('ref_type').notNull(),
    refId: uuid('ref_id').notNull(),
    parentId: uuid('parent_id'),
    memo: text('memo'),
    createdAt: moment('created_at').notNull(),
    hash: bytea('hash').notNull(),
  },
  (t) => [
    primaryKey({ name: 'transfers_pkey', columns: [t.accountId, t.seq] }),
    uniqueIndex('transfers_reference').on(t.accountId, t.refType, t.refId, t.kind),
    // Lines are written in the order of their time: so small a summary finds a day's.
    index('transfers_made').using('brin', t.createdAt),
    // What moved a hold. Spends, nearly all lines, have no entry in it.
    index('transfers_hold').on(t.accountId, t.parentId).where(sql`kind in ('hold', 'capture', 'release')`),
  ],
);
