import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { type Executor, startExecutor } from '../../sandbox/executor/server.ts';
import type { OmiseControl } from '../../sandbox/omise/control/control.ts';
import { freePort, startPostgres, temporaryHome } from '../../sandbox/postgres.ts';
import { startBalancer } from '../harness/balancer.ts';
import { type Client, type Json, newCustomer, newOperator } from '../harness/client.ts';
import { type FailingChild, failingChild } from '../harness/failing-child.ts';
import { startProvider, type TestFarebox } from '../harness/farebox.ts';
import { startProxy, type TcpProxy } from '../harness/tcp-proxy.ts';
import { makeTemplate, PASSWORDS, TEMPLATE } from '../harness/template.ts';
import { grant, offer, workflowOf } from '../workflows/stage.ts';
import { ASK_SERVICES } from './asks.ts';
import { openWalletWorld, type WalletWorld } from './invoices.ts';
import { type JobWorld, openJobWorld } from './jobs.ts';
import { type ChainWorld, newPurse, openChainWorld, type Purse, priceOnChain } from './payers.ts';
import { openReadingWorld, type ReadingWorld } from './readers.ts';
import { openRelayWorld } from './relays.ts';

/** Two replicas with a database, a provider and an executor of their own, and a bad network between all of them. */
export interface World {
  farebox: TestFarebox;
  replicas: FailingChild[];
  omise: OmiseControl;
  /** By a good network: for browsers. */
  providerUrl: string;
  operator: Client;
  executor: Executor;
  /** Between Farebox and the others. */
  network: { database: TcpProxy; provider: TcpProxy; executor: TcpProxy };
  /** Stops PostgreSQL as a crash would, and starts it again. */
  restartDatabase(): Promise<void>;
  /** A chain, where npm has an anvil. */
  onChain: ChainWorld | undefined;
  people: { who: Client; workflows: Json[]; purse: Purse | undefined }[];
  pack: Json;
  /** Our wallet, and what was paid to it. */
  invoices: WalletWorld;
  /** A shop and its readers. */
  reading: ReadingWorld;
  /** Relays, and customers who ask for jobs there. */
  jobs: JobWorld;
  superuserUrl: string;
  folder: string;
  close(): Promise<void>;
}

export const GRANTED = 200;
const CUSTOMERS = 6;

/** What executors do, good and bad. */
const SERVICES: { path: string; credit_cost: number; max_attempts?: number }[] = [
  { path: '/echo', credit_cost: 3 },
  { path: '/slow?ms=150', credit_cost: 7 },
  { path: '/async?progress=1&parts=2&delay_ms=40', credit_cost: 11 },
  { path: '/fail-times?n=1', credit_cost: 5 },
  { path: '/refuse', credit_cost: 13 },
  { path: '/async-fail?progress=1', credit_cost: 2 },
  { path: '/cut', credit_cost: 4, max_attempts: 3 }, // its answer never arrives whole
];

