import { rm } from 'node:fs/promises';
import { onTestFinished } from 'vitest';
import { type EmbeddedPostgres, freePort, startPostgres, temporaryHome } from '../../sandbox/postgres.ts';
import { makeTemplate, PASSWORDS, TEMPLATE } from './template.ts';

/** A PostgreSQL of one test's own, migrated and durable as in production, which may be stopped and started again. */
export interface OwnServer {
  appUrl: string;
  superuserUrl: string;
  stop(mode: 'fast' | 'immediate' | 'kill'): Promise<void>;
  /** At the same address as before. */
  start(): Promise<void>;
}

export async function ownServerForTest(): Promise<OwnServer> {
  const home = temporaryHome();
  const port = await freePort();
  const settings = { shared_buffers: '32MB', max_connections: '60' };
  let server: EmbeddedPostgres | undefined = await startPostgres({ home, port, settings });
  onTestFinished(async () => {
    await server?.stop('immediate');
    await rm(home, { recursive: true });
  });
  await makeTemplate(server.url);
  const superuserUrl = server.url(TEMPLATE);
  const app = new URL(superuserUrl);
  Object.assign(app, { username: 'farebox_app', password: PASSWORDS.app });
  return {
    appUrl: app.href,
    superuserUrl,
    stop: async (mode) => {
      await server?.stop(mode);
      server = undefined;
    },
    start: async () => {
      server = await startPostgres({ home, port, settings });
    },
  };
}
