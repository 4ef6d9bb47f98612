import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from '../database/clients.ts';
import { sqlState } from '../http/failures.ts';
import type { Check, Walk } from './check.ts';

/** How the windows of a walk are paced. */
export interface Pace {
  /** Pause after a window, as a multiple of the time that it took: 1 leaves the database half of the time to others. */
  rest: number;
  signal?: AbortSignal | undefined;
  /** Told after each window. */
  onWindow?(rows: number): void;
}

export interface Found {
  /** Rows that were looked at. */
  rows: number;
  /** By id of the check: how many rows break it, and the keys of some. */
  broken: Map<string, { count: number; examples: string[] }>;
}

export const EXAMPLES = 20;
const FIRST_WINDOW = 1_000;
const SMALLEST_WINDOW = 10;
const LARGEST_WINDOW = 50_000; // if every row of it were broken, that is what is held in memory
/** A window's length follows from how long the one before took: short enough for vacuum and replicas not to mind. */
const WINDOW_MS = 250;
const GROWTH = 4; // at most, from one window to the next
const TIMED_OUT = '57014';

/** Reads a table from end to end and tests each row against the checks. */
export async function walk(sql: Sql, table: Walk, checks: Check[], pace: Pace): Promise<Found> {
  const found: Found = { rows: 0, broken: new Map() };
  let size = table.firstWindow ?? FIRST_WINDOW;
  let after: string[] | null = null;
  for (;;) {
    pace.signal?.throwIfAborted();
    const began = performance.now();
    try {
      const window = await measure(sql, table, after, size);
      if (window.rows === 0) return found;
      add(found, await test(sql, table, checks, { after, last: window.last, size }), window.rows);
      pace.onWindow?.(found.rows);
      if (window.rows < size) return found;
      after = window.last;
    } catch (fault) {
      if (sqlState(fault)?.code !== TIMED_OUT || size <= SMALLEST_WINDOW) throw fault;
      size = Math.max(SMALLEST_WINDOW, Math.floor(size / 10));
      continue;
    }
    const took = performance.now() - began;
    const fitting = size * Math.min(GROWTH, WINDOW_MS / took);
    size = Math.min(LARGEST_WINDOW, Math.max(SMALLEST_WINDOW, Math.floor(fitting)));
    if (pace.rest > 0) await sleep(took * pace.rest, undefined, { signal: pace.signal });
  }
}

/** The window that begins after a key: its rows, and the key of the last one. Reads the index only, as a rule. */
async function measure(sql: Sql, walk: Walk, after: string[] | null, size: number) {
  const columns = walk.key.map(([column]) => column);
  const [last] = await sql.unsafe(
    `select n, ${columns.map((column) => `${column}::text`).join(', ')} from (
       select row_number() over (order by ${columns.join(', ')}) as n, ${columns.join(', ')} from ${walk.table}
       where ${after ? isBeyond(walk, 1) : 'true'} and ${walk.where ?? 'true'} order by ${columns.join(', ')} limit ${size}
     ) rows order by n desc limit 1`,
    after ?? [],
  );
  return { rows: Number(last?.['n'] ?? 0), last: columns.map((column) => String(last?.[column])) };
}

interface Broken {
  id: string;
  count: number;
  examples: string[];
}

/** First whether anything at all is broken, which is nearly never; only then what. */
async function test(sql: Sql, walk: Walk, checks: Check[], window: Window): Promise<Iterable<Broken>> {
  const conditions = checks.map(({ id, broken }) => ({ id, broken: `((${broken}) is not false)` }));
  const place = [...window.last, ...(window.after ?? [])];
  const [any] = await sql.unsafe(
    `select from ${rowsOf(walk, window)} where ${conditions.map(({ broken }) => broken).join('\nor ')} limit 1`,
    place,
  );
  if (!any) return [];
  const key = walk.key.map(([column]) => `${walk.as}.${column}`).join(', ');
  const told = conditions.map(({ id, broken }) => `('${id}', ${broken})`).join(',\n');
  return sql.unsafe<Broken[]>(
    `select found.id, count(*)::int as count, (array_agg(found.key))[1:${EXAMPLES}] as examples
     from (
       select which.id, concat_ws(' ', ${key}) as key
       from ${rowsOf(walk, window)} cross join lateral (values ${told}) as which (id, broken)
       where which.broken
     ) found group by found.id`,
    place,
  );
}

interface Window {
  after: string[] | null;
  last: string[];
  size: number;
}

/**
 * The limit is more than the window can have got in the meantime. It tells the planner, which knows nothing of row
 * comparisons, that the window is small, and to walk along the key.
 */
const rowsOf = (walk: Walk, { after, size }: Window) => `(
  select ${walk.columns?.join(', ') ?? '*'} from ${walk.table}
  where ${isWithin(walk, 1)} and ${after ? isBeyond(walk, 1 + walk.key.length) : 'true'}
    and ${walk.where ?? 'true'}
  order by ${walk.key.map(([column]) => column).join(', ')} limit ${2 * size}
) ${walk.as} ${walk.join ?? ''}`;

/** SQL: how a row lies to the key that is given by the parameters from this one on. */
const lies = (operator: string, { key }: Walk, from: number) =>
  `(${key.map(([column]) => column).join(', ')}) ${operator} (${key.map(([, type], i) => `$${from + i}::${type}`).join(', ')})`;
const isBeyond = (walk: Walk, from: number) => lies('>', walk, from);
const isWithin = (walk: Walk, from: number) => lies('<=', walk, from);

function add(found: Found, rows: Iterable<Broken>, looked: number): void {
  found.rows += looked;
  for (const { id, count, examples } of rows) {
    const before = found.broken.get(id) ?? { count: 0, examples: [] };
    found.broken.set(id, {
      count: before.count + count,
      examples: [...before.examples, ...examples].slice(0, EXAMPLES),
    });
  }
}
