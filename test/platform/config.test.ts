import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ConfigFault, exampleEnvironment, readConfig, settingsTable } from '../../src/platform/config.ts';
import { settings } from '../../src/platform/settings.ts';

const key = (fill: number) => Buffer.alloc(32, fill).toString('base64');

/** The least that a Farebox needs to be told. */
const least = {
  PUBLIC_URL: 'https://pay.example.com',
  DATABASE_URL: 'postgres://app:s3cret@db.internal/farebox',
  ENCRYPTION_KEYS: `k1:${key(1)}`,
  OMISE_SECRET_KEY: 'skey_test_5xuyzuxqhdhw7ysa1l9',
  OMISE_PUBLIC_KEY: 'pkey_test_5xuyzuxqhdhw7ysa1l9',
  OMISE_WEBHOOK_SECRETS: key(2),
};

function faultsOf(env: Record<string, string | undefined>): Record<string, string> {
  try {
    readConfig(env);
  } catch (fault) {
    if (!(fault instanceof ConfigFault)) throw fault;
    return Object.fromEntries(fault.faults.map(({ name, message }) => [name, message]));
  }
  return {};
}

async function secretFile(text: string, mode = 0o600): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'farebox-secret-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = join(folder, 'secret');
  await writeFile(file, text);
  await chmod(file, mode);
  return file;
}

test('the least configuration is enough, and the rest has safe defaults', () => {
  expect(readConfig(least)).toMatchObject({
    HOST: '0.0.0.0',
    PORT: 3000,
    INTERNAL_HOST: '127.0.0.1',
    TRUST_PROXY: [],
    ALLOW_INSECURE_DATABASE: false,
    ALLOW_SINGLE_DATABASE_ROLE: false,
    OMISE_URL: 'https://api.omise.co',
    EGRESS_ALLOW: [],
    WEBHOOK_ALLOW: [],
    WORKERS: 'on',
    livemode: false,
  });
});

test('an empty string counts as absent', () => {
  expect(readConfig({ ...least, PORT: '', MIGRATION_DATABASE_URL: '', LOG_LEVEL: '', TRUST_PROXY: '' })).toEqual(
    readConfig(least),
  );
  expect(faultsOf({ ...least, PUBLIC_URL: '' })).toEqual({ PUBLIC_URL: 'is required' });
});

test('an empty environment names everything that is required, at once', () => {
  const required = settingsTable().filter((one) => one.required);
  expect(faultsOf({})).toEqual(Object.fromEntries(required.map((one) => [one.name, 'is required'])));
  expect(required.map((one) => one.name)).toEqual(Object.keys(least));
});

/** Each value is wrong in its way, and all carry a mark that no message may repeat. */
const MARK = 'c4n4ry';
const wrong: Record<string, string> = {
  PUBLIC_URL: `ftp://${MARK}.example.com`,
  HOST: '',
  PORT: `80${MARK}`,
  INTERNAL_PORT: '70000',
  TRUST_PROXY: `10.0.0.0/8,${MARK}`,
  RETURN_ORIGINS: `https://fine.example.com,http://${MARK}.example.com`,
  DATABASE_URL: `mysql://app:${MARK}@db/farebox`,
  MIGRATION_DATABASE_URL: `postgres://owner:${MARK}@db.internal/farebox?sslmode=disable`,
  ALLOW_INSECURE_DATABASE: MARK,
  ALLOW_SINGLE_DATABASE_ROLE: 'yes',
  AUDITOR_ROLE: `Robert'; drop role ${MARK}`,
  AUDITOR_DATABASE_URL: `https://auditor:${MARK}@db/farebox`,
  DATABASE_POOL: '1',
  ENCRYPTION_KEYS: `k1:${MARK}`,
  OMISE_SECRET_KEY: `pkey_test_${MARK}`,
  OMISE_PUBLIC_KEY: `pkey_${MARK}_`,
  OMISE_WEBHOOK_SECRETS: `${MARK}, `,
  OMISE_URL: `http://${MARK}.example.com`,
  OMISE_DEADLINE_MS: '99',
  CURRENCY: MARK,
  OMISE_FEES: `card:265-365,${MARK}:1`,
  OMISE_FEE_TAX: '10001',
  EVM_CHAINS: `[{"name":"${MARK}!","rpc_urls":["http://${MARK}.example.com"],"${MARK}":1}]`,
  NOSTR_RELAYS: `https://${MARK}.example.com`,
  NOSTR_ALLOW: `${MARK}.example.com`,
  ZAP_MAX_MSAT: '0',
  NWC_URL: `nostr+walletconnect://${MARK}?relay=wss://${MARK}.example.com&secret=${MARK}`,
  NOSTR_SECRET_KEY: `nsec1${MARK}`,
  ZAP_PROVIDERS: `${'ab'.repeat(32)}@${MARK}..`,
  ZAP_DESCRIPTION_HASH: MARK,
  ZAP_LNURL: `LNURL1${MARK}`,
  EGRESS_ALLOW: `${MARK}.internal`,
  WEBHOOK_ALLOW: `${MARK}.internal`,
  ACCESS_TOKEN_TTL_S: '59',
  REFRESH_TOKEN_TTL_S: '1e9',
  REFUNDS: 'maybe',
  REFUND_AUTO_CREDITS: '-1',
  REFUND_MAX_CREDITS: '0',
  REFUND_MAX_CREDITS_PER_DAY: 'all',
  REFUND_MAX_CREDITS_PER_ACCOUNT_DAY: '1.5',
  RATE_AUTH_PER_MIN: '0',
  RATE_MONEY_PER_MIN: '-5',
  RATE_READ_PER_MIN: '1.5',
  RATE_WEBHOOK_PER_MIN: MARK,
  MAX_PENDING_PURCHASES: '10001',
  AUDIT_EVERY_MIN: '10081',
  AUDIT_HALT: MARK,
  AUDIT_EXCEPT: `D03,${MARK}`,
  WORKERS: MARK,
  LOG_LEVEL: MARK,
  DRAIN_GRACE_MS: '60001',
};

