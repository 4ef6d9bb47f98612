import { execFile } from 'node:child_process';
import { createPublicKey, verify } from 'node:crypto';
import { promisify } from 'node:util';
import postgres from 'postgres';
import { expect, test } from 'vitest';
import { rotateKeys } from '../../src/identity/keys.ts';
import { start } from '../../src/main.ts';
import { readConfig } from '../../src/platform/config.ts';
import { type Db, openDatabase } from '../../src/platform/database/clients.ts';
import { createLog } from '../../src/platform/log.ts';
import { createVault, type Vault } from '../../src/platform/secrets.ts';
import { clientOf, newCustomer, PASSWORD } from '../harness/client.ts';
import { fareboxForTest, type TestFarebox } from '../harness/farebox.ts';
import { partsOf } from '../harness/forged-tokens.ts';
import { inProcess } from '../harness/in-process.ts';

const run = promisify(execFile);
const keysCommand = async (farebox: TestFarebox, ...args: string[]) =>
  (await run(process.execPath, ['src/cli.ts', 'keys', ...args], { env: { ...process.env, ...farebox.environment } }))
    .stdout;
const jwks = async (url: string): Promise<Record<string, string>[]> =>
  (await clientOf(url).ok('GET', '/.well-known/jwks.json')).keys;
const kidOf = (token: string) => String(partsOf(token).header['kid']);
const logIn = async (url: string, email: string): Promise<string> => {
  const body = { email, password: PASSWORD };
  return (await clientOf(url).ok('POST', '/v1/auth/login', { body })).access_token;
};
/** Another replica on the same database, with keys as they are now. */
const replica = async (farebox: TestFarebox) => {
  const running = await start(readConfig({ ...farebox.environment, PORT: '0', WORKERS: 'off' }), createLog('silent'));
  return { url: `http://127.0.0.1:${running.publicPort}`, stop: running.stop };
};
const withRoot = async (farebox: TestFarebox, work: (root: postgres.Sql) => Promise<unknown>) => {
  const root = postgres(farebox.database.superuserUrl, { max: 1 });
  await work(root);
  await root.end();
};
const withKeys = async (farebox: TestFarebox, work: (db: Db, vault: Vault) => Promise<unknown>) => {
  const database = await openDatabase({ url: farebox.database.appUrl, pool: 4 });
  await work(database.db, createVault([{ id: 'k1', key: Buffer.alloc(32, 7) }]));
  await database.close();
};

/** RFC 8037 §3.1, by node:crypto alone. */
function verifies(token: string, keys: Record<string, string>[]): boolean {
  const [header = '', payload = '', signature = ''] = token.split('.');
  const jwk = keys.find(({ kid }) => kid === kidOf(token));
  if (!jwk) return false;
  const key = createPublicKey({ key: jwk, format: 'jwk' });
  return verify(null, Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, 'base64url'));
}

test('anybody can verify a token with the published keys, and the keys tell no secret', async () => {
  const farebox = await fareboxForTest();
  const { token, accountId } = await newCustomer(farebox);
  const reply = await clientOf(farebox.url).get('/.well-known/jwks.json');
  expect(reply.headers.get('cache-control')).toBe('public, max-age=60');
  expect(reply.body).toEqual({
    keys: [
      {
        ...{ kty: 'OKP', crv: 'Ed25519', alg: 'EdDSA', use: 'sig' },
        kid: kidOf(token),
        x: expect.stringMatching(/^[\w-]{43}$/),
      },
    ],
  });
  expect(verifies(token, reply.body.keys)).toBe(true);
  expect(verifies(`${token.slice(0, -10)}AAAAAAAAAA`, reply.body.keys)).toBe(false);
  const { header, payload } = partsOf(token);
  expect(header).toEqual({ alg: 'EdDSA', typ: 'at+jwt', kid: kidOf(token) });
  expect(payload).toEqual({
    ...{ iss: farebox.url, aud: 'farebox', sub: accountId, ver: 1 },
    ...{ sid: expect.any(String), jti: expect.any(String), iat: expect.any(Number), exp: expect.any(Number) },
  });
  expect(Number(payload['exp']) - Number(payload['iat'])).toBe(900);
  await withRoot(farebox, async (root) => {
    const [row] = await root`select private_pem from identity.signing_keys`;
    expect(row?.['private_pem'].toString('latin1')).not.toContain('PRIVATE KEY');
  });
});

