import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import postgres from 'postgres';
import { planByIndex } from '../src/platform/database/clients.ts';
import { closedLoop } from './closed-loop.ts';
import type { Sample } from './rounds.ts';

/** A statement with `$1…`, and what stands for them: in pgbench, and in a driver. */
export interface Load {
  text: string;
  /** Lines before the statement: variables that change from turn to turn. */
  sets: string[];
  /** Variables that stay; made anew for each call of pgbench. */
  defines(): Record<string, string | number>;
  /** For each parameter in turn an SQL expression over pgbench's variables. */
  parameters: string[];
  /** The parameters themselves. */
  next(): readonly unknown[];
}

export interface Pgbench {
  version: string;
  isReal: boolean;
  /** So many connections, each with one statement at a time, for so many whole seconds. */
  run(url: string, load: Load, clients: number, seconds: number): Promise<Sample>;
}

const execute = promisify(execFile);
/** On a busy machine. Its duration begins before its connections are made (and its rate after that). */
const CONNECTS_PER_S = 10;

/** pgbench of this machine, of whatever version; without one, a loop over a driver that says that it is one. */
export async function findPgbench(): Promise<Pgbench> {
  for (const file of candidates()) {
    const version = await execute(file, ['--version']).then(
      ({ stdout }) => stdout.trim(),
      () => undefined,
    );
    if (version) return { version, isReal: true, run: (...args) => runPgbench(file, ...args) };
  }
  process.stderr.write(`There is no pgbench on this machine, so a bare loop over postgres.js stands in for it, which is slower.
Ratios to it flatter. To install it: apt-get install postgresql (its server need not run), or brew install libpq.\n`);
  return { version: 'none: a bare loop over postgres.js', isReal: false, run: bareLoop };
}

function candidates(): string[] {
  const onPath = (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, 'pgbench'));
  const debian = '/usr/lib/postgresql';
  const installed = existsSync(debian) ? readdirSync(debian).sort().reverse() : [];
  return [...onPath, ...installed.map((version) => join(debian, version, 'bin/pgbench'))].filter((file) =>
    existsSync(file),
  );
}

/**
 * The statement as a script of pgbench: comments go, each `$n` becomes its expression, and nothing else changes. Values
 * that hold a colon (JSON) come in as variables, because pgbench would take `:name` inside of a literal for one.
 */
const scriptOf = ({ text, sets, parameters }: Load): string => {
  const statement = text
    .replace(/--[^\n]*/g, '')
    .replace(/\$(\d+)/g, (_, n: string) => parameters[Number(n) - 1] ?? `$${n}`)
    .trim();
  return `${[...sets, statement].join('\n')};\n`;
};

async function runPgbench(file: string, url: string, load: Load, clients: number, seconds: number): Promise<Sample> {
  const folder = await mkdtemp(join(tmpdir(), 'farebox-pgbench-'));
  try {
    const script = join(folder, 'script.sql');
    await writeFile(script, scriptOf(load));
    const defines = Object.entries(load.defines()).flatMap(([name, value]) => ['-D', `${name}=${value}`]);
    const wholeSeconds = Math.max(Math.ceil(seconds), Math.ceil(clients / CONNECTS_PER_S));
    const shape = ['-c', String(clients), '-j', String(Math.min(2, clients)), '-T', String(wholeSeconds)];
    const { stdout } = await execute(file, ['-n', '-M', 'prepared', ...shape, ...defines, '-f', script], {
      env: { ...process.env, ...environmentOf(url) },
      maxBuffer: 16 * 1024 * 1024,
    }).catch((fault: Error & { stderr?: string }) => {
      throw new Error(`pgbench: ${fault.stderr?.slice(0, 2000) || fault.message}`);
    });
    return readReport(stdout);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Not on the command line, where every user of the machine could read the password. */
function environmentOf(url: string): Record<string, string> {
  const { hostname, port, username, password, pathname } = new URL(url);
  return {
    PGHOST: hostname.replace(/^\[|\]$/g, ''),
    PGPORT: port || '5432',
    PGUSER: decodeURIComponent(username),
    PGPASSWORD: decodeURIComponent(password),
    PGDATABASE: decodeURIComponent(pathname.slice(1)),
    // As the product's own connections.
    PGOPTIONS: Object.entries(planByIndex)
      .map(([setting, value]) => `-c ${setting}=${value}`)
      .join(' '),
  };
}

function readReport(text: string): Sample {
  const number = (pattern: RegExp) => Number(pattern.exec(text)?.[1] ?? Number.NaN);
  const operations = number(/transactions actually processed: (\d+)/);
  const rate = number(/tps = ([\d.]+) \(without initial/);
  const failed = number(/failed transactions: (\d+)/);
  if (!(operations > 0 && rate > 0) || failed > 0) throw new Error(`pgbench said:\n${text.slice(-2000)}`);
  return { operations, seconds: operations / rate, notes: { 'mean ms': number(/latency average = ([\d.]+)/) } };
}

async function bareLoop(url: string, load: Load, clients: number, seconds: number): Promise<Sample> {
  const sql = postgres(url, { max: clients, onnotice: () => {}, types: { bigint: postgres.BigInt } });
  try {
    return await closedLoop(clients, seconds, async () => {
      await sql.unsafe(load.text, load.next() as never, { prepare: true });
    });
  } finally {
    await sql.end();
  }
}
