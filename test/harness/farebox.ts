import { onTestFinished } from 'vitest';
import { type OmiseStandIn, startOmise } from '../../sandbox/omise/server.ts';
import { freePort } from '../../sandbox/postgres.ts';
import { type Running, start } from '../../src/main.ts';
import { readConfig } from '../../src/platform/config.ts';
import { createLog } from '../../src/platform/log.ts';
import { cloneDatabase, databaseForTest, type TestDatabase } from './database.ts';

export const omiseKeys = {
  secretKey: 'skey_test_5xuyzuxqhdhw7ysa1l9',
  publicKey: 'pkey_test_5xuyzuxqhdhw7ysa1l9',
  webhookSecret: Buffer.from('webhook-secret-of-the-tests').toString('base64'),
};

/** Settings of a Farebox under test. Real limits are for the tests of limits. */
export const testEnvironment = (
  database: TestDatabase,
  at: { port: number; omiseUrl: string },
): Record<string, string> => ({
  PUBLIC_URL: `http://127.0.0.1:${at.port}`,
  HOST: '127.0.0.1',
  PORT: String(at.port),
  INTERNAL_PORT: '0',
  DATABASE_URL: database.appUrl,
  DATABASE_POOL: '6',
  ENCRYPTION_KEYS: `k1:${Buffer.alloc(32, 7).toString('base64')}`,
  OMISE_SECRET_KEY: omiseKeys.secretKey,
  OMISE_PUBLIC_KEY: omiseKeys.publicKey,
  OMISE_WEBHOOK_SECRETS: omiseKeys.webhookSecret,
  OMISE_URL: at.omiseUrl,
  OMISE_DEADLINE_MS: '2000',
  RATE_AUTH_PER_MIN: '100000',
  RATE_MONEY_PER_MIN: '1000000',
  RATE_READ_PER_MIN: '1000000',
  RATE_WEBHOOK_PER_MIN: '1000000',
  MAX_PENDING_PURCHASES: '1000',
  DRAIN_GRACE_MS: '0',
  LOG_LEVEL: 'silent',
  NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] ?? '', // for processes that are started with it
});

export interface TestFarebox extends Running {
  url: string;
  internalUrl: string;
  database: TestDatabase;
  /** The provider that it talks to, unless another address was given. */
  omise: OmiseStandIn;
  environment: Record<string, string>;
}

export interface FareboxOptions {
  env?: Record<string, string>;
  database?: TestDatabase;
  omise?: OmiseStandIn;
  /** Where log lines go; default: nowhere. */
  log?: { write(line: string): void };
}

/** A whole Farebox on ports of its own, with a provider of its own, over real HTTP. The caller stops it. */
export async function startFarebox(options: FareboxOptions & { database: TestDatabase }): Promise<TestFarebox> {
  const port = await freePort();
  const omise = options.omise ?? (await startProvider());
  omise.control.account({ webhook_uri: `http://127.0.0.1:${port}/v1/webhooks/omise` });
  const environment = { ...testEnvironment(options.database, { port, omiseUrl: omise.url }), ...options.env };
  const config = readConfig(environment);
  const running = await start(config, createLog(options.log ? 'info' : config.LOG_LEVEL, options.log));
  return {
    ...running,
    stop: async () => {
      await running.stop();
      if (!options.omise) await omise.close();
    },
    url: `http://127.0.0.1:${running.publicPort}`,
    internalUrl: `http://127.0.0.1:${running.internalPort}`,
    database: options.database,
    omise,
    environment,
  };
}

/** The same, for one test or, in `beforeAll`, for the tests of a file. */
export async function fareboxForTest(options: FareboxOptions = {}): Promise<TestFarebox> {
  const database = options.database ?? (await databaseForTest());
  const farebox = await startFarebox({ ...options, database });
  onTestFinished(() => farebox.stop());
  return farebox;
}

/** One for all tests of a file: `const shared = sharedFarebox()` beside beforeAll and afterAll. */
export async function fareboxForFile(options: FareboxOptions = {}): Promise<TestFarebox> {
  const database = options.database ?? (await cloneDatabase());
  const farebox = await startFarebox({ ...options, database });
  return {
    ...farebox,
    stop: async () => {
      await farebox.stop();
      await database.drop();
    },
  };
}

export const startProvider = (more: Partial<Parameters<typeof startOmise>[0]> = {}): Promise<OmiseStandIn> =>
  startOmise({
    publicKey: omiseKeys.publicKey,
    secretKey: omiseKeys.secretKey,
    webhookSecrets: [omiseKeys.webhookSecret],
    ...more,
  });
