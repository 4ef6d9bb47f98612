import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pretty from 'pino-pretty';
import postgres from 'postgres';
import { start as startFarebox } from '../src/main.ts';
import { readConfig } from '../src/platform/config.ts';
import { createLog } from '../src/platform/log.ts';
import { findAnvil } from './chain/anvil.ts';
import { type Chain, startChain } from './chain/chain.ts';
import { startExecutor } from './executor/server.ts';
import {
  announce,
  findRunning,
  home,
  keepSecrets,
  keepShop,
  leave,
  type Presence,
  readSecrets,
  type Secrets,
} from './home.ts';
import { type LightningServer, startLightning } from './lightning/server.ts';
import { newWalletSecrets, startWallet } from './lightning/wallet.ts';
import { profileOf, publish } from './nostr/publish.ts';
import { startRelay } from './nostr/relay.ts';
import { startOmise } from './omise/server.ts';
import { type EmbeddedPostgres, freePort, postgresHome, StartFault, startPostgres } from './postgres.ts';
import { type Catalogue, seed } from './seed.ts';
import { ensureShop } from './shop.ts';

/** Farebox with a world of its own: a PostgreSQL in a folder, and stand-ins for whatever is not configured. */
export interface Sandbox extends Presence {
  catalogue: Catalogue;
  operator: { email: string; password: string };
  /** Where the data lies; under root, PostgreSQL's may have to lie elsewhere. */
  folders: string[];
  stop(): Promise<void>;
}

const RESTARTS = 3;
const databaseFolder = postgresHome(join(home, 'postgres'));
const cli = fileURLToPath(new URL('../src/cli.ts', import.meta.url));

/** Starts everything; `onStep` is told of what takes time. Throws `StartFault` for what the reader can mend. */
export async function startSandbox(onStep: (step: string) => void): Promise<Sandbox> {
  const running = findRunning();
  if (running) {
    throw new StartFault(
      `This sandbox runs already, as process ${running.pid}, at ${running.url}. Stop that one first, or set FAREBOX_HOME to another folder.`,
    );
  }
  const port = Number(process.env['PORT'] ?? 3000);
  const internalPort = Number(process.env['INTERNAL_PORT'] ?? port + 1);
  await claimPort(port, 'PORT');
  await claimPort(internalPort, 'INTERNAL_PORT');
  const secrets = readSecrets();
  const closers: (() => Promise<void>)[] = [];
  const stop = async () => {
    leave();
    for (const close of closers.splice(0).reverse()) await close();
  };
  try {
    onStep('PostgreSQL');
    const database = process.env['DATABASE_URL'] ? {} : await embeddedDatabase(secrets, port + 4, closers);
    const url = `http://127.0.0.1:${port}`;
    onStep('stand-ins for Omise, an executor, a chain, a relay and a wallet');
    const omise = await startOmise({
      port: await keptPort(secrets, 'omise', port + 2),
      publicKey: secrets.omisePublicKey,
      secretKey: secrets.omiseSecretKey,
      webhookSecrets: [secrets.webhookSecret],
      webhookUri: `${url}/v1/webhooks/omise`,
      memoryFile: join(home, 'omise.bin'),
    });
    closers.push(() => omise.close());
    const executor = await startExecutor({
      port: await keptPort(secrets, 'executor', port + 3),
      secrets: secrets.serviceSecrets,
      callbackDelayMs: 300,
    });
    closers.push(() => executor.close());
    const wantsChain = !process.env['EVM_CHAINS'] && findAnvil() !== undefined;
    const chain = wantsChain ? await ownChain(secrets, port + 5, closers) : undefined;
    const lightning = await ownLightning(secrets, port + 7, closers);
    // Another host than Farebox's, as in the world: cookies do not tell ports apart.
    const shopUrl = process.env['SHOP_URL'] ?? `http://localhost:${port + 6}`;
    const environment = {
      PUBLIC_URL: url,
      HOST: '127.0.0.1',
      PORT: String(port),
      INTERNAL_PORT: String(internalPort),
      ENCRYPTION_KEYS: `sandbox:${secrets.encryptionKey}`,
      OMISE_URL: omise.url,
      OMISE_SECRET_KEY: secrets.omiseSecretKey,
      OMISE_PUBLIC_KEY: secrets.omisePublicKey,
      OMISE_WEBHOOK_SECRETS: secrets.webhookSecret,
      RETURN_ORIGINS: [new URL(shopUrl).origin, ...(process.env['RETURN_ORIGINS']?.split(',') ?? [])].join(','),
      EGRESS_ALLOW: `127.0.0.1:${executor.port}`,
      ...(chain && { EVM_CHAINS: JSON.stringify([chain.setting]) }),
      ...lightning.settings,
      DRAIN_GRACE_MS: '0',
      LOG_LEVEL: 'warn',
      ...database,
      ...configured(),
    };
    onStep('Farebox');
    const config = readConfig(environment);
    const log = createLog(
      config.LOG_LEVEL,
      process.stdout.isTTY ? pretty({ colorize: !process.env['NO_COLOR'] }) : undefined,
    );
    const farebox = await startFarebox(config, log);
    closers.push(() => farebox.stop());
    await ensureOperator(environment, secrets);
    const internalUrl = `http://127.0.0.1:${farebox.internalPort}`;
    const presence: Presence = {
      pid: process.pid,
      url: `http://127.0.0.1:${farebox.publicPort}`,
      internalUrl,
      omiseUrl: omise.url,
      omiseControlUrl: omise.controlUrl,
      executorUrl: executor.url,
      shopUrl,
      relayUrl: lightning.relayUrl,
      lightningUrl: lightning.server.url,
      ...(chain && { chainUrl: chain.url }),
    };
    const dollar = chain && `eip155:${chain.chainId}/erc20:${chain.token}`;
    const catalogue = await seed({ ...presence, dollar, secrets, onStep });
    const { apiKey, cookieKey } = await ensureShop({ ...presence, secrets, onStep });
    keepShop({ FAREBOX_URL: presence.url, FAREBOX_API_KEY: apiKey, SHOP_URL: shopUrl, SHOP_COOKIE_KEY: cookieKey });
    for (const [path, secret] of Object.entries(secrets.serviceSecrets)) executor.expectSecret(secret, path);
    keepSecrets(secrets);
    announce(presence);
    return {
      ...presence,
      catalogue,
      operator: { email: secrets.operatorEmail, password: secrets.operatorPassword },
      folders: [home, ...(databaseFolder.startsWith(home) || process.env['DATABASE_URL'] ? [] : [databaseFolder])],
      stop,
    };
  } catch (fault) {
    await stop();
    throw fault;
  }
}

