import { randomInt, randomUUIDv7 } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Load } from './pgbench.ts';
import { accountId, workflowId } from './setup/numbers.ts';
import { COST } from './setup/seed.ts';

/** The very file that the product loads: what is measured here cannot drift from what customers use. */
const text = readFileSync(new URL('../src/workflows/start-run.sql', import.meta.url), 'utf8');

const INPUT = JSON.stringify({ document: 'minutes-2026-11-22.pdf' });
const HASH = Buffer.alloc(32, 7);
const VERSION = 1;

/** Which accounts spend: numbers from and to. The same number twice is one hot account. */
export interface Spenders {
  from: number;
  to: number;
}

export const numberAmong = ({ from, to }: Spenders): number => randomInt(from, to + 1);

/** What a driver hands to the statement for one run. */
export type RunRow = [string, string, string, string, Buffer, string, bigint, number, number, boolean];

export function runRow(n: number): RunRow {
  const run = randomUUIDv7();
  return [accountId.of(n), run, workflowId.of(n), run, HASH, INPUT, COST, VERSION, VERSION, true];
}

/** The same for pgbench: a run's id holds the time first, as version 7 does, so that indexes grow at their end. */
export function spendLoad(spenders: Spenders): Load {
  const run =
    "(lpad(to_hex(:moment::bigint + :turn::bigint), 12, '0') || '70008000' || lpad(to_hex(:salt::bigint * 4096 + :client_id::bigint), 12, '0'))::uuid";
  return {
    text,
    sets: ['\\set account random(:from, :to)', '\\set turn :turn + 1'],
    defines: () => ({
      from: spenders.from,
      to: spenders.to,
      turn: 0,
      moment: Date.now(),
      salt: randomInt(2 ** 32),
      hash: `\\x${HASH.toString('hex')}`,
      input: INPUT,
      cost: COST.toString(),
      version: VERSION,
      fits: 'true',
    }),
    parameters: [
      accountId.sql(':account'),
      run,
      workflowId.sql(':account'),
      `(${run}::text)`,
      ':hash',
      ':input',
      ':cost',
      ':version',
      ':version',
      ':fits',
    ],
    next: () => runRow(numberAmong(spenders)),
  };
}
