import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import postgres from 'postgres';
import type { Load } from '../pgbench.ts';
import { emptyDatabase } from '../setup/database.ts';
import type { MakePeer } from './peers.ts';

const ACCOUNTS = 10_000;
const CLIENTS = 32;

/**
 * pgledger (github.com/pgr0ss/pgledger): double-entry transfers as functions of the database, as ours, without runs. Its
 * accounts have ids of its own, so a table that is looked into for each transfer tells pgbench the id of the n-th.
 */
export const pgledger =
  (folder: string | undefined): MakePeer =>
  async (server, pgbench) => {
    if (!folder) return undefined;
    const url = await emptyDatabase(server, 'pgledger');
    const client = postgres(url, { max: 1, onnotice: () => {} });
    try {
      for (const file of sqlFiles(folder)) await client.unsafe(readFileSync(file, 'utf8'));
      await client.unsafe(`
        create table bench_accounts as
        select n, account.id
        from generate_series(0, ${ACCOUNTS}) n, lateral pgledger_create_account('account ' || n, 'USD') account`);
      await client.unsafe('alter table bench_accounts add primary key (n)');
      await client.unsafe('vacuum analyze');
    } finally {
      await client.end();
    }
    const run = (load: Load) => (seconds: number) => pgbench.run(url, load, CLIENTS, seconds);
    return {
      subjects: [
        {
          name: `pgledger-many-${CLIENTS}`,
          about: `pgbench, pgledger_create_transfer between random accounts, ${CLIENTS} connections`,
          run: run(transfer(1, ACCOUNTS)),
        },
        {
          name: `pgledger-one-${CLIENTS}`,
          about: `pgbench, pgledger_create_transfer from random accounts to one, ${CLIENTS} connections`,
          run: run(transfer(0, 0)),
        },
      ],
    };
  };

/** What it needs first (a ULID function, in `vendor`), then itself. */
function sqlFiles(folder: string): string[] {
  const own = join(folder, 'pgledger.sql');
  if (!existsSync(own)) throw new Error(`there is no pgledger.sql in ${folder}`);
  const vendor = join(folder, 'vendor');
  const needed = existsSync(vendor)
    ? readdirSync(vendor, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.sql'))
    : [];
  return [...needed.sort().map((name) => join(vendor, name)), own];
}

const half = ACCOUNTS / 2;

/** From the lower half of the accounts to those given, which for many are the upper half. */
function transfer(from: number, to: number): Load {
  const [lowest, highest] = from === to ? [from, to] : [half + 1, to];
  const id = (n: string) => `(select id from bench_accounts where n = ${n}::bigint)`;
  return {
    text: `select * from pgledger_create_transfer(${id('$1')}, ${id('$2')}, '1')`,
    sets: [`\\set from random(1, ${half})`, '\\set to random(:lowest, :highest)'],
    defines: () => ({ lowest, highest }),
    parameters: [':from', ':to'],
    next: () => [1 + Math.floor(Math.random() * half), lowest + Math.floor(Math.random() * (highest - lowest + 1))],
  };
}