/** Settings that the user has made; what is not set, the sandbox provides. */
const configured = () =>
  Object.fromEntries(
    Object.entries(process.env).filter(([name]) =>
      /^(OMISE_|EVM_|NWC_|NOSTR_|ZAP_|DATABASE_|MIGRATION_DATABASE_URL|LOG_LEVEL|EGRESS_ALLOW|WEBHOOK_ALLOW|WORKERS|CURRENCY|RATE_|ALLOW_)/.test(
        name,
      ),
    ),
  );

/** A relay, a wallet that is asked over it, and an address for zaps that our profile tells: the same keys and ports at each start. */
async function ownLightning(secrets: Secrets, firstPort: number, closers: (() => Promise<void>)[]) {
  const random = () => randomBytes(32).toString('hex');
  secrets.lightning ??= { wallet: newWalletSecrets(), provider: random(), own: random() };
  keepSecrets(secrets);
  const { wallet: keys, provider, own } = secrets.lightning;
  const relay = await startRelay({ port: await keptPort(secrets, 'relay', firstPort) });
  closers.push(relay.close);
  const wallet = await startWallet({
    ...{ relayUrl: relay.url, secrets: keys, memoryFile: join(home, 'wallet.json') },
  });
  closers.push(async () => wallet.close());
  const port = await keptPort(secrets, 'lightning', firstPort + 1);
  const server: LightningServer = await startLightning({ port, wallet, relayUrl: relay.url, providerSecret: provider });
  closers.push(server.close);
  // Where clients look for the address to zap. The relay's memory is as long as the sandbox runs.
  await publish(relay.url, profileOf(own, { name: 'Farebox sandbox', lud06: server.lnurl }));
  const settings = {
    ...{ NWC_URL: wallet.connectionUrl, NOSTR_SECRET_KEY: own, NOSTR_RELAYS: relay.url },
    ...{ ZAP_PROVIDERS: server.provider.publicKey, ZAP_LNURL: server.lnurl },
  };
  return { relayUrl: relay.url, server, settings };
}

/** Kept between starts, as the database is that has seen it. */
async function ownChain(secrets: Secrets, firstPort: number, closers: (() => Promise<void>)[]): Promise<Chain> {
  const port = await keptPort(secrets, 'chain', firstPort);
  const stateFile = join(home, 'chain.json');
  const chain = await startChain({ port, stateFile }).catch((fault: Error) => {
    throw new StartFault(`The chain did not start: ${fault.message}\nTo start a new one, move ${stateFile} away.`);
  });
  closers.push(chain.stop);
  return chain;
}

