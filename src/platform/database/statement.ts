import { sql as drizzleSql, type SQL } from 'drizzle-orm';
import type { Db, Sql, Tx } from './clients.ts';

/**
 * drizzle replaces its client's serializers, so the two clients agree only on plain values: JSON and times go in as
 * text and are cast (`$1::text::jsonb`); arrays work on the hot client alone.
 */
type Value = string | number | bigint | boolean | Buffer | null | readonly unknown[];

/** One SQL statement as text with `$1…` and the reading of its rows, so that either client can run it. */
export interface Statement<Args extends readonly Value[], Result> {
  text: string;
  parse(rows: Record<string, unknown>[]): Result;
  /** Never called; ties the arguments to the statement's type. */
  args?: (args: Args) => void;
}

/** Runs a statement on the hot client: one prepared round trip, its own transaction. */
export async function runHot<Args extends readonly Value[], Result>(
  sql: Sql,
  statement: Statement<Args, Result>,
  args: Args,
): Promise<Result> {
  return statement.parse(await sql.unsafe(statement.text, args as never, { prepare: true }));
}

/** Runs a statement in an open transaction, or on drizzle's client. */
export async function runIn<Args extends readonly Value[], Result>(
  on: Tx | Db,
  statement: Statement<Args, Result>,
  args: Args,
): Promise<Result> {
  return statement.parse(await on.execute(asDrizzle(statement.text, args)));
}

/** Each use of a parameter becomes one of its own, so every use needs its cast; comments may mention `$1`, too. */
function asDrizzle(text: string, args: readonly Value[]): SQL {
  const pieces = text
    .replace(/--[^\n]*/g, '')
    .split(/\$(\d+)/)
    .map((piece, i) => (i % 2 === 0 ? drizzleSql.raw(piece) : drizzleSql`${args[Number(piece) - 1]}`));
  return drizzleSql.join(pieces);
}

/** A query of drizzle's that is built once for each client and prepared once on each connection. */
export function prepared<Query>(build: (db: Db) => Query): (db: Db) => Query {
  const built = new WeakMap<Db, Query>();
  return (db) => {
    const query = built.get(db) ?? build(db);
    built.set(db, query);
    return query;
  };
}
