import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { sql } from 'drizzle-orm';
import { expect, onTestFinished, test } from 'vitest';
import { freePort } from '../../sandbox/postgres.ts';
import { type Database, openClient, openDatabase } from '../../src/platform/database/clients.ts';
import { isDatabaseUp } from '../../src/platform/installation.ts';
import { eventually } from '../harness/client.ts';
import { databaseForTest } from '../harness/database.ts';

const run = promisify(execFile);

async function opened(url: string, pool = 2): Promise<Database> {
  const database = await openDatabase({ url, pool });
  onTestFinished(() => database.close());
  return database;
}

const limits = `
  select current_setting('lock_timeout') as lock, current_setting('statement_timeout') as statement,
    current_setting('idle_in_transaction_session_timeout') as idle, current_setting('transaction_timeout', true) as whole,
    current_setting('application_name') as name`;
const usual = { lock: '2s', statement: '5s', idle: '10s', whole: '15s' };

test('nobody waits for ever: every session of every client carries the limits', async () => {
  const { sql: hot, db, health } = await opened((await databaseForTest()).appUrl);
  expect(await hot.unsafe(limits)).toEqual([{ ...usual, name: 'farebox:hot' }]);
  expect(await db.execute(sql.raw(limits))).toEqual([{ ...usual, name: 'farebox:main' }]);
  expect(await health.unsafe(limits)).toEqual([{ ...usual, name: 'farebox:health' }]);
  for (const client of [hot, health]) expect(client.options).toMatchObject({ answer_timeout: 10, connect_timeout: 5 });
});

test('a migration has no limits and one connection, which is not given up for its age', async () => {
  const client = openClient({ url: (await databaseForTest()).ownerUrl }, {});
  expect(await client.unsafe(limits)).toEqual([
    { lock: '0', statement: '0', idle: '0', whole: '0', name: 'farebox:task' },
  ]);
  expect(client.options).toMatchObject({ max: 1, idle_timeout: 0, max_lifetime: 0, answer_timeout: 0 });
  await client.end();
});

/** A server older than `transaction_timeout`, which came with 17. Debian's 15 stands for 16: both do not know it. */
const OLD = '/usr/lib/postgresql/15/bin';

async function oldServer(): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), 'farebox-old-postgres-'));
  const port = await freePort();
  const postgres = /^postgres:[^:]*:(\d+):(\d+)/m.exec(readFileSync('/etc/passwd', 'utf8'));
  const asRoot = process.getuid?.() === 0;
  const user = asRoot ? { uid: Number(postgres?.[1]), gid: Number(postgres?.[2]) } : {};
  if (user.uid !== undefined) await chown(home, user.uid, user.gid ?? 0);
  await run(join(OLD, 'initdb'), ['-D', join(home, 'data'), '-U', 'postgres', '--auth=trust'], { ...user, cwd: '/' });
  const flags = ['-D', join(home, 'data'), '-p', String(port), '-c', 'unix_socket_directories=', '-c', 'fsync=off'];
  const server: ChildProcess = spawn(join(OLD, 'postgres'), flags, { ...user, cwd: '/', stdio: 'ignore' });
  const gone = new Promise((done) => server.once('exit', done));
  onTestFinished(async () => {
    server.kill('SIGQUIT');
    await gone;
    await rm(home, { recursive: true });
  });
  return `postgres://postgres@127.0.0.1:${port}/postgres`;
}

test.runIf(existsSync(OLD))('a server that does not know transaction_timeout is served without it', async () => {
  const url = await oldServer();
  const database = await eventually(
    () => openDatabase({ url, pool: 1 }).catch(() => undefined),
    (one) => one !== undefined,
  );
  if (!database) throw new Error('not opened');
  onTestFinished(() => database.close());
  expect(await database.sql.unsafe(limits)).toEqual([{ ...usual, whole: null, name: 'farebox:hot' }]);
  expect(await isDatabaseUp(database, 2000)).toBe(true);
  // What would happen otherwise, and did: the connection itself is refused.
  const asking = openClient({ url }, { transaction_timeout: 15_000 });
  await expect(asking`select 1`).rejects.toMatchObject({ code: '42704' });
});

