import { readFile } from 'node:fs/promises';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { canonicalText, hashOf, type Transfer } from '../harness/books.ts';
import { cloneDatabase, type TestDatabase } from '../harness/database.ts';

interface Vector {
  transfer: Record<string, string | number | null> & { created_at: string };
  previous: string;
  text: string;
  utf8: string;
  hash: string;
}

let at: TestDatabase;
let sql: postgres.Sql;
beforeAll(async () => {
  at = await cloneDatabase();
  sql = postgres(at.auditorUrl, { max: 1 });
});
afterAll(async () => {
  await sql.end();
  await at.drop();
});

async function vectors(): Promise<Vector[]> {
  const page = await readFile('docs/ledger-hash.md', 'utf8');
  const block = /```json\n([\s\S]+?)\n```/.exec(page)?.[1];
  return JSON.parse(block ?? '[]');
}

const asTransfer = ({ transfer: t }: Vector): Transfer => ({
  accountId: String(t['account_id']),
  seq: BigInt(t['seq'] ?? 0),
  id: String(t['id']),
  kind: String(t['kind']),
  debit: String(t['debit']),
  credit: String(t['credit']),
  amount: BigInt(t['amount'] ?? 0),
  availableAfter: BigInt(t['available_after'] ?? 0),
  heldAfter: BigInt(t['held_after'] ?? 0),
  debtAfter: BigInt(t['debt_after'] ?? 0),
  refType: String(t['ref_type']),
  refId: String(t['ref_id']),
  parentId: t['parent_id'] as string | null,
  memo: t['memo'] as string | null,
  createdAtUs: BigInt(Date.parse(`${t.created_at.slice(0, 23)}Z`)) * 1000n + BigInt(t.created_at.slice(23, 26)),
});

async function hashInDatabase({ transfer: t, previous }: Vector): Promise<string> {
  const [row] = await sql`
    select encode(credits.transfer_hash(decode(${previous}, 'hex'),
      ${t['account_id'] ?? null}::uuid, ${t['seq'] ?? null}::bigint, ${t['id'] ?? null}::uuid, ${t['kind'] ?? null},
      ${t['debit'] ?? null}, ${t['credit'] ?? null}, ${t['amount'] ?? null}::bigint,
      ${t['available_after'] ?? null}::bigint, ${t['held_after'] ?? null}::bigint, ${t['debt_after'] ?? null}::bigint,
      ${t['ref_type'] ?? null}, ${t['ref_id'] ?? null}::uuid, ${t['parent_id'] ?? null}::uuid, ${t['memo'] ?? null},
      ${t.created_at}::text::timestamptz), 'hex') as hash`;
  return row?.['hash'];
}

test('the documented example is what the database and the independent implementation compute', async () => {
  const all = await vectors();
  expect(all).toHaveLength(2);
  for (const vector of all) {
    const transfer = asTransfer(vector);
    expect(canonicalText(transfer)).toBe(vector.text);
    expect(Buffer.from(vector.text, 'utf8').toString('hex')).toBe(vector.utf8);
    expect(hashOf(Buffer.from(vector.previous, 'hex'), transfer).toString('hex')).toBe(vector.hash);
    expect(await hashInDatabase(vector)).toBe(vector.hash);
  }
});

test('the second example follows from the first', async () => {
  const [one, two] = await vectors();
  expect(two?.previous).toBe(one?.hash);
});

test('the hash does not depend on how a session shows times', async () => {
  const [vector] = await vectors();
  if (!vector) throw new Error('no vector');
  try {
    for (const [zone, style] of [
      ['Asia/Bangkok', 'German'],
      ['America/St_Johns', 'SQL, MDY'],
      ['UTC', 'ISO'],
    ] as const) {
      await sql`select set_config('timezone', ${zone}, false), set_config('datestyle', ${style}, false)`;
      expect(await hashInDatabase(vector)).toBe(vector.hash);
    }
  } finally {
    await sql.unsafe('reset all');
  }
});

test('each field counts: a change of any one changes the hash', async () => {
  const [vector] = await vectors();
  if (!vector) throw new Error('no vector');
  const { transfer } = vector;
  const changed = { ...transfer, seq: 2, amount: 501, available_after: 501, held_after: 1, debt_after: 1 };
  const texts = { kind: 'grant', debit: 'x', credit: 'x', ref_type: 'purchases', memo: null };
  const ids = Object.fromEntries(
    ['account_id', 'id', 'ref_id', 'parent_id'].map((id) => [id, '0193f8a0-0000-7000-8000-00000000ffff']),
  );
  const other: Record<string, string | number | null> = {
    ...changed,
    ...texts,
    ...ids,
    created_at: '2026-01-01T00:00:00.123457Z',
  };
  for (const name of Object.keys(transfer)) {
    const hash = await hashInDatabase({ ...vector, transfer: { ...transfer, [name]: other[name] ?? null } });
    expect(hash, name).not.toBe(vector.hash);
  }
  expect(await hashInDatabase({ ...vector, previous: '00' })).not.toBe(vector.hash);
});

test('no value can pretend to be two fields, and null is not the empty text', async () => {
  const [vector] = await vectors();
  if (!vector) throw new Error('no vector');
  const hashWith = (changed: Record<string, string | null>) =>
    hashInDatabase({ ...vector, transfer: { ...vector.transfer, ...changed } });
  const memos = await Promise.all([null, '', '-', '0:'].map((memo) => hashWith({ memo })));
  expect(new Set(memos).size).toBe(memos.length);
  expect(await hashWith({ kind: 'a1:b', debit: 'c' })).not.toBe(await hashWith({ kind: 'a', debit: 'b1:c' }));
  expect(await hashWith({ kind: 'ab', debit: 'c' })).not.toBe(await hashWith({ kind: 'a', debit: 'bc' }));
});
