import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { onTestFinished } from 'vitest';
import type { OmiseStandIn } from '../../sandbox/omise/server.ts';
import { freePort } from '../../sandbox/postgres.ts';
import type { Json } from './client.ts';
import { cloneDatabase, databaseForTest, type TestDatabase } from './database.ts';
import { type FareboxOptions, startProvider, type TestFarebox, testEnvironment } from './farebox.ts';

/** A Farebox in a process of its own: one that can die. Everything a `TestFarebox` is used for works with it, too. */
export interface ChildFarebox extends TestFarebox {
  /** SIGKILL: nothing is finished, nothing is told. Resolves when the process is gone. */
  kill(): Promise<void>;
  /** SIGTERM; resolves when it has drained and is gone. */
  stop(): Promise<void>;
  /** A new process with the same environment, on the same ports; resolves when it listens. */
  start(): Promise<void>;
  /** Resolves to the exit code of the process that runs now: `null` when a signal ended it. */
  exited(): Promise<number | null>;
  /** What all its processes have logged, parsed; lines that are not JSON are `{ raw }`. */
  logged: Json[];
  /** The process that runs now, or has ended last. */
  process(): ChildProcess | undefined;
}

const READY_WITHIN_MS = 30_000; // half a second on a machine with nothing else to do
const KEPT_LINES = 10_000;

interface ChildOptions extends Omit<FareboxOptions, 'log'> {
  /** A module that is loaded before `src/main.ts`; it may talk with the test by `process.send`. */
  preload?: URL;
}

/** `src/main.ts` as a child process, for one test. Log lines are kept: `LOG_LEVEL` is `info` unless `env` says otherwise. */
export async function childForTest(options: ChildOptions = {}): Promise<ChildFarebox> {
  const database = options.database ?? (await databaseForTest());
  const omise = options.omise ?? (await startProvider());
  if (!options.omise) onTestFinished(() => omise.close());
  const child = await makeChild(database, omise, options);
  onTestFinished(() => child.kill());
  await child.start();
  return child;
}

/** The same for all tests of a file, in `beforeAll`; `close` in `afterAll`. */
export async function childForFile(options: ChildOptions = {}): Promise<ChildFarebox & { close(): Promise<void> }> {
  const database = options.database ?? (await cloneDatabase());
  const omise = options.omise ?? (await startProvider());
  const child = await makeChild(database, omise, options);
  const close = async () => {
    await child.kill();
    if (!options.omise) await omise.close();
    if (!options.database) await database.drop();
  };
  await child.start().catch(async (fault) => {
    await close();
    throw fault;
  });
  return Object.assign(child, { close });
}

/** Not started yet. */
async function makeChild(
  database: TestDatabase,
  omise: OmiseStandIn,
  { env = {}, preload }: ChildOptions,
): Promise<ChildFarebox> {
  const [publicPort, internalPort] = [await freePort(), await freePort()];
  omise.control.account({ webhook_uri: `http://127.0.0.1:${publicPort}/v1/webhooks/omise` });
  const environment = {
    ...testEnvironment(database, { port: publicPort, omiseUrl: omise.url }),
    INTERNAL_PORT: String(internalPort),
    LOG_LEVEL: 'info',
    ...env,
  };
  const logged: Json[] = [];
  let current: ChildProcess | undefined;
  const signal = async (name: 'SIGKILL' | 'SIGTERM') => {
    if (!current || isGone(current)) return;
    const gone = once(current, 'exit');
    current.kill(name);
    await gone;
  };
  return {
    publicPort,
    internalPort,
    url: `http://127.0.0.1:${publicPort}`,
    internalUrl: `http://127.0.0.1:${internalPort}`,
    database,
    omise,
    environment,
    logged,
    process: () => current,
    kill: () => signal('SIGKILL'),
    stop: () => signal('SIGTERM'),
    exited: async () => {
      if (current && !isGone(current)) await once(current, 'exit');
      return current?.exitCode ?? null;
    },
    start: async () => {
      await signal('SIGKILL');
      const args = [...(preload ? ['--import', preload.href] : []), 'src/main.ts'];
      current = spawn(process.execPath, args, {
        env: environment,
        stdio: ['ignore', 'pipe', 'pipe', ...(preload ? (['ipc'] as const) : [])],
      });
      await listening(current, logged);
    },
  };
}

const isGone = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null;

/** Resolves when the process says that it listens; rejects with what it said when it ends before, or is too slow. */
function listening(child: ChildProcess, logged: Json[]): Promise<void> {
  const said: string[] = [];
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not ready in time\n${said.join('\n')}`)), READY_WITHIN_MS);
    const take = (line: string) => {
      const entry = parse(line);
      if (logged.length < KEPT_LINES) logged.push(entry);
      if (said.length < 50) said.push(line);
      if (entry.msg !== 'listening') return;
      clearTimeout(timer);
      resolve();
    };
    for (const stream of [child.stdout, child.stderr]) if (stream) createInterface(stream).on('line', take);
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(timer);
      reject(new Error(`ended with ${code} before it listened\n${said.join('\n')}`));
    });
  });
}

function parse(line: string): Json {
  try {
    return JSON.parse(line);
  } catch {
    return { raw: line };
  }
}