export async function openWorld(seed: number): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'farebox-chaos-'));
  const server = await ownServer();
  const omise = await startProvider({ seed, webhookTimeoutMs: 2_000 });
  const executor = await startExecutor();
  const portOf = (url: string) => Number(new URL(url).port);
  const network = {
    database: await startProxy({ target: { port: server.port } }),
    provider: await startProxy({ target: { port: portOf(omise.url) } }),
    executor: await startProxy({ target: { port: executor.port } }),
  };
  const database = {
    name: TEMPLATE,
    superuserUrl: server.url(),
    appUrl: network.database.url(server.url({ user: 'farebox_app', password: PASSWORDS.app })),
    ownerUrl: server.url({ user: 'farebox_owner', password: PASSWORDS.owner }),
    auditorUrl: server.url({ user: 'farebox_auditor', password: PASSWORDS.auditor }),
    drop: async () => {},
  };
  const onChain = await openChainWorld();
  const relays = await openRelayWorld();
  const invoices = await openWalletWorld();
  const [front, inner] = [await startBalancer(), await startBalancer()];
  const env = {
    PUBLIC_URL: front.url,
    OMISE_URL: `http://127.0.0.1:${network.provider.port}`,
    OMISE_DEADLINE_MS: '700',
    EGRESS_ALLOW: `127.0.0.1:${network.executor.port}`,
    ACCESS_TOKEN_TTL_S: '3600',
    REFUND_AUTO_CREDITS: '15',
    ...{ ...relays.env, ...invoices.env },
    ...(onChain ? { EVM_CHAINS: onChain.setting } : {}),
  };
  const replicas = [await failingChild({ database, omise, env }), await failingChild({ database, omise, env })];
  const [first] = replicas;
  if (!first) throw new Error('no replica');
  front.serve(replicas.map(({ publicPort }) => publicPort));
  inner.serve(replicas.map(({ internalPort }) => internalPort));
  omise.control.account({ webhook_uri: `${front.url}/v1/webhooks/omise` });
  const farebox = { ...first, url: front.url, internalUrl: inner.url };
  const operator = await newOperator(farebox);
  const at = { ...executor, url: `http://127.0.0.1:${network.executor.port}` };
  const offerAt = (path: string, terms: Json, max_attempts = 50) => {
    const calls = { max_attempts, timeout_ms: 1_000, report_interval_s: 5, deadline_s: 3600 };
    return offer(operator, at, path, { ...terms, executor: calls });
  };
  const services: Json[] = [];
  for (const { path, max_attempts, ...terms } of SERVICES) services.push(await offerAt(path, terms, max_attempts));
  for (const { path, ...terms } of ASK_SERVICES) services.push(await offerAt(path, terms));
  const body = { name: 'Starter', credits: 50, price: 50_000 };
  const pack = await operator.ok('POST', '/v1/admin/packages', { body });
  if (onChain) await priceOnChain(onChain, operator, pack);
  const people: World['people'] = [];
  for (let n = 0; n < CUSTOMERS; n += 1) {
    const who = await newCustomer(farebox);
    await grant(operator, who, GRANTED);
    const workflows: Json[] = [];
    for (const service of services) workflows.push({ ...(await workflowOf(who, service)), payment: service.payment });
    people.push({ who, workflows, purse: onChain && (await newPurse(onChain, who)) });
  }
  const reading = await openReadingWorld(farebox, operator);
  const jobs = await openJobWorld(relays, offerAt);
  return {
    ...{ farebox, reading, jobs, invoices, replicas, executor, network, onChain, people, pack, folder },
    ...{ omise: omise.control, providerUrl: omise.url, operator },
    restartDatabase: () => server.restart(),
    superuserUrl: server.url(),
    close: async () => {
      await Promise.all(replicas.map((child) => child.close()));
      await Promise.all([executor.close(), omise.close(), front.close(), inner.close()]);
      await Promise.all(Object.values(network).map((proxy) => proxy.close()));
      await jobs.close();
      await invoices.close();
      await onChain?.close();
      await server.stop();
      await rm(folder, { recursive: true });
    },
  };
}

/** Durable, as in production: it is stopped in the middle of its work. */
async function ownServer() {
  const home = temporaryHome();
  const port = await freePort();
  const settings = { shared_buffers: '64MB', max_connections: '100', log_min_messages: 'fatal' };
  let server = await startPostgres({ home, port, settings });
  await makeTemplate(server.url);
  return {
    port,
    url: (as?: { user: string; password: string }) => {
      const url = new URL(server.url(TEMPLATE));
      if (as) Object.assign(url, { username: as.user, password: as.password });
      return url.href;
    },
    restart: async () => {
      await server.stop('immediate');
      server = await startPostgres({ home, port, settings });
    },
    stop: async () => {
      await server.stop('immediate');
      await rm(home, { recursive: true });
    },
  };
}

/** Leases and pauses run out, as hours would let them; those of runs only while no executor is at work, unless by force. */
export async function passTime(world: World, { byForce = false } = {}): Promise<void> {
  const isIdle = await Promise.race([world.executor.idle().then(() => true), sleep(5).then(() => false)]);
  const sql = postgres(world.superuserUrl, { max: 1, onnotice: () => {} });
  try {
    await sql`update payments.webhook_inbox set next_attempt_at = now() where state = 'received'`;
    await sql`update payments.request_transactions set next_check_at = now() where next_check_at is not null`;
    await sql`update payments.invoices set next_check_at = now() where next_check_at is not null`;
    await sql`update refunds.refunds set next_step_at = now() where next_step_at is not null`;
    await sql`update refunds.sightings set next_look_at = now() where next_look_at is not null`;
    await sql`update platform.deliveries set next_attempt_at = now() where next_attempt_at is not null`;
    // A call that may still be executed is left alone.
    await sql`update refunds.attempts set started_at = started_at - interval '130 seconds'
      where outcome = 'open' and started_at < now() - interval '5 seconds'`;
    await sql`
      update payments.charges set next_check_at = now() - interval '1 second',
        created_at = created_at - interval '40 seconds' where next_check_at is not null`;
    await sql`update workflows.nostr_jobs set next_at = now() where closed_at is null`;
    await sql`update workflows.nostr_events set next_at = now() where published_at is null`;
    if (isIdle || byForce)
      await sql`
        update workflows.runs set next_attempt_at = now()
        where state in ('queued', 'running') and next_attempt_at > now() + interval '300 milliseconds'`;
  } finally {
    await sql.end();
  }
  await Promise.all(world.replicas.map((child) => child.hurry()));
}
