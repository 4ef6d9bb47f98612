import { spawn } from 'node:child_process';
import { expect, test } from 'vitest';
import { freePort } from '../../sandbox/postgres.ts';
import { eventually } from '../harness/client.ts';
import { databaseForTest } from '../harness/database.ts';
import { startProvider, testEnvironment } from '../harness/farebox.ts';

/** `npm run serve`: production, and nothing else. */

function serve(environment: Record<string, string>) {
  const child = spawn(process.execPath, ['--import', './src/platform/require-node.mjs', 'src/main.ts'], {
    env: {
      PATH: process.env['PATH'] ?? '',
      NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] ?? '',
      ...environment,
    },
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
    });
  }
  return { child, output: () => text, ended: new Promise<number | null>((resolve) => child.once('exit', resolve)) };
}

// REQ E6.3
test('without a configuration it does not start, and tells everything that is missing at once', async () => {
  const { ended, output } = serve({});
  expect(await ended).toBe(1);
  for (const name of [
    'PUBLIC_URL',
    'DATABASE_URL',
    'ENCRYPTION_KEYS',
    'OMISE_SECRET_KEY',
    'OMISE_PUBLIC_KEY',
    'OMISE_WEBHOOK_SECRETS',
  ]) {
    expect(output()).toContain(`${name}: is required`);
  }
  expect(output()).not.toContain('    at ');
});

test('a wrong value is named, and never shown', async () => {
  const database = await databaseForTest();
  const secret = 'skey_test_5xuyzuxqhdhw7ysa1l9';
  const environment = testEnvironment(database, { port: 3000, omiseUrl: 'http://pay.example.com' });
  const { ended, output } = serve({
    ...environment,
    ENCRYPTION_KEYS: 'k1:tooshort',
    OMISE_PUBLIC_KEY: 'pkey_5xuyzuxqhdhw7ysa1l9',
  });
  expect(await ended).toBe(1);
  expect(output()).toContain('OMISE_URL: must be https');
  expect(output()).toContain('ENCRYPTION_KEYS:');
  for (const value of [secret, 'tooshort', 'pkey_5xuyzuxqhdhw7ysa1l9', 'app-password'])
    expect(output()).not.toContain(value);
});

test('an old schema, and a role that could rewrite the books, are refused in a sentence', async () => {
  const database = await databaseForTest();
  const provider = await startProvider();
  const environment = testEnvironment(database, { port: await freePort(), omiseUrl: provider.url });
  const owner = serve({ ...environment, DATABASE_URL: database.superuserUrl });
  expect(await owner.ended).toBe(1);
  expect(owner.output()).toMatch(/role that could rewrite the ledger|is behind this version/);
  await provider.close();
});

/** Loaded before everything else: names every module of ours. */
const NAMING = `import { registerHooks } from 'node:module';
registerHooks({ load(url, context, next) { if (!url.includes('node_modules')) console.log('loads', url); return next(url, context); } });`;

test('it serves, migrating as the owner, never loads the sandbox, and ends with 0 on SIGTERM', async () => {
  const database = await databaseForTest();
  const provider = await startProvider();
  const port = await freePort();
  const environment = testEnvironment(database, { port, omiseUrl: provider.url });
  const served = serve({
    ...environment,
    MIGRATION_DATABASE_URL: database.ownerUrl,
    LOG_LEVEL: 'info',
    NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(NAMING)}`,
  });
  await eventually(
    async () => served.output(),
    (text) => text.includes('"listening"'),
  );
  expect((await fetch(`http://127.0.0.1:${port}/v1/packages`)).status).toBe(200);
  const loaded = (folder: string) =>
    served.output().includes(`loads ${new URL(`../../${folder}/`, import.meta.url).href}`);
  expect([loaded('src'), loaded('sandbox')]).toEqual([true, false]);
  served.child.kill('SIGTERM');
  expect(await served.ended).toBe(0);
  expect(served.output()).toContain('"stopped"');
  await provider.close();
});
