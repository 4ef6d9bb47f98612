import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Sql } from 'postgres';
import type { Child } from './setup/children.ts';

/** `farebox audit` beside the load, again and again, as an operator's schedule would have it. */

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const CLI = ['--import', './src/platform/require-node.mjs', 'src/cli.ts', 'audit'];

/** Whether this version of the product has the command. */
export const hasAudit = (): Promise<boolean> =>
  promisify(execFile)(process.execPath, [...CLI, '--help'], { cwd: ROOT }).then(
    ({ stdout }) => /audit/.test(stdout),
    () => false,
  );

/** What one audit of a database at rest has found, with a server's settings. */
export async function faultsInAudit(farebox: Child, url: string): Promise<string[]> {
  const env = { PATH: process.env['PATH'] ?? '', ...farebox.environment, DATABASE_URL: url };
  const child = spawn(process.execPath, [...CLI, '--snapshot'], { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const said = listenTo(child);
  const [code] = (await once(child, 'close')) as [number | null];
  return code === 0 ? [] : [`farebox audit ended with ${code}:\n${said()}`];
}

function listenTo(child: ChildProcess): () => string {
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString('utf8')).slice(-4000);
    });
  }
  return () => said;
}

export interface Auditing {
  /** Ends it; resolves to how many audits were finished. Throws when one has found something. */
  stop(): Promise<number>;
}

const BEGUN_WITHIN_MS = 15_000;

/** Resolves when the first audit is at work in the database. */
export async function auditOn(farebox: Child, admin: Sql): Promise<Auditing> {
  const auditing = repeatAudit(farebox);
  for (const end = Date.now() + BEGUN_WITHIN_MS; Date.now() < end; await sleep(20)) {
    const [at] = await admin`
      select from pg_stat_activity where application_name like 'farebox:audit%' and query not like '%current_setting%'`;
    if (at || auditing.hasEnded()) return auditing;
  }
  await auditing.stop();
  throw new Error('farebox audit did not begin');
}

function repeatAudit(farebox: Child): Auditing & { hasEnded(): boolean } {
  let isOver = false;
  let finished = 0;
  let current: ChildProcess | undefined;
  const repeat = async () => {
    while (!isOver) {
      const env = { PATH: process.env['PATH'] ?? '', ...farebox.environment };
      current = spawn(process.execPath, CLI, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] });
      const said = listenTo(current);
      const [code] = (await once(current, 'close')) as [number | null];
      if (isOver) return;
      if (code !== 0) throw new Error(`farebox audit ended with ${code}:\n${said()}`);
      finished += 1;
    }
  };
  const done = repeat();
  let hasFailed = false;
  done.catch(() => {
    hasFailed = true; // told by `stop`
  });
  return {
    hasEnded: () => finished > 0 || hasFailed,
    stop: async () => {
      isOver = true;
      current?.kill('SIGTERM');
      await done;
      return finished;
    },
  };
}