// REQ E6.3
test('all faults are told at once, each by its setting, and no message repeats a value', () => {
  const faults = faultsOf(wrong);
  const neverWrong = ['HOST', 'INTERNAL_HOST', 'DATABASE_CA_FILE'];
  expect(Object.keys(faults).toSorted()).toEqual(
    Object.keys(settings)
      .filter((name) => !neverWrong.includes(name))
      .toSorted(),
  );
  expect(JSON.stringify(faults)).not.toContain(MARK);
  for (const value of Object.values(wrong)) if (value.length > 5) expect(JSON.stringify(faults)).not.toContain(value);
  const message = new ConfigFault([{ name: 'PORT', message: 'must be a whole number' }]).message;
  expect(message).toBe('Farebox cannot start with this configuration:\n  PORT: must be a whole number');
});

test('fees of a provider are ranges of basis points by method, each named once', () => {
  const fees = (OMISE_FEES: string) => readConfig({ ...least, OMISE_FEES }).OMISE_FEES;
  expect([...fees('promptpay:165, card:265-365')]).toEqual([
    ['promptpay', { least: 165, most: 165 }],
    ['card', { least: 265, most: 365 }],
  ]);
  expect([...readConfig(least).OMISE_FEES.keys()]).toEqual(['promptpay', 'card', 'truemoney', 'mobile_banking']);
  expect(faultsOf({ ...least, OMISE_FEES: 'card:365-265' })).toEqual({
    OMISE_FEES: 'must give the lower number first',
  });
  expect(faultsOf({ ...least, OMISE_FEES: 'card:1,card:2' })).toEqual({ OMISE_FEES: 'must name each method once' });
});

test('the key on Nostr is given either way, and providers with the days on which they were believed', () => {
  const NOSTR_SECRET_KEY = '67dea2ed018072d675f5415ecfaed7d2597555e202d85b3d65ea4e58d2d92ffa'; // the example of NIP-19
  const read = (env: Record<string, string>) => readConfig({ ...least, ...env });
  const nsec = 'nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5';
  expect(read({ NOSTR_SECRET_KEY: nsec }).NOSTR_SECRET_KEY?.toHex()).toBe(NOSTR_SECRET_KEY);
  expect(read({ NOSTR_SECRET_KEY }).NOSTR_SECRET_KEY?.toHex()).toBe(NOSTR_SECRET_KEY);
  expect(Object.keys(faultsOf({ ...least, NOSTR_SECRET_KEY: '0'.repeat(64) }))).toEqual(['NOSTR_SECRET_KEY']);
  const [one, other] = ['ab'.repeat(32), 'cd'.repeat(32)];
  expect(read({ ZAP_PROVIDERS: `${one}, ${other}@2026-01-01..2026-06-30` }).ZAP_PROVIDERS).toEqual([
    { key: one, from: null, until: null },
    { key: other, from: new Date('2026-01-01T00:00:00Z'), until: new Date('2026-06-30T23:59:59.999Z') },
  ]);
  expect(Object.keys(faultsOf({ ...least, ZAP_PROVIDERS: `${one}@2026-13-01..` }))).toEqual(['ZAP_PROVIDERS']);
});