async function embeddedDatabase(
  secrets: Secrets,
  firstPort: number,
  closers: (() => Promise<void>)[],
): Promise<Record<string, string>> {
  mkdirSync(databaseFolder, { recursive: true });
  const port = await keptPort(secrets, 'postgres', firstPort);
  const guard = await keepRunning(() =>
    startPostgres({ home: databaseFolder, port, settings: { max_connections: '100' } }),
  );
  closers.push(guard.stop);
  const server = guard.server();
  await createDatabase(server.url());
  await runCli(['bootstrap', '--url', server.url('farebox')], {
    OWNER_PASSWORD: secrets.ownerPassword,
    APP_PASSWORD: secrets.appPassword,
  });
  const as = (role: string, password: string) => `postgres://${role}:${password}@127.0.0.1:${port}/farebox`;
  return {
    DATABASE_URL: as('farebox_app', secrets.appPassword),
    MIGRATION_DATABASE_URL: as('farebox_owner', secrets.ownerPassword),
  };
}

/** Starts the server again when it dies by itself: Farebox reconnects, and nothing acknowledged is lost. */
async function keepRunning(begin: () => Promise<EmbeddedPostgres>) {
  let server = await begin();
  let restarts = 0;
  let isStopping = false;
  const watch = async (watched: EmbeddedPostgres): Promise<void> => {
    const { code, signal } = await watched.exited;
    if (isStopping) return;
    restarts += 1;
    process.stderr.write(`PostgreSQL ended unexpectedly (${signal ?? `code ${code}`}).`);
    if (restarts > RESTARTS) {
      process.stderr.write(
        ' It was started again three times already; see its folder for a core dump or a full disk.\n',
      );
      process.kill(process.pid, 'SIGTERM');
      return;
    }
    process.stderr.write(' Starting it again.\n');
    server = await begin();
    void watch(server);
  };
  void watch(server);
  return {
    server: () => server,
    stop: async () => {
      isStopping = true;
      await server.stop('fast');
    },
  };
}

async function createDatabase(url: string): Promise<void> {
  const client = postgres(url, { max: 1, onnotice: () => {} });
  try {
    const [found] = await client`select from pg_database where datname = 'farebox'`;
    if (!found) await client`create database farebox`;
  } catch (fault) {
    if (fault instanceof Error && /password authentication failed/.test(fault.message)) {
      throw new StartFault(`The data in ${home} belongs to another password. Move that folder away to start afresh.`);
    }
    throw fault;
  } finally {
    await client.end();
  }
}

/** The first operator comes from the command line, here as anywhere. */
async function ensureOperator(environment: Record<string, string>, secrets: Secrets): Promise<void> {
  if (secrets.isOperatorMade) return;
  await runCli(
    ['operator', 'create', '--email', secrets.operatorEmail, '--password-stdin'],
    environment,
    secrets.operatorPassword,
  );
  secrets.isOperatorMade = true;
  keepSecrets(secrets);
}

async function runCli(args: string[], environment: Record<string, string>, input = ''): Promise<void> {
  const child = spawn(process.execPath, [cli, ...args], {
    env: { ...process.env, ...environment },
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString('utf8');
  });
  child.stdin.end(input);
  const code = await new Promise<number | null>((done) => child.once('exit', done));
  if (code !== 0) throw new StartFault(`farebox ${args[0]} failed:\n${said}`);
}

/** Tells a taken port before anything is started. */
async function claimPort(port: number, name: string): Promise<void> {
  const probe = createServer();
  await new Promise<void>((done, fail) => {
    probe.once('error', fail);
    probe.listen(port, '127.0.0.1', done);
  }).catch((fault: NodeJS.ErrnoException) => {
    const why = fault.code === 'EACCES' ? 'may not be used by this user' : 'is taken by another program';
    throw new StartFault(`Port ${port} ${why}. Choose another one: ${name}=${port + 100} npm start`);
  });
  await new Promise((done) => probe.close(done));
}

/** The same port as last time, where it is still free: addresses that were given out go on working. */
async function keptPort(secrets: Secrets, name: keyof Secrets['ports'], first: number): Promise<number> {
  const wanted = secrets.ports[name] ?? first;
  const port = (await claimPort(wanted, name).then(
    () => true,
    () => false,
  ))
    ? wanted
    : await freePort();
  secrets.ports[name] = port;
  keepSecrets(secrets);
  return port;
}
