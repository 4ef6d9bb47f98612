import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { openSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server as NetServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startOmise } from '../../sandbox/omise/server.ts';
import { freePort } from '../../sandbox/postgres.ts';
import { AUDITOR_ROLE, type BenchDatabase } from './database.ts';

/** A server under load, in a process of its own as in production. */
export interface Child {
  url: string;
  environment: Record<string, string>;
  /** Processor time that it has used so far, in microseconds; `undefined` where the system does not tell. */
  cpuUs(): number | undefined;
  stop(): Promise<void>;
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const READY_WITHIN_MS = 60_000;
const STOP_WITHIN_MS = 10_000;

/** Starts a script and waits until an address answers. What it writes goes to a file, as logs do. */
async function startChild(args: string[], environment: Record<string, string>, ready: string): Promise<Child> {
  const folder = await mkdtemp(join(tmpdir(), 'farebox-bench-'));
  const file = join(folder, 'log');
  const log = openSync(file, 'w');
  const env = { PATH: process.env['PATH'] ?? '', ...environment };
  const child = spawn(process.execPath, args, { cwd: ROOT, env, stdio: ['ignore', log, log] });
  const gone = once(child, 'exit');
  const stop = async () => {
    if (isAlive(child)) child.kill('SIGTERM');
    await Promise.race([gone, sleep(STOP_WITHIN_MS, undefined, { ref: false })]);
    if (isAlive(child)) child.kill('SIGKILL');
    await gone;
    await rm(folder, { recursive: true, force: true });
  };
  for (const end = Date.now() + READY_WITHIN_MS; ; await sleep(50)) {
    const isReady = await fetch(ready).then(
      (reply) => reply.ok,
      () => false,
    );
    if (isReady) break;
    if (isAlive(child) && Date.now() < end) continue;
    const said = readFileSync(file, 'utf8').slice(-2000);
    await stop();
    throw new Error(`${args.at(-1)} did not start. It said:\n${said}`);
  }
  return { url: new URL(ready).origin, environment, cpuUs: () => cpuOf(child), stop };
}

const isAlive = (child: ChildProcess) => child.exitCode === null && child.signalCode === null;

const TICK_US = 10_000; // USER_HZ is 100 on every Linux

function cpuOf({ pid }: ChildProcess): number | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    return (Number(fields[11]) + Number(fields[12])) * TICK_US;
  } catch {
    return undefined;
  }
}

/** Fastify as it comes: the measure of all HTTP. */
export async function startHello(): Promise<Child> {
  const port = await freePort();
  return startChild(['bench/hello.ts'], { PORT: String(port) }, `http://127.0.0.1:${port}/`);
}

/** The world around the servers: a provider that answers, and an executor that is as busy as can be. */
export interface Surroundings {
  publicUrl: string;
  encryptionKey: { id: string; key: Buffer };
  omise: Awaited<ReturnType<typeof startOmise>>;
  executorPort: number;
  close(): Promise<void>;
}

const keys = { publicKey: 'pkey_test_5bench', secretKey: 'skey_test_5bench' };
const webhookSecret = Buffer.from('webhook secret of the benchmark').toString('base64');

export async function startSurroundings(): Promise<Surroundings> {
  const omise = await startOmise({ ...keys, webhookSecrets: [webhookSecret] });
  const executor = await startBusyExecutor();
  return {
    publicUrl: `http://127.0.0.1:${await freePort()}`,
    encryptionKey: { id: 'bench', key: randomBytes(32) },
    omise,
    executorPort: executor.port,
    close: async () => {
      await omise.close();
      await executor.close();
    },
  };
}

/** Takes every call and never answers: the queue of runs grows, as it does when customers are faster than executors. */
async function startBusyExecutor(): Promise<{ port: number; close(): Promise<void> }> {
  const sockets = new Set<Socket>();
  const server: NetServer = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    socket.resume();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

export interface FareboxOptions {
  workers: 'on' | 'off';
  /** Each run in a transaction of its own. */
  ungrouped?: true;
}

/** `src/main.ts` with production's defaults; only limits are raised, so that a few customers can be a crowd. */
export async function startFarebox(
  database: BenchDatabase,
  { publicUrl, encryptionKey, omise, executorPort }: Surroundings,
  { workers, ungrouped }: FareboxOptions,
): Promise<Child> {
  const [port, internalPort] = [await freePort(), await freePort()];
  const environment = {
    PUBLIC_URL: publicUrl,
    HOST: '127.0.0.1',
    PORT: String(port),
    INTERNAL_PORT: String(internalPort),
    DATABASE_URL: database.appUrl,
    AUDITOR_ROLE,
    ALLOW_INSECURE_DATABASE: 'true',
    ENCRYPTION_KEYS: `${encryptionKey.id}:${encryptionKey.key.toString('base64')}`,
    OMISE_URL: omise.url,
    OMISE_SECRET_KEY: keys.secretKey,
    OMISE_PUBLIC_KEY: keys.publicKey,
    OMISE_WEBHOOK_SECRETS: webhookSecret,
    EGRESS_ALLOW: `127.0.0.1:${executorPort}`,
    RATE_AUTH_PER_MIN: '1000000',
    RATE_MONEY_PER_MIN: '10000000',
    RATE_READ_PER_MIN: '10000000',
    WORKERS: workers,
    LOG_LEVEL: 'info',
    DRAIN_GRACE_MS: '0',
  };
  const hooks = ungrouped ? ['--import', './bench/ungrouped/register.ts'] : [];
  const args = ['--import', './src/platform/require-node.mjs', ...hooks, 'src/main.ts'];
  const child = await startChild(args, environment, `http://127.0.0.1:${internalPort}/readyz`);
  return { ...child, url: `http://127.0.0.1:${port}` };
}
