import { createHash } from 'node:crypto';
import postgres from 'postgres';

/**
 * An accountant who trusts nobody: recomputes every balance, number, hash and hold from the transfers alone, by code
 * that shares nothing with the ledger's functions. The hash follows docs/ledger-hash.md.
 */

export interface Transfer {
  accountId: string;
  seq: bigint;
  id: string;
  kind: string;
  debit: string;
  credit: string;
  amount: bigint;
  availableAfter: bigint;
  heldAfter: bigint;
  debtAfter: bigint;
  refType: string;
  refId: string;
  parentId: string | null;
  memo: string | null;
  /** Microseconds since 1970-01-01T00:00:00Z. */
  createdAtUs: bigint;
}

/** The text that is hashed: `t1`, then each field as length in bytes, colon, bytes; null is a minus sign. */
export function canonicalText(t: Transfer): string {
  const { accountId, seq, id, kind, debit, credit, amount, availableAfter, heldAfter, debtAfter } = t;
  const moves = [accountId, seq, id, kind, debit, credit, amount, availableAfter, heldAfter, debtAfter];
  const fields = [...moves, t.refType, t.refId, t.parentId, t.memo, t.createdAtUs];
  const field = (value: string | bigint | null) =>
    value === null ? '-' : `${Buffer.byteLength(String(value))}:${value}`;
  return `t1${fields.map(field).join('')}`;
}

export const hashOf = (previous: Buffer, t: Transfer): Buffer =>
  createHash('sha256').update(previous).update(canonicalText(t), 'utf8').digest();

interface AccountRow {
  account_id: string;
  available: string;
  held: string;
  debt: string;
  seq: string;
  head_hash: Buffer;
}

interface HoldRow {
  account_id: string;
  id: string;
  amount: string;
  captured: string;
  released: string;
}

/** Accounts by id; books that are too large for the memory are read in ranges. */
interface Range {
  from: string;
  to: string;
}
const EVERYBODY: Range = { from: '00000000-0000-0000-0000-000000000000', to: 'ffffffff-ffff-ffff-ffff-ffffffffffff' };

/** Everything that does not add up, in words; an empty list is what every test of the ledger ends with. */
export async function faultsInBooks(superuserUrl: string, { from, to } = EVERYBODY): Promise<string[]> {
  const sql = postgres(superuserUrl, { max: 1, onnotice: () => {} });
  try {
    return await sql.begin('isolation level repeatable read read only', async (tx) => {
      const accounts = await tx<AccountRow[]>`
        select account_id, available::text, held::text, debt::text, seq::text, head_hash from credits.accounts
        where account_id between ${from} and ${to}`;
      const holds = await tx<HoldRow[]>`
        select account_id, id, amount::text, captured::text, released::text from credits.holds
        where account_id between ${from} and ${to}`;
      const lines = Map.groupBy(await readTransfers(tx, { from, to }), (line) => line.accountId);
      const faults = accounts.flatMap((account) => faultsOfAccount(account, lines.get(account.account_id) ?? []));
      const known = new Set(accounts.map((account) => account.account_id));
      const orphans = [...lines.keys()]
        .filter((id) => !known.has(id))
        .map((id) => `${id}: transfers without an account`);
      const all = [...lines.values()].flat();
      return [...faults, ...orphans, ...faultsOfHolds(holds, all), ...faultsOfTotals(accounts, all)];
    });
  } finally {
    await sql.end();
  }
}

type Line = Transfer & { hash: Buffer };

async function readTransfers(tx: postgres.TransactionSql, { from, to }: Range): Promise<Line[]> {
  const rows = await tx<(Record<string, string> & { hash: Buffer })[]>`
    select account_id, seq::text, id, kind, debit, credit, amount::text, available_after::text, held_after::text,
      debt_after::text, ref_type, ref_id, parent_id, memo, hash,
      to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') as at
    from credits.transfers where account_id between ${from} and ${to} order by account_id, transfers.seq`;
  return rows.map((row) => ({
    accountId: text(row['account_id']),
    seq: BigInt(text(row['seq'])),
    id: text(row['id']),
    kind: text(row['kind']),
    debit: text(row['debit']),
    credit: text(row['credit']),
    amount: BigInt(text(row['amount'])),
    availableAfter: BigInt(text(row['available_after'])),
    heldAfter: BigInt(text(row['held_after'])),
    debtAfter: BigInt(text(row['debt_after'])),
    refType: text(row['ref_type']),
    refId: text(row['ref_id']),
    parentId: row['parent_id'] ?? null,
    memo: row['memo'] ?? null,
    createdAtUs: microseconds(text(row['at'])),
    hash: row.hash,
  }));
}

