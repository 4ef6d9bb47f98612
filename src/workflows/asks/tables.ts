import { sql } from 'drizzle-orm';
import { foreignKey, index, integer, primaryKey, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import { amount, createdAt, moment } from '../../platform/database/columns.ts';
import { runs, services, workflowsSchema } from '../tables.ts';

/** `expired`, `released`: it is wanted no more. `written_off`: nobody waits for it, and it can still be paid. */
export type AskState = 'open' | 'part_paid' | 'paid' | 'expired' | 'written_off' | 'released';

/** `start`: before anything begins. `part`: a milestone of a run. `result`: what was delivered before it was paid. */
export type AskKind = 'start' | 'part' | 'result';

/** What a run asks to be paid. Of one run one is open at a time. */
export const asks = workflowsSchema.table(
  'asks',
  {
    accountId: uuid('account_id').notNull(),
    id: uuid('id').notNull(),
    runId: uuid('run_id').notNull(),
    serviceId: uuid('service_id')
      .notNull()
      .references(() => services.id),
    /** 1, 2, 3, … within the run: the milestone that it pays. */
    seq: integer('seq').notNull(),
    kind: text('kind').$type<AskKind>().notNull(),
    /** Credits. */
    amount: amount('amount').notNull(),
    /** Of these, what was set aside for it, taken or not. */
    received: amount('received').notNull().default(sql`0`),
    /** What came beyond it, and went to the account's credits. */
    surplus: amount('surplus').notNull().default(sql`0`),
    state: text('state').$type<AskState>().notNull().default('open'),
    createdAt: createdAt(),
    /** Until then the price holds; of a result: until then it is waited for. */
    expiresAt: moment('expires_at').notNull(),
    closedAt: moment('closed_at'),
  },
  (t) => [
    primaryKey({ name: 'asks_pkey', columns: [t.accountId, t.id] }),
    foreignKey({ name: 'asks_run', columns: [t.accountId, t.runId], foreignColumns: [runs.accountId, runs.id] }),
    uniqueIndex('asks_id').on(t.id),
    uniqueIndex('asks_seq').on(t.accountId, t.runId, t.seq),
    index('asks_account').on(t.accountId, t.createdAt, t.id),
    index('asks_owed')
      .on(t.accountId, t.serviceId, t.createdAt)
      .where(sql`kind = 'result' and state in ('open', 'part_paid', 'written_off')`),
    index('asks_due').on(t.expiresAt).where(sql`state in ('open', 'part_paid')`),
    // Of one run one waits at a time.
    uniqueIndex('asks_waiting').on(t.accountId, t.runId).where(sql`state in ('open', 'part_paid')`),
  ],
);

/** Money that came for an ask, set aside under its own id, and what became of it. */
export const settlements = workflowsSchema.table(
  'settlements',
  {
    accountId: uuid('account_id').notNull(),
    /** Of the hold, and of the arrival where it came from outside. */
    id: uuid('id').notNull(),
    askId: uuid('ask_id').notNull(),
    rail: text('rail').notNull(),
    /** Set aside; what is neither taken nor released still is. */
    credits: amount('credits').notNull(),
    taken: amount('taken').notNull().default(sql`0`),
    released: amount('released').notNull().default(sql`0`),
    /** Of what was taken: given back, because it was not earned. */
    returned: amount('returned').notNull().default(sql`0`),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ name: 'settlements_pkey', columns: [t.accountId, t.id] }),
    foreignKey({ name: 'settlements_ask', columns: [t.accountId, t.askId], foreignColumns: [asks.accountId, asks.id] }),
    index('settlements_of_ask').on(t.accountId, t.askId),
  ],
);

/** What an account may still owe a service, and does: the row that parallel requests wait for. */
export const tabs = workflowsSchema.table(
  'tabs',
  {
    accountId: uuid('account_id').notNull(),
    serviceId: uuid('service_id')
      .notNull()
      .references(() => services.id),
    /** Runs that are to be paid after they are done: under way, or delivered and not paid. */
    runs: integer('runs').notNull().default(0),
    /** What these come to. */
    credits: amount('credits').notNull().default(sql`0`),
    /** Written off and not paid since: as long as there is any, runs are paid upfront. */
    writtenOff: amount('written_off').notNull().default(sql`0`),
  },
  (t) => [primaryKey({ name: 'tabs_pkey', columns: [t.accountId, t.serviceId] })],
);