test('the two clients read what the other wrote: bigints, times, JSON and bytes', async () => {
  const { sql: hot, db } = await opened((await databaseForTest()).appUrl);
  const statement =
    "select 9007199254740993::bigint as big, '\\x00ff'::bytea as bytes, '[1]'::jsonb as json, now() as at";
  const [fast] = await hot.unsafe(statement);
  const [slow] = await db.execute(sql.raw(statement));
  expect(fast).toMatchObject({ big: 9007199254740993n, bytes: Buffer.from([0, 255]), json: [1], at: expect.any(Date) });
  expect(slow).toMatchObject({ big: 9007199254740993n, bytes: Buffer.from([0, 255]), json: [1] });
});

/** Listens where a database would, and tells whether the client asked for TLS first (SSLRequest, 80877103). */
async function asksForTls(host: string, insecure = false): Promise<boolean> {
  const sockets = new Set<Socket>();
  const asked = Promise.withResolvers<boolean>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once('data', (bytes: Buffer) => asked.resolve(bytes.length === 8 && bytes.readUInt32BE(4) === 80877103));
    socket.on('error', () => {});
  });
  await new Promise<void>((done) => server.listen(0, '::', done));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no address');
  const client = openClient({ url: `postgres://u:p@${host}:${address.port}/d`, insecure });
  client`select 1`.catch(() => {});
  try {
    return await asked.promise;
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
    await client.end({ timeout: 0 });
  }
}

// REQ E6.2
test.each([
  ['localhost', false],
  ['127.0.0.1', false],
  ['127.9.9.9', false],
  ['[::1]', false],
  // Names that begin like this machine's were taken for it, and were spoken to in plain text.
  ['localhost.localdomain.test', true],
  ['127.0.0.1.test', true],
])('%s is spoken to with TLS: %s', async (host, tls) => {
  if (!tls) expect(await asksForTls(host)).toBe(false);
  else expect(openClient({ url: `postgres://u:p@${host}/d` }).options.ssl).toMatchObject({ rejectUnauthorized: true });
});

// REQ E6.2
test('TLS is 1.2 or newer, with the name checked, and no parameter of the URL weakens it', async () => {
  const ca = join(await mkdtemp(join(tmpdir(), 'farebox-ca-')), 'ca.pem');
  await writeFile(ca, 'a certificate');
  for (const weak of ['', '?sslmode=disable', '?ssl=false', '?sslmode=no-verify&ssl=prefer']) {
    const client = openClient({ url: `postgres://u:p@db.internal/d${weak}`, caFile: ca });
    expect(client.options.ssl, weak).toMatchObject({
      minVersion: 'TLSv1.2',
      rejectUnauthorized: true,
      ca: 'a certificate',
    });
  }
  expect(openClient({ url: 'postgres://u:p@db.internal/d', insecure: true }).options.ssl).toBe(false);
  await rm(join(ca, '..'), { recursive: true });
});

test('of several hosts not one is spoken to in plain text because the first is this machine', () => {
  const client = openClient({ url: 'postgres://u:p@localhost,db.internal/d' });
  expect(client.options.host).toEqual(['localhost', 'db.internal']);
  expect(client.options.ssl).toMatchObject({ rejectUnauthorized: true });
});

test('a full pool does not look like a dead database', async () => {
  const database = await opened((await databaseForTest()).appUrl);
  const busy = Array.from({ length: 4 }, () => database.sql`select pg_sleep(0.3)`);
  expect(await isDatabaseUp(database, 500)).toBe(true);
  await Promise.all(busy);
});

test('a database that is not there is down within the time given', async () => {
  const at = await databaseForTest();
  const database = await opened(at.appUrl);
  expect(await isDatabaseUp(database, 1000)).toBe(true);
  await at.drop();
  expect(await isDatabaseUp(database, 300)).toBe(false);
});
