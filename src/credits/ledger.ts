import { and, sql as drizzleSql, eq, type Placeholder } from 'drizzle-orm';
import type { Db, Sql, Tx } from '../platform/database/clients.ts';
import { readTogether } from '../platform/database/read-together.ts';
import { prepared, runHot, runIn, type Statement } from '../platform/database/statement.ts';
import { balances, transfers } from './tables.ts';

/**
 * The ledger's verbs: calls of the functions of schema `credits`, which alone can write there. Amounts are credits,
 * positive unless said otherwise. A cause (`ref`) moves money once, for ever.
 */

export interface Balances {
  available: bigint;
  held: bigint;
  debt: bigint;
}

/** What caused a move: the row that says why, by type and uuid. */
export interface Cause {
  type: string;
  id: string;
}

/** On everything but `posted` nothing has moved; balances are those after the call. */
export interface Outcome extends Balances {
  result: 'posted' | 'replay' | 'conflict' | 'insufficient' | 'exceeded' | 'busy';
  transferId: string | null;
  seq: bigint;
}

export type Inflow = 'purchase' | 'grant' | 'return' | 'adjust' | 'clawback';

type Args<T extends unknown[]> = T & readonly (string | bigint | null)[];

const outcome = (rows: Record<string, unknown>[]): Outcome => {
  const row = rows[0];
  if (!row) throw new Error('a ledger verb answered nothing');
  return {
    result: row['result'] as Outcome['result'],
    transferId: row['transfer_id'] as string | null,
    seq: BigInt(row['seq'] as bigint),
    available: BigInt(row['available'] as bigint),
    held: BigInt(row['held'] as bigint),
    debt: BigInt(row['debt'] as bigint),
  };
};

const verb = <T extends unknown[]>(text: string): Statement<Args<T>, Outcome> => ({ text, parse: outcome });

const postVerb = verb<[string, string, bigint, string, string, string | null, string | null]>(
  'select * from credits.post($1::uuid, $2, $3::bigint, $4, $5::uuid, $6::uuid, $7)',
);
const holdVerb = verb<[string, string, bigint, string, string, string | null, string, string]>(
  'select * from credits.hold($1::uuid, $2::uuid, $3::bigint, $4, $5::uuid, $6::text::timestamptz, $7, $8::uuid)',
);
const captureVerb = verb<[string, string, bigint, string, string]>(
  'select * from credits.capture($1::uuid, $2::uuid, $3::bigint, $4, $5::uuid)',
);
const releaseVerb = verb<[string, string, bigint, string, string]>(
  'select * from credits.release($1::uuid, $2::uuid, $3::bigint, $4, $5::uuid)',
);
const linkVerb = verb<[string, string, bigint, string, string]>(
  'select * from credits.link($1::uuid, $2::uuid, $3::bigint, $4, $5::uuid)',
);
const reserveRefundVerb = verb<[string, string, bigint, bigint]>(
  'select * from credits.reserve_refund($1::uuid, $2::uuid, $3::bigint, $4::bigint)',
);
const takeRefundVerb = verb<[string, string, bigint]>(
  'select * from credits.take_refund($1::uuid, $2::uuid, $3::bigint)',
);

/** Books an inflow or a correction; `adjust` may be negative. posted | replay | conflict | insufficient. */
export const post = (
  tx: Tx,
  kind: Inflow,
  accountId: string,
  amount: bigint,
  cause: Cause,
  more: { parentId?: string; memo?: string } = {},
): Promise<Outcome> =>
  runIn(tx, postVerb, [accountId, kind, amount, cause.type, cause.id, more.parentId ?? null, more.memo ?? null]);

/** Sets credits aside under a purpose. posted | replay | conflict | insufficient. */
export const hold = (
  tx: Tx,
  accountId: string,
  holdId: string,
  amount: bigint,
  purpose: Cause,
  cause: Cause,
  expiresAt: Date | null = null,
): Promise<Outcome> =>
  runIn(tx, holdVerb, [
    accountId,
    holdId,
    amount,
    purpose.type,
    purpose.id,
    expiresAt?.toISOString() ?? null,
    cause.type,
    cause.id,
  ]);

/** Takes all or part of a hold. posted | replay | conflict | exceeded. */
export const capture = (tx: Tx, accountId: string, holdId: string, amount: bigint, cause: Cause): Promise<Outcome> =>
  runIn(tx, captureVerb, [accountId, holdId, amount, cause.type, cause.id]);

/** Gives all or part of a hold back. posted | replay | conflict | exceeded. */
export const release = (tx: Tx, accountId: string, holdId: string, amount: bigint, cause: Cause): Promise<Outcome> =>
  runIn(tx, releaseVerb, [accountId, holdId, amount, cause.type, cause.id]);

/** Moves credits to another account of the same owner; the balances are of that one. posted | replay | conflict | insufficient. */
export const link = (tx: Tx, from: string, to: string, amount: bigint, cause: Cause): Promise<Outcome> =>
  runIn(tx, linkVerb, [from, to, amount, cause.type, cause.id]);

