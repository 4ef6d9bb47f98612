import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildApp, type Lifecycle } from './app.ts';
import { databaseOptions } from './platform/commands.ts';
import { type Config, ConfigFault, readConfig } from './platform/config.ts';
import { openClient, openDatabase } from './platform/database/clients.ts';
import { checkSchema, migrate, rolesOf, SchemaFault } from './platform/database/migrate.ts';
import { BootFault, checkInstallation } from './platform/installation.ts';
import { createLog, type Log } from './platform/log.ts';

export interface Running {
  publicPort: number;
  internalPort: number;
  /** Answers on while the load balancer looks away, finishes what is in hand, then closes everything. */
  stop(): Promise<void>;
}

/** Everything is over by then, or it is cut off: what was acknowledged is in the database. */
const STOP_WITHIN_MS = 25_000;
/** npm hands on a signal that we have had from the terminal: the same one, not a second wish. */
const SAME_SIGNAL_MS = 1_000;

/** Starts Farebox with a configuration; resolves when both listeners answer. */
export async function start(config: Config, log: Log): Promise<Running> {
  await prepareDatabase(config, log);
  const database = await openDatabase(databaseOptions(config));
  const lifecycle: Lifecycle = { phase: 'serving' };
  try {
    await checkInstallation(database, {
      livemode: config.livemode,
      allowSingleRole: config.ALLOW_SINGLE_DATABASE_ROLE,
    });
    const { front, internal, workers, crew, close } = await buildApp(config, database, log, lifecycle);
    if (config.WORKERS === 'on') crew.start(workers);
    await internal.listen({ host: config.INTERNAL_HOST, port: config.INTERNAL_PORT });
    await front.listen({ host: config.HOST, port: config.PORT });
    const stop = async () => {
      lifecycle.phase = 'draining';
      await sleep(config.DRAIN_GRACE_MS);
      lifecycle.phase = 'closing';
      await close();
      await Promise.all([crew.stop(), front.close(), internal.close()]);
      await database.close();
    };
    return { publicPort: portOf(front.server.address()), internalPort: portOf(internal.server.address()), stop };
  } catch (fault) {
    await database.close();
    throw fault;
  }
}

/** As the owner: migrate. Without the owner's URL: check that somebody did. */
async function prepareDatabase(config: Config, log: Log): Promise<void> {
  const owner = config.MIGRATION_DATABASE_URL;
  const client = openClient({ ...databaseOptions(config), url: owner ?? config.DATABASE_URL }, owner ? {} : undefined);
  try {
    if (owner) await migrate(client, rolesOf(config), (name) => log.info({ migration: name }, 'applying'));
    else await checkSchema(client, rolesOf(config));
  } finally {
    await client.end();
  }
}

const portOf = (address: ReturnType<import('node:net').Server['address']>) =>
  address !== null && typeof address === 'object' ? address.port : 0;

/** The process of `npm run serve`: production, and nothing else. */
async function main(): Promise<void> {
  const log = createLog(process.env['LOG_LEVEL'] ?? 'info');
  try {
    const config = readConfig(process.env);
    const running = await start(config, log);
    log.info(
      { public_port: running.publicPort, internal_port: running.internalPort, livemode: config.livemode },
      'listening',
    );
    const signal = await Promise.race(['SIGTERM', 'SIGINT'].map((name) => once(process, name).then(() => name)));
    log.info({ signal }, 'stopping');
    const asked = Date.now();
    for (const again of ['SIGTERM', 'SIGINT'])
      process.on(again, () => Date.now() - asked > SAME_SIGNAL_MS && process.exit(1));
    setTimeout(() => process.exit(1), STOP_WITHIN_MS).unref();
    await running.stop();
    log.info('stopped');
  } catch (fault) {
    tellStartFault(fault, log);
    process.exitCode = 1;
  }
  log.flush();
}

/** What an operator can mend is told in a sentence; everything else with its stack. */
function tellStartFault(fault: unknown, log: Log): void {
  if (fault instanceof ConfigFault || fault instanceof SchemaFault || fault instanceof BootFault) {
    process.stderr.write(`${fault.message}\n`);
  } else {
    log.fatal({ err: fault }, 'Farebox could not start');
  }
}

if (import.meta.main) await main();
