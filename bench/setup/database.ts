import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import postgres from 'postgres';
import { openClient } from '../../src/platform/database/clients.ts';
import { migrate } from '../../src/platform/database/migrate.ts';
import type { Server } from './server.ts';

/** A Farebox database of the benchmark. */
export interface BenchDatabase {
  name: string;
  /** As the application's role: what the product itself may do. */
  appUrl: string;
  superuserUrl: string;
}

const PREFIX = 'farebox_bench';
/** Roles of its own: on a server that has a Farebox, nobody's password changes. */
const ROLES = { owner: `${PREFIX}_owner`, app: `${PREFIX}_app`, auditor: `${PREFIX}_auditor` };
export const AUDITOR_ROLE = ROLES.auditor;

/** Bootstrapped and migrated as in production. What an earlier benchmark has left is removed first. */
export async function makeDatabase(server: Server): Promise<BenchDatabase> {
  await removeAll(server);
  const name = `${PREFIX}_base`;
  await server.admin.unsafe(`create database ${name}`);
  const passwords = { owner: newPassword(), app: newPassword(), auditor: newPassword() };
  const inside = postgres(server.url(name), { max: 1, onnotice: () => {} });
  for (const role of ['owner', 'app', 'auditor'] as const) {
    await inside`select set_config(${`farebox.${role}_role`}, ${ROLES[role]}, false),
      set_config(${`farebox.${role}_password`}, ${passwords[role]}, false)`;
  }
  await inside.unsafe(await readFile(new URL('../../migrations/bootstrap.sql', import.meta.url), 'utf8'));
  await inside.end();
  const owner = openClient({ url: as(server.url(name), ROLES.owner, passwords.owner), insecure: true }, {});
  await migrate(owner, ROLES);
  await owner.end();
  return { name, appUrl: as(server.url(name), ROLES.app, passwords.app), superuserUrl: server.url(name) };
}

/** A second one with the same rows. Nobody may be connected to the first. */
export async function cloneOf(server: Server, database: BenchDatabase, suffix: string): Promise<BenchDatabase> {
  const name = `${PREFIX}_${suffix}`;
  await server.admin.unsafe(`create database ${name} template ${database.name}`);
  await server.admin.unsafe(`grant connect on database ${name} to ${Object.values(ROLES).join(', ')}`);
  const moved = (url: string) => Object.assign(new URL(url), { pathname: `/${name}` }).href;
  return { name, appUrl: moved(database.appUrl), superuserUrl: moved(database.superuserUrl) };
}

/** A database that knows nothing of Farebox, for a peer. */
export async function emptyDatabase(server: Server, suffix: string): Promise<string> {
  await server.admin.unsafe(`create database ${PREFIX}_${suffix}`);
  return server.url(`${PREFIX}_${suffix}`);
}

/** Databases and roles of benchmarks: nothing stays behind on a server that is not ours. */
export async function removeAll(server: Server): Promise<void> {
  const databases = await server.admin<{ name: string }[]>`
    select datname as name from pg_database where datname like ${`${PREFIX}\\_%`}`;
  for (const { name } of databases) await server.admin.unsafe(`drop database ${name} with (force)`);
  for (const role of Object.values(ROLES)) await server.admin.unsafe(`drop role if exists ${role}`);
}

const newPassword = () => randomBytes(18).toString('base64url');

const as = (url: string, username: string, password: string) =>
  Object.assign(new URL(url), { username, password }).href;