/** Sets the credits of a refund aside, of `left` that its subject still has. posted | replay | conflict | insufficient. */
export const reserveRefund = (
  tx: Tx,
  accountId: string,
  refundId: string,
  amount: bigint,
  left: bigint,
): Promise<Outcome> => runIn(tx, reserveRefundVerb, [accountId, refundId, amount, left]);

/** Takes what was set aside: the money has gone back. posted | replay | conflict | exceeded. */
export const takeRefund = (tx: Tx, accountId: string, refundId: string, amount: bigint): Promise<Outcome> =>
  runIn(tx, takeRefundVerb, [accountId, refundId, amount]);

/** Gives back what was set aside: the refund came to nothing. posted | replay | conflict | exceeded. */
export const releaseRefund = (tx: Tx, accountId: string, refundId: string, amount: bigint): Promise<Outcome> =>
  release(tx, accountId, refundId, amount, { type: 'refund', id: refundId });

/** Credits that could be spent at this moment; the next moment may see others. */
export async function availableOf(on: Db | Tx, accountId: string): Promise<bigint> {
  const [row] = await on
    .select({ available: balances.available })
    .from(balances)
    .where(eq(balances.accountId, accountId));
  return row?.available ?? 0n;
}

/** What an account has, as this transaction sees it. */
export async function balancesOf(on: Db | Tx, accountId: string): Promise<Balances> {
  const { available, held, debt } = balances;
  const [row] = await on.select({ available, held, debt }).from(balances).where(eq(balances.accountId, accountId));
  return row ?? { available: 0n, held: 0n, debt: 0n };
}

/** One spend of a batch; `runId` is its cause. */
export interface Spend {
  accountId: string;
  amount: bigint;
  runId: string;
}

/** Amounts go in as text: the driver takes the type of an array from its first element, a bigint for a single number. */
const spendBatchVerb: Statement<[string[], string[], string[]], Outcome[]> = {
  text: 'select * from credits.spend_batch($1::uuid[], $2::bigint[], $3::uuid[]) order by n',
  parse: (rows) => rows.map((row) => outcome([row])),
};

/**
 * Many spends in one commit, accepted exactly as one by one in this order would be; outcomes in the same order.
 * An account that another transaction holds is not waited for: `busy`.
 */
export const spendBatch = (sql: Sql, spends: Spend[]): Promise<Outcome[]> =>
  runHot(sql, spendBatchVerb, [
    spends.map((s) => s.accountId),
    spends.map((s) => s.amount.toString()),
    spends.map((s) => s.runId),
  ]);

const balancesVerb: Statement<[string[]], Map<string, Balances>> = {
  text: 'select account_id, available, held, debt from credits.accounts where account_id = any($1::uuid[])',
  parse: (rows) =>
    new Map(
      (rows as unknown as (Balances & { account_id: string })[]).map(({ account_id, ...balances }) => [
        account_id,
        balances,
      ]),
    ),
};
const NOTHING: Balances = { available: 0n, held: 0n, debt: 0n };

/** Reads balances; zeros before an account's first inflow. Reads that come together share a statement. */
export function balanceReader(sql: Sql): (accountId: string) => Promise<Balances> {
  const find = readTogether((accounts) => runHot(sql, balancesVerb, [accounts]));
  return async (accountId) => (await find(accountId)) ?? NOTHING;
}

const balanceAfterSpend = prepared((db) =>
  db
    .select({ available: transfers.availableAfter, held: transfers.heldAfter, debt: transfers.debtAfter })
    .from(transfers)
    .where(isSpendOf(drizzleSql.placeholder('accountId'), drizzleSql.placeholder('runId')))
    .prepare('balance_after_spend'),
);

/** Balances as they were right after the spend of a run; `undefined` when there was none. */
export async function spendOf(db: Db, accountId: string, runId: string): Promise<Balances | undefined> {
  const [row] = await balanceAfterSpend(db).execute({ accountId, runId });
  return row;
}

/** Gives credits of a run's spend back, once. posted | replay | conflict. */
export async function returnSpend(tx: Tx, accountId: string, runId: string, amount: bigint): Promise<Outcome> {
  const [spend] = await tx.select({ id: transfers.id }).from(transfers).where(isSpendOf(accountId, runId));
  if (!spend) throw new Error('nothing was spent for this run');
  return post(tx, 'return', accountId, amount, { type: 'run', id: runId }, { parentId: spend.id });
}

/** The transfer of a kind that a cause made; throws when there is none. */
export async function transferOf(tx: Tx, accountId: string, { type, id }: Cause, kind: string): Promise<string> {
  const { accountId: owner, refType, refId, kind: ofKind } = transfers;
  const isIt = and(eq(owner, accountId), eq(refType, type), eq(refId, id), eq(ofKind, kind));
  const [transfer] = await tx.select({ id: transfers.id }).from(transfers).where(isIt);
  if (!transfer) throw new Error(`there is no ${kind} of this ${type}`);
  return transfer.id;
}

const isSpendOf = (accountId: string | Placeholder, runId: string | Placeholder) =>
  and(
    eq(transfers.accountId, accountId),
    eq(transfers.refType, 'run'),
    eq(transfers.refId, runId),
    eq(transfers.kind, 'spend'),
  );
