import { type DatabaseOptions, openClient, type Sql } from '../database/clients.ts';
import type { Check, Walk } from './check.ts';
import { EXAMPLES, type Pace, walk } from './windows.ts';

/** What became of one check. */
export interface CheckResult {
  id: string;
  rule: string;
  /** What it looked at. */
  over: string;
  /** How many of them; `null`: it looked at the whole. */
  checked: number | null;
  offending: number;
  /** Keys of what breaks the rule, some of them. */
  examples: string[];
  money: boolean;
  /** Checks over the same rows are made together; the time is that of all of them. */
  ms: number;
}

export interface AuditResult {
  mode: Mode;
  startedAt: Date;
  finishedAt: Date;
  checks: CheckResult[];
}

/** `live`: each window by itself, beside the work of the day. `snapshot`: all at one moment, of a database at rest. */
export type Mode = 'live' | 'snapshot';

export const isSound = ({ checks }: Pick<AuditResult, 'checks'>): boolean => checks.every((one) => one.offending === 0);

const settings = {
  default_transaction_read_only: 'on',
  // One backend, which works in the little memory that every session has; and nothing to compile for each window.
  max_parallel_workers_per_gather: 0,
  jit: 'off',
  lock_timeout: 2_000,
};
/** A pause after each window, as long as the window took: half of the time belongs to the work of the day. */
export const restOf = (mode: Mode): number => (mode === 'live' ? 1 : 0);

/** No window comes near; one that does is taken again in smaller pieces. */
const LIVE_STATEMENT_MS = 5_000;

/** A connection of its own for an audit. The caller ends it. */
export const openAuditClient = (options: Omit<DatabaseOptions, 'pool'>, mode: Mode): Sql =>
  openClient(options, {
    ...settings,
    statement_timeout: mode === 'live' ? LIVE_STATEMENT_MS : 0,
    idle_in_transaction_session_timeout: mode === 'live' ? 10_000 : 0,
  });

export interface Progress {
  over: string;
  rows: number;
  /** As the planner's statistics have it; nothing where they know nothing. */
  about: number;
}

export interface Tempo extends Pick<Pace, 'rest' | 'signal'> {
  onProgress?: ((progress: Progress) => void) | undefined;
}

/** Makes every check on a connection of `openAuditClient` for the same mode. */
export async function runAudit(sql: Sql, checks: Check[], mode: Mode, tempo: Tempo): Promise<AuditResult> {
  const startedAt = new Date();
  const asked = checks.filter(({ only }) => only === undefined || only === mode);
  const work = async (on: Sql) => {
    const results = new Map<string, CheckResult>();
    for (const [over, group] of Map.groupBy(asked, (check) => check.over)) {
      const found = typeof over === 'string' ? await query(on, over, group) : await walkOver(on, over, group, tempo);
      for (const result of found) results.set(result.id, result);
    }
    return asked.flatMap(({ id }) => results.get(id) ?? []);
  };
  const done =
    mode === 'live'
      ? await work(sql)
      : await sql.begin('isolation level repeatable read read only', (tx) => work(tx as unknown as Sql));
  return { mode, startedAt, finishedAt: new Date(), checks: done };
}

async function walkOver(sql: Sql, over: Walk, checks: Check[], tempo: Tempo): Promise<CheckResult[]> {
  const [table] = await sql<{ about: number }[]>`
    select greatest(reltuples, 0)::float8 as about from pg_catalog.pg_class
    where oid = ${over.table}::regclass`;
  const tell = (rows: number) => tempo.onProgress?.({ over: over.name, rows, about: Number(table?.about ?? 0) });
  const began = performance.now();
  tell(0);
  const { rows, broken } = await walk(sql, over, checks, { ...tempo, onWindow: tell });
  const ms = performance.now() - began;
  return checks.map((check) => {
    const { count = 0, examples = [] } = broken.get(check.id) ?? {};
    return resultOf(check, over.name, { checked: rows, offending: count, examples, ms });
  });
}

async function query(sql: Sql, over: string, checks: Check[]): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  for (const check of checks) {
    const began = performance.now();
    const [row] = await sql.unsafe<{ count: number; examples: string[] | null }[]>(
      `select count(*)::int as count, (array_agg(found.key))[1:${EXAMPLES}] as examples from (${check.broken}) found`,
    );
    const { count = 0, examples } = row ?? {};
    const ms = performance.now() - began;
    results.push(resultOf(check, over, { checked: null, offending: count, examples: examples ?? [], ms }));
  }
  return results;
}

const resultOf = (
  { id, rule, money }: Check,
  over: string,
  found: Pick<CheckResult, 'checked' | 'offending' | 'examples' | 'ms'>,
): CheckResult => ({ id, rule, over, money: money ?? false, ...found, ms: Math.round(found.ms) });