// Faults between settings used to be found only when nothing else was wrong.
test('a fault between two settings is told together with the others', () => {
  expect(faultsOf({ ...least, PORT: 'x', PUBLIC_URL: '', OMISE_PUBLIC_KEY: 'pkey_5xuyzuxqhdhw7ysa1l9' })).toEqual({
    PORT: 'must be a whole number',
    PUBLIC_URL: 'is required',
    OMISE_PUBLIC_KEY: 'must be of the same mode (test or live) as OMISE_SECRET_KEY',
  });
});

test('live and test keys never mix, and the secret key decides the mode', () => {
  const live = { ...least, OMISE_SECRET_KEY: 'skey_5xuyzuxqhdhw7ysa1l9', OMISE_PUBLIC_KEY: 'pkey_5xuyzuxqhdhw7ysa1l9' };
  expect(readConfig(live).livemode).toBe(true);
  expect(readConfig(least).livemode).toBe(false);
  expect(faultsOf({ ...live, OMISE_PUBLIC_KEY: least.OMISE_PUBLIC_KEY })).toHaveProperty('OMISE_PUBLIC_KEY');
  expect(faultsOf({ ...least, OMISE_PUBLIC_KEY: live.OMISE_PUBLIC_KEY })).toHaveProperty('OMISE_PUBLIC_KEY');
});

// REQ E6.2
test.each(['disable', 'allow', 'prefer', 'no-verify', 'DISABLE'])(
  'sslmode=%s is refused unless it is permitted',
  (mode) => {
    const url = `${least.DATABASE_URL}?application_name=x&sslmode=${mode}`;
    for (const name of ['DATABASE_URL', 'MIGRATION_DATABASE_URL']) {
      expect(faultsOf({ ...least, [name]: url })[name]).toContain('must not weaken TLS');
      expect(faultsOf({ ...least, [name]: url, ALLOW_INSECURE_DATABASE: 'true' })).toEqual({});
    }
    expect(faultsOf({ ...least, DATABASE_URL: `${least.DATABASE_URL}?sslmode=verify-full` })).toEqual({});
  },
);

// REQ E6.2
test('what leaves this machine is https', () => {
  expect(faultsOf({ ...least, OMISE_URL: 'http://api.omise.co' })).toHaveProperty('OMISE_URL');
  for (const local of ['http://127.0.0.1:8080', 'http://localhost:8080', 'http://[::1]:8080', 'http://127.9.9.9']) {
    expect(readConfig({ ...least, OMISE_URL: `${local}/` }).OMISE_URL).toBe(local);
  }
  for (const sly of ['http://localhost.example.com', 'http://127.0.0.1.example.com', 'http://127.0.0.1@example.com']) {
    expect(faultsOf({ ...least, OMISE_URL: sly }), sly).toHaveProperty('OMISE_URL');
  }
});

test.each(['postgres:///farebox', 'postgres://db.internal/farebox', 'postgres://'])(
  '%s names no role or no host, which would then come from somewhere else',
  (url) => {
    expect(faultsOf({ ...least, DATABASE_URL: url })).toHaveProperty('DATABASE_URL');
  },
);

test('keys for the vault: 32 bytes each, an id of its own each', () => {
  const ring = readConfig({ ...least, ENCRYPTION_KEYS: `k2:${key(2)}, k1:${key(1)}` }).ENCRYPTION_KEYS;
  expect(ring).toEqual([
    { id: 'k2', key: Buffer.alloc(32, 2) },
    { id: 'k1', key: Buffer.alloc(32, 1) },
  ]);
  for (const bad of [
    key(1),
    'k1:',
    `k1:${Buffer.alloc(31).toString('base64')}`,
    `K1:${key(1)}`,
    `${'k'.repeat(17)}:${key(1)}`,
  ]) {
    expect(faultsOf({ ...least, ENCRYPTION_KEYS: bad }), bad).toHaveProperty('ENCRYPTION_KEYS');
  }
  // The second one could never be found again.
  expect(faultsOf({ ...least, ENCRYPTION_KEYS: `k1:${key(1)},k1:${key(2)}` })).toEqual({
    ENCRYPTION_KEYS: 'must give each key an id of its own',
  });
});