function text(value: string | undefined): string {
  if (value === undefined) throw new Error('a column is missing');
  return value;
}

const microseconds = (at: string) => BigInt(Date.parse(`${at.slice(0, 23)}Z`)) * 1000n + BigInt(at.slice(23));

function faultsOfAccount(account: AccountRow, lines: Line[]): string[] {
  const faults: string[] = [];
  const balance = { available: 0n, held: 0n, debt: 0n };
  let seq = 0n;
  let hash: Buffer = Buffer.alloc(0);
  const check = (what: string, found: unknown, computed: unknown) => {
    if (String(found) !== String(computed))
      faults.push(`${account.account_id} #${seq}: ${what} is ${found}, computed ${computed}`);
  };
  for (const line of lines) {
    seq += 1n;
    check('seq', line.seq, seq);
    // What the customer owns grows by a credit; what the customer owes grows by a debit.
    for (const own of ['available', 'held'] as const) {
      if (line.credit === own) balance[own] += line.amount;
      if (line.debit === own) balance[own] -= line.amount;
    }
    if (line.debit === 'debt') balance.debt += line.amount;
    if (line.credit === 'debt') balance.debt -= line.amount;
    hash = hashOf(hash, line);
    check('available after', line.availableAfter, balance.available);
    check('held after', line.heldAfter, balance.held);
    check('debt after', line.debtAfter, balance.debt);
    check('hash', line.hash.toString('hex'), hash.toString('hex'));
    if (Object.values(balance).some((value) => value < 0n)) faults.push(`${account.account_id} #${seq}: below zero`);
    // Between the transfer that makes a repayment possible and the repayment there may be both, and nowhere else.
    if (line.kind === 'repay' && balance.available > 0n && balance.debt > 0n)
      faults.push(`${account.account_id} #${seq}: credits available while there is debt`);
  }
  check('number of transfers', account.seq, seq);
  check('head', account.head_hash.toString('hex'), hash.toString('hex'));
  for (const own of ['available', 'held', 'debt'] as const) check(own, account[own], balance[own]);
  if (balance.available > 0n && balance.debt > 0n) faults.push(`${account.account_id}: debt was not repaid`);
  return faults;
}

function faultsOfHolds(holds: HoldRow[], lines: Line[]): string[] {
  const moved = (hold: HoldRow, kind: string) =>
    lines
      .filter((line) => line.kind === kind && line.accountId === hold.account_id && line.parentId === hold.id)
      .reduce((sum, line) => sum + line.amount, 0n);
  return holds.flatMap((hold) =>
    (
      [
        ['hold', hold.amount],
        ['capture', hold.captured],
        ['release', hold.released],
      ] as const
    )
      .filter(([kind, found]) => moved(hold, kind) !== BigInt(found))
      .map(([kind, found]) => `hold ${hold.id}: ${kind} is ${found}, computed ${moved(hold, kind)}`),
  );
}

/** Over all ledger accounts, the customers' and the system's, credits and debits are the same sum. */
function faultsOfTotals(accounts: AccountRow[], lines: Line[]): string[] {
  const totals = new Map<string, bigint>();
  for (const line of lines) {
    totals.set(line.credit, (totals.get(line.credit) ?? 0n) + line.amount);
    totals.set(line.debit, (totals.get(line.debit) ?? 0n) - line.amount);
  }
  const sum = [...totals.values()].reduce((one, other) => one + other, 0n);
  const owned = (own: 'available' | 'held' | 'debt') => accounts.reduce((all, one) => all + BigInt(one[own]), 0n);
  return [
    ...(sum === 0n ? [] : [`the ledger accounts sum to ${sum}`]),
    ...(owned('available') === (totals.get('available') ?? 0n) ? [] : ['available does not sum up']),
    ...(owned('held') === (totals.get('held') ?? 0n) ? [] : ['held does not sum up']),
    ...(owned('debt') === -(totals.get('debt') ?? 0n) ? [] : ['debt does not sum up']),
  ];
}