test('a new key is published before it signs, then it signs, and tokens of the former verify on', async () => {
  const farebox = await fareboxForTest();
  const customer = await newCustomer(farebox);
  const [first] = await jwks(farebox.url);
  expect(await keysCommand(farebox, 'rotate')).toMatch(/^[\w-]{16} signs from 20/);

  const early = await replica(farebox);
  const keys = await jwks(early.url);
  expect(keys).toHaveLength(2);
  const token = await logIn(early.url, customer.email);
  expect(kidOf(token), 'not yet').toBe(first?.['kid']);
  await early.stop();

  await withRoot(
    farebox,
    (root) => root`update identity.signing_keys set signs_from = now()
    where kid <> ${first?.['kid'] ?? ''}`,
  );
  const late = await replica(farebox);
  const fresh = await logIn(late.url, customer.email);
  expect(kidOf(fresh)).not.toBe(first?.['kid']);
  expect(verifies(fresh, keys), 'with the keys that were published before').toBe(true);
  for (const held of [customer.token, token, fresh]) {
    expect((await clientOf(late.url, { token: held }).get('/v1/me')).status).toBe(200);
  }
  await late.stop();
});

test('a former key verifies for longer than the longest token that it signed', async () => {
  const farebox = await fareboxForTest();
  await withKeys(farebox, (db, vault) => rotateKeys(db, vault));
  await withRoot(farebox, async (root) => {
    const [row] = await root`
      select extract(epoch from retired_at - signs_from) / 86400 as days from identity.signing_keys
      where retired_at is not null`;
    expect(Number(row?.['days']), 'a run may last for 30 days, and its callback token a day more').toBeGreaterThan(31);
  });
});

test('a revoked key ends its tokens, even those that a replica verified before, and log-ins go on', async () => {
  const farebox = await fareboxForTest();
  const customer = await newCustomer(farebox);
  const { front, work } = await inProcess(farebox);
  const me = (token: string) => front.inject({ url: '/v1/me', headers: { authorization: `Bearer ${token}` } });
  expect((await me(customer.token)).statusCode).toBe(200);
  const kid = kidOf(customer.token);
  expect(await keysCommand(farebox, 'revoke', kid)).toBe(`${kid} is revoked\n`);

  await work('signing-keys');
  const refused = await me(customer.token);
  expect([refused.statusCode, refused.json().code]).toEqual([401, 'invalid_token']);
  const published = (await front.inject('/.well-known/jwks.json')).json().keys;
  expect(published.map((key: { kid: string }) => key.kid)).not.toContain(kid);
  const payload = { email: customer.email, password: PASSWORD };
  const session = await front.inject({ method: 'POST', url: '/v1/auth/login', payload });
  const fresh = session.json().access_token;
  expect(kidOf(fresh)).not.toBe(kid);
  expect((await me(fresh)).statusCode).toBe(200);
});

test('revoking a key that there is not changes nothing', async () => {
  const farebox = await fareboxForTest();
  await expect(keysCommand(farebox, 'revoke', 'no-such-key')).rejects.toThrow(/no such key in force/);
  await withRoot(farebox, async (root) => {
    expect(await root`select kid from identity.signing_keys`).toHaveLength(1);
  });
});

test('replicas that start at once on a new installation make one key', async () => {
  const farebox = await fareboxForTest();
  await withRoot(farebox, (root) => root`delete from identity.signing_keys`);
  const replicas = await Promise.all(Array.from({ length: 4 }, () => replica(farebox)));
  const seen = await Promise.all(replicas.map(({ url }) => jwks(url)));
  expect(seen.map((keys) => keys.length)).toEqual([1, 1, 1, 1]);
  expect(new Set(seen.map(([key]) => key?.['kid'])).size).toBe(1);
  await Promise.all(replicas.map(({ stop }) => stop()));
});

test('of keys that are rotated at once none is left without an end but the last', async () => {
  const farebox = await fareboxForTest();
  await withKeys(farebox, (db, vault) => Promise.all(Array.from({ length: 5 }, () => rotateKeys(db, vault))));
  await withRoot(farebox, async (root) => {
    const rows = await root`select retired_at from identity.signing_keys`;
    expect(rows).toHaveLength(6);
    expect(rows.filter((row) => row['retired_at'] === null)).toHaveLength(1);
  });
});
