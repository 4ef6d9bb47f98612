import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { startPostgres, temporaryHome } from '../../sandbox/postgres.ts';
import { makeTemplate } from './template.ts';

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
  // Hundreds of processes load the same modules: what one has compiled the others need not.
  process.env['NODE_COMPILE_CACHE'] = join(home, 'compiled');
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
    await rm(home, { recursive: true, force: true, maxRetries: 5 }); // a process on its way out may yet write what it compiled
  };
}
