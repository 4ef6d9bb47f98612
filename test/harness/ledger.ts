import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import {
  type Balances,
  balanceReader,
  type Cause,
  capture,
  hold,
  type Inflow,
  type Outcome,
  post,
  release,
  type Spend,
  spendBatch,
} from '../../src/credits/ledger.ts';
import { type Database, openDatabase } from '../../src/platform/database/clients.ts';
import { faultsInBooks } from './books.ts';
import { cloneDatabase, type TestDatabase } from './database.ts';

/** The ledger as the application role sees it: each verb in a transaction of its own. */
export interface LedgerUnderTest {
  at: TestDatabase;
  database: Database;
  /** The same ledger through a pool of its own; its `database` is for the caller to close. */
  replica(pool: number): Promise<LedgerUnderTest>;
  post(
    account: string,
    kind: Inflow,
    amount: bigint,
    cause?: Cause,
    more?: { parentId?: string; memo?: string },
  ): Promise<Outcome>;
  spend(account: string, amount: bigint, run?: string): Promise<Outcome>;
  spendBatch(spends: Spend[]): Promise<Outcome[]>;
  hold(account: string, holdId: string, amount: bigint, cause?: Cause): Promise<Outcome>;
  capture(account: string, holdId: string, amount: bigint, cause?: Cause): Promise<Outcome>;
  release(account: string, holdId: string, amount: bigint, cause?: Cause): Promise<Outcome>;
  balance(account: string): Promise<Balances>;
  /** A new account with this much available. */
  accountWith(amount: bigint): Promise<string>;
  /** All lines of an account, as `kind debit>credit amount = available/held/debt`. */
  lines(account: string): Promise<string[]>;
  /** Whatever a refusal must leave untouched. */
  footprint(account: string): Promise<string>;
  /** Fails unless the books are in order; then closes and drops everything. */
  close(): Promise<void>;
}

export const cause = (type = 'test', id: string = randomUUID()): Cause => ({ type, id });

export const ledgerForFile = async (pool = 10): Promise<LedgerUnderTest> => ledgerOn(await cloneDatabase(), pool);

async function ledgerOn(at: TestDatabase, pool: number): Promise<LedgerUnderTest> {
  const database = await openDatabase({ url: at.appUrl, pool });
  const { db, sql } = database;
  const ledger: LedgerUnderTest = {
    at,
    database,
    replica: (size) => ledgerOn(at, size),
    post: (account, kind, amount, by = cause(), more = {}) =>
      db.transaction((tx) => post(tx, kind, account, amount, by, more)),
    spend: async (account, amount, run = randomUUID()) => {
      const [row] = await sql`select * from credits.spend(${account}::uuid, ${amount}::bigint, ${run}::uuid)`;
      return {
        result: row?.['result'],
        transferId: row?.['transfer_id'],
        seq: row?.['seq'],
        available: row?.['available'],
        held: row?.['held'],
        debt: row?.['debt'],
      };
    },
    spendBatch: (spends) => spendBatch(sql, spends),
    hold: (account, holdId, amount, by = cause()) =>
      db.transaction((tx) => hold(tx, account, holdId, amount, cause('ask'), by)),
    capture: (account, holdId, amount, by = cause()) =>
      db.transaction((tx) => capture(tx, account, holdId, amount, by)),
    release: (account, holdId, amount, by = cause()) =>
      db.transaction((tx) => release(tx, account, holdId, amount, by)),
    balance: balanceReader(sql),
    accountWith: async (amount) => {
      const account = randomUUID();
      expect((await ledger.post(account, 'grant', amount)).result).toBe('posted');
      return account;
    },
    lines: async (account) => {
      const rows = await sql`select * from credits.transfers where account_id = ${account}::uuid order by seq`;
      return rows.map(
        (row) =>
          `${row['kind']} ${row['debit']}>${row['credit']} ${row['amount']} = ${row['available_after']}/${row['held_after']}/${row['debt_after']}`,
      );
    },
    footprint: async (account) => {
      const rows = await sql`
        select a.*, (select count(*) from credits.transfers t where t.account_id = a.account_id) as lines,
          (select jsonb_agg(h order by h.id) from credits.holds h where h.account_id = a.account_id) as holds
        from credits.accounts a where a.account_id = ${account}::uuid`;
      return JSON.stringify(rows, (_, value) => (typeof value === 'bigint' ? String(value) : value));
    },
    close: async () => {
      const faults = await faultsInBooks(at.superuserUrl);
      await database.close();
      await at.drop();
      expect(faults).toEqual([]);
    },
  };
  return ledger;
}
