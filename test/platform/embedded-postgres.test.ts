import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { chmod, chown, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import {
  type EmbeddedPostgres,
  postgresHome,
  StartFault,
  startPostgres,
  temporaryHome,
} from '../../sandbox/postgres.ts';
import { eventually } from '../harness/client.ts';

const run = promisify(execFile);
const settings = { shared_buffers: '16MB', max_connections: '20' };
const isRoot = process.getuid?.() === 0;

/** Made once and copied for each test: an initdb takes a second. */
let prepared: string;
beforeAll(async () => {
  prepared = temporaryHome();
  const server = await startPostgres({ home: prepared, settings });
  const sql = connect(server);
  await sql`create table kept (what text)`;
  await sql.end();
  await server.stop();
});
afterAll(() => rm(prepared, { recursive: true }));

const connect = (server: EmbeddedPostgres) => postgres(server.url(), { max: 1, onnotice: () => {} });

async function homeForTest(): Promise<string> {
  const home = temporaryHome();
  await run('cp', ['-a', prepared, home]);
  onTestFinished(() => rm(home, { recursive: true, force: true }));
  return home;
}

async function startForTest(home: string, more: { port?: number } = {}): Promise<EmbeddedPostgres> {
  const server = await startPostgres({ home, settings, ...more });
  onTestFinished(() => server.stop('immediate'));
  return server;
}

async function keep(server: EmbeddedPostgres, what: string): Promise<void> {
  const sql = connect(server);
  await sql`insert into kept values (${what})`;
  await sql.end();
}

async function kept(server: EmbeddedPostgres): Promise<string[]> {
  const sql = connect(server);
  const rows = await sql`select what from kept order by what`;
  await sql.end();
  return rows.map((row) => row['what']);
}

test.each(['fast', 'immediate', 'kill'] as const)('what was committed is there after a stop by %s', async (mode) => {
  const home = await homeForTest();
  const first = await startForTest(home);
  await keep(first, 'something');
  // A session at work: after SIGKILL of the postmaster it lives on for a moment and keeps the folder's memory.
  const busy = connect(first);
  busy`select pg_sleep(30)`.catch(() => {});
  await eventually(
    async () => {
      const sql = connect(first);
      const seen = await sql`select from pg_stat_activity where query like '%pg_sleep%' and pid <> pg_backend_pid()`;
      await sql.end();
      return seen.length;
    },
    (n) => n === 1,
  );
  await first.stop(mode);
  expect(await first.exited).toEqual(mode === 'kill' ? { code: null, signal: 'SIGKILL' } : expect.anything());
  const second = await startForTest(home);
  expect(await kept(second)).toEqual(['something']);
  await busy.end({ timeout: 0 });
});

/** A process that starts the server of a folder, tells its address, and waits. */
async function startInChild(home: string, prelude = '') {
  const script = `
    ${prelude}
    const { startPostgres } = await import(${JSON.stringify(resolve('sandbox/postgres.ts'))});
    const server = await startPostgres({ home: ${JSON.stringify(home)}, settings: ${JSON.stringify(settings)} });
    console.log(server.url());
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return { child, url: line.toString('utf8').trim() };
}

const serverPid = (home: string) => Number.parseInt(readFileSync(join(home, 'data/postmaster.pid'), 'utf8'), 10);

test('the server of a parent that was killed is stopped, and the data is there', async () => {
  const home = await homeForTest();
  const { child, url } = await startInChild(home);
  const sql = postgres(url, { max: 1 });
  await sql`insert into kept values ('of the killed one')`;
  const left = serverPid(home);
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(await sql`select 1 as one`).toEqual([{ one: 1 }]);
  await sql.end();
  const server = await startForTest(home);
  expect(serverPid(home)).not.toBe(left);
  await expect(postgres(url, { max: 1 })`select 1`).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  expect(await kept(server)).toEqual(['of the killed one']);
});

// A second start used to stop the first one's server under it.
test('a server whose parent lives is left alone, and who holds the folder is told', async () => {
  const home = await homeForTest();
  const { child, url } = await startInChild(home);
  const starting = startPostgres({ home, settings });
  await expect(starting).rejects.toThrow(StartFault);
  await expect(starting).rejects.toThrow(`process ${child.pid} has started its PostgreSQL`);
  const sql = postgres(url, { max: 1 });
  expect(await sql`select 1 as one`).toEqual([{ one: 1 }]);
  await sql.end();
  child.kill('SIGKILL');
  await once(child, 'exit');
  await startForTest(home); // which stops it
});

// pg_ctl sends its signal to whatever has the number that a crashed machine left in the pid file.
test('a process that has the number of a server from before a crash is left alone', async () => {
  const home = await homeForTest();
  const { uid, gid } = statSync(join(home, 'data'));
  const innocent = spawn('sleep', ['60'], { stdio: 'ignore', ...(isRoot ? { uid, gid } : {}) });
  onTestFinished(() => {
    innocent.kill();
  });
  await once(innocent, 'spawn');
  const stale = [innocent.pid, join(home, 'data'), 0, 5432, '', '127.0.0.1', '  0 0', 'ready   ', ''].join('\n');
  const file = join(home, 'data/postmaster.pid');
  await writeFile(file, stale, { mode: 0o600 });
  if (isRoot) await chown(file, uid, gid);
  const server = await startForTest(home);
  expect(innocent.exitCode ?? innocent.signalCode).toBeNull();
  expect(await kept(server)).toEqual([]);
});

test('an initdb that was interrupted is made anew', async () => {
  const home = temporaryHome();
  onTestFinished(() => rm(home, { recursive: true }));
  await mkdir(join(home, 'data.new/base'), { recursive: true });
  await writeFile(join(home, 'data.new/PG_VERSION'), '18');
  await writeFile(join(home, 'data.new.password'), 'left over');
  const server = await startForTest(home);
  const sql = connect(server);
  expect(
    await sql`select current_setting('data_checksums') as sums, current_setting('server_encoding') as encoding`,
  ).toEqual([{ sums: 'on', encoding: 'UTF8' }]);
  await sql.end();
  expect(existsSync(join(home, 'data.new'))).toBe(false);
  expect(existsSync(join(home, 'data.new.password'))).toBe(false);
});

test('the data of another major version is told clearly and left as it is', async () => {
  const home = await homeForTest();
  await writeFile(join(home, 'data/PG_VERSION'), '17\n');
  const starting = startPostgres({ home, settings });
  await expect(starting).rejects.toThrow(StartFault);
  await expect(starting).rejects.toThrow(`${home}/data was made by PostgreSQL 17; this is 18. Move that folder away`);
  expect(await readFile(join(home, 'data/PG_VERSION'), 'utf8')).toBe('17\n');
});

test('a start that fails says what PostgreSQL said', async () => {
  const home = await homeForTest();
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const address = taken.address();
  if (address === null || typeof address === 'string') throw new Error('no address');
  await expect(startPostgres({ home, settings, port: address.port })).rejects.toThrow(/Address already in use/);
  await expect(startPostgres({ home, settings: { shared_buffers: 'many' } })).rejects.toThrow(
    /invalid value for parameter/,
  );
  taken.close();
});

test('the password is random, for the owner’s eyes, and the only way in', async () => {
  const home = await homeForTest();
  const server = await startForTest(home);
  const file = join(home, 'postgres-password');
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect((await readFile(file, 'utf8')).length).toBeGreaterThanOrEqual(24);
  const wrong = new URL(server.url());
  wrong.password = 'postgres';
  await expect(postgres(wrong.href, { max: 1 })`select 1`).rejects.toMatchObject({ code: '28P01' });
});

// Under root the server runs as another user, who must be able to walk to its files.
test.runIf(isRoot)(
  'a clone in a folder that only root may enter: binaries are copied, the data lies elsewhere',
  async () => {
    const locked = await mkdtemp(join(tmpdir(), 'locked-'));
    const clone = join(locked, 'clone');
    await mkdir(join(clone, 'sandbox'), { recursive: true });
    await chmod(locked, 0o700);
    await cp('sandbox/postgres.ts', join(clone, 'sandbox/postgres.ts'));
    await writeFile(join(clone, 'package.json'), '{"type":"module"}');
    await symlink(resolve('node_modules'), join(clone, 'node_modules'));
    const home = postgresHome(join(clone, '.farebox/postgres'));
    onTestFinished(() => Promise.all([locked, home].map((one) => rm(one, { recursive: true }))).then(() => {}));
    expect(home).toMatch(/^\/var\/lib\/farebox\/.*locked-.*-clone-farebox-postgres$/);
    const script = `
    const { startPostgres } = await import(${JSON.stringify(join(clone, 'sandbox/postgres.ts'))});
    const server = await startPostgres({ home: ${JSON.stringify(home)}, settings: ${JSON.stringify(settings)} });
    await server.stop();
    console.log('started and stopped');`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script]);
    expect(stdout).toBe('started and stopped\n');
    expect(existsSync(join(home, 'postgres-18.4.0-beta.17/bin/postgres'))).toBe(true);
    expect(postgresHome('/srv/farebox')).toBe('/srv/farebox');
  },
);

test.runIf(isRoot)('a strict umask of root does not lock the server’s user out', async () => {
  const home = join(temporaryHome(), 'deeper');
  onTestFinished(() => rm(join(home, '..'), { recursive: true }));
  const { url } = await startInChild(home, 'process.umask(0o077);');
  const sql = postgres(url, { max: 1 });
  expect(await sql`select 1 as one`).toEqual([{ one: 1 }]);
  await sql.end();
  process.kill(serverPid(home), 'SIGQUIT');
  await eventually(
    async () => existsSync(join(home, 'data/postmaster.pid')),
    (there) => !there,
  );
});
