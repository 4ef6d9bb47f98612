import { chmod, chown, copyFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type EmbeddedPostgres, startPostgres, temporaryHome } from '../../sandbox/postgres.ts';
import { openClient } from '../../src/platform/database/clients.ts';

/** Anywhere but on this machine, the database is reached by verified TLS. 0.0.0.0 is such an address that leads here. */

// Made for these tests alone: `openssl req -x509 -newkey ec … -addext subjectAltName=IP:0.0.0.0`.
const CA = 'test/harness/certificates/database.crt';
const KEY = 'test/harness/certificates/database.key';
let home: string;
let server: EmbeddedPostgres | undefined;

beforeAll(async () => {
  home = temporaryHome();
  const first = await startPostgres({ home, settings: { fsync: 'off' } });
  await first.stop();
  const data = join(home, 'data');
  const { uid, gid } = await stat(data);
  for (const [from, name] of [
    [CA, 'server.crt'],
    [KEY, 'server.key'],
  ] as const) {
    await copyFile(from, join(data, name));
    await chown(join(data, name), uid, gid);
    await chmod(join(data, name), 0o600); // git keeps no such mode, and the server insists on it
  }
});
afterEach(async () => {
  await server?.stop();
  server = undefined;
});
afterAll(() => rm(home, { recursive: true, force: true }));

/** Starts the server with settings and asks it, from elsewhere, how we are connected. */
async function connection(
  settings: Record<string, string>,
  more: { caFile?: string; insecure?: boolean; suffix?: string } = {},
) {
  server = await startPostgres({ home, settings: { fsync: 'off', ...settings } });
  const url = server.url().replace('127.0.0.1', '0.0.0.0') + (more.suffix ?? '');
  const client = openClient({ url, ...more });
  try {
    const [row] = await client<
      { ssl: boolean; version: string | null }[]
    >`select ssl, version from pg_stat_ssl where pid = pg_backend_pid()`;
    return row;
  } finally {
    await client.end();
  }
}

// REQ E6.2
test('a certificate of the given authority is accepted, by TLS 1.2 or newer', async () => {
  const { ssl, version } = (await connection({ ssl: 'on' }, { caFile: CA })) ?? {};
  expect(ssl).toBe(true);
  expect(['TLSv1.2', 'TLSv1.3']).toContain(version);
});

// REQ E6.2
test('a certificate that nobody vouches for is refused, also when the URL asks for less care', async () => {
  await expect(connection({ ssl: 'on' })).rejects.toThrow(/self-signed|unable to verify/i);
  await server?.stop();
  await expect(connection({ ssl: 'on' }, { suffix: '?sslmode=no-verify' })).rejects.toThrow(
    /self-signed|unable to verify/i,
  );
});

// REQ E6.2
test('a server without TLS, or with TLS 1.1 at most, is refused', async () => {
  await expect(connection({ ssl: 'off' }, { caFile: CA })).rejects.toThrow();
  await server?.stop();
  const old = { ssl: 'on', ssl_min_protocol_version: 'TLSv1', ssl_max_protocol_version: 'TLSv1.1' };
  await expect(connection(old, { caFile: CA })).rejects.toThrow();
});

test('only an explicit permission goes without', async () => {
  expect(await connection({ ssl: 'off' }, { insecure: true })).toMatchObject({ ssl: false });
});
