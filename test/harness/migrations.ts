import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import { onTestFinished } from 'vitest';
import { openClient, type Sql } from '../../src/platform/database/clients.ts';
import type { Release, Roles } from '../../src/platform/database/migrate.ts';
import { databaseForTest, type TestDatabase } from './database.ts';

export const ROLES: Roles = { app: 'farebox_app', auditor: 'farebox_auditor' };

/** A release of Farebox that can be changed: a copy of the migrations in a folder of its own. */
export interface TestRelease extends Release {
  write(file: string, text: string): Promise<void>;
  append(file: string, text: string): Promise<void>;
}

export async function releaseForTest(version = '1.0.0', from = 'migrations'): Promise<TestRelease> {
  const root = await mkdtemp(join(tmpdir(), 'farebox-migrations-'));
  onTestFinished(() => rm(root, { recursive: true }));
  await cp(from, root, { recursive: true });
  return {
    root,
    version,
    write: (file, text) => writeFile(join(root, file), text),
    append: async (file, text) => writeFile(join(root, file), (await readFile(join(root, file), 'utf8')) + text),
  };
}

/** A database that was bootstrapped and never migrated. */
export async function emptyDatabaseForTest(): Promise<TestDatabase> {
  const at = await databaseForTest('template0');
  const root = postgres(at.superuserUrl, { max: 1, onnotice: () => {} });
  await root.unsafe(await readFile('migrations/bootstrap.sql', 'utf8'));
  await root.end();
  return at;
}

/** A client without time limits, ended with the test. */
export function clientForTest(url: string): Sql {
  const client = openClient({ url }, {});
  onTestFinished(() => client.end({ timeout: 1 }));
  return client;
}
