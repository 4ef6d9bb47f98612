import { readFile, rm } from 'node:fs/promises';
import postgres from 'postgres';
import type { TestProject } from 'vitest/node';
import { startPostgres, temporaryHome } from '../../sandbox/postgres.ts';
import { openClient } from '../../src/platform/database/clients.ts';
import { migrate } from '../../src/platform/database/migrate.ts';

/** How the tests reach the one PostgreSQL server of this run. */
export interface TestServer {
  port: number;
  superuserUrl: string;
}

declare module 'vitest' {
  export interface ProvidedContext {
    postgres: TestServer;
  }
}

export const TEMPLATE = 'farebox_template';
export const PASSWORDS = { owner: 'owner-password', app: 'app-password', auditor: 'auditor-password' };

// The process may be killed and the machine may not lose power: what a test needs of durability.
const settings = {
  fsync: 'off',
  full_page_writes: 'off',
  max_connections: '400',
  shared_buffers: '256MB',
  log_min_messages: 'fatal',
};

let running: Promise<() => Promise<void>> | undefined;

/** Called once per vitest project; the server is started by the first. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  running ??= start(project);
  return running;
}

async function start(project: TestProject) {
  const home = temporaryHome();
  const server = await startPostgres({ home, settings });
  await makeTemplate(server.url).catch(async (fault) => {
    await server.stop('immediate');
    throw fault;
  });
  project.vitest.provide('postgres', { port: server.port, superuserUrl: server.url() });
  let stopped = false;
  return async () => {
    if (stopped) return;
    stopped = true;
    await server.stop('immediate');
    await rm(home, { recursive: true, force: true });
  };
}

async function makeTemplate(url: (database?: string) => string) {
  const root = postgres(url(), { max: 1 });
  await root.unsafe(`create database ${TEMPLATE}`);
  await root.end();
  const inside = postgres(url(TEMPLATE), { max: 1, onnotice: () => {} });
  for (const [role, password] of Object.entries(PASSWORDS)) {
    await inside`select set_config(${`farebox.${role}_password`}, ${password}, false)`;
  }
  await inside.unsafe(await readFile('migrations/bootstrap.sql', 'utf8'));
  await inside.end();
  const owner = new URL(url(TEMPLATE));
  owner.username = 'farebox_owner';
  owner.password = PASSWORDS.owner;
  const client = openClient({ url: owner.href });
  await migrate(client, { app: 'farebox_app', auditor: 'farebox_auditor' });
  await client.end();
}