// REQ E6.3
test('each secret may come from a file, without its last line break', async () => {
  const secrets = settingsTable().filter((one) => one.secret);
  expect(secrets.map((one) => one.name)).toEqual(
    expect.arrayContaining(['DATABASE_URL', 'ENCRYPTION_KEYS', 'OMISE_SECRET_KEY', 'OMISE_WEBHOOK_SECRETS']),
  );
  const files: Record<string, string> = {};
  for (const { name } of secrets) {
    const value = (least as Record<string, string>)[name];
    if (value) Object.assign(files, { [name]: '', [`${name}_FILE`]: await secretFile(`${value}\n`) });
  }
  expect(readConfig({ ...least, ...files })).toEqual(readConfig(least));
});

test('a file for what is no secret is not read', () => {
  expect(readConfig({ ...least, PORT_FILE: '/nowhere/at/all' }).PORT).toBe(3000);
});

test('a secret file that is missing, too large, writable by everybody or given twice is told', async () => {
  const open = await secretFile(least.OMISE_SECRET_KEY, 0o666);
  const large = await secretFile('x'.repeat(70_000));
  const { OMISE_SECRET_KEY: _, ...rest } = least;
  const told = (file: string) => faultsOf({ ...rest, OMISE_SECRET_KEY_FILE: file })['OMISE_SECRET_KEY'];
  expect(told('/nowhere')).toBe('OMISE_SECRET_KEY_FILE: the file cannot be read (ENOENT)');
  expect(told(tmpdir())).toMatch(/cannot be read \(EISDIR\)|writable by everybody/);
  expect(told(large)).toBe('OMISE_SECRET_KEY_FILE: the file is too large for a secret');
  expect(told(open)).toBe('OMISE_SECRET_KEY_FILE: the file is writable by everybody');
  expect(told(await secretFile(''))).toBe('is required');
  const both = { ...least, OMISE_SECRET_KEY_FILE: await secretFile(least.OMISE_SECRET_KEY) };
  expect(faultsOf(both)).toEqual({
    OMISE_SECRET_KEY: 'is given twice: as OMISE_SECRET_KEY and as OMISE_SECRET_KEY_FILE',
  });
});

// REQ E6.3
test('a secret that was put where its file belongs is not told', () => {
  const { DATABASE_URL, ...rest } = least;
  const faults = faultsOf({ ...rest, DATABASE_URL_FILE: DATABASE_URL });
  expect(faults).toEqual({ DATABASE_URL: 'DATABASE_URL_FILE: the file cannot be read (ENOENT)' });
});

/** NAME=value lines of the example, the optional ones taken out of their comments. */
const linesOf = (text: string) =>
  Object.fromEntries([...text.matchAll(/^#?([A-Z_]+)=(.*)$/gm)].map(([, name, value]) => [name ?? '', value ?? '']));

test('the example names every setting, and parses back once its secrets are filled in', () => {
  const text = exampleEnvironment();
  const values = linesOf(text);
  expect(Object.keys(values)).toEqual(Object.keys(settings));
  const filled = { ...values, ...least, DATABASE_CA_FILE: '', NWC_URL: '', NOSTR_SECRET_KEY: '' };
  expect(readConfig(filled)).toMatchObject({ TRUST_PROXY: ['10.0.0.0/8'], EGRESS_ALLOW: ['n8n.internal:5678'] });
  // As it is delivered, with only what is required filled in, it is the least configuration.
  const delivered = Object.fromEntries(
    [...text.matchAll(/^([A-Z_]+)=(.*)$/gm)].map(([, name, value]) => [name ?? '', value]),
  );
  expect(Object.keys(delivered)).toEqual(Object.keys(least));
  expect(readConfig({ ...delivered, ...least })).toEqual(readConfig(least));
});

test('every setting has a description, an example and a group', () => {
  for (const one of settingsTable()) {
    expect(one.description.length, one.name).toBeGreaterThan(10);
    expect(one.example, one.name).not.toBe('');
  }
});
