import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type postgres from 'postgres';
import { findAnvil } from '../../sandbox/chain/anvil.ts';
import { startChain } from '../../sandbox/chain/chain.ts';
import { type Executor, startExecutor } from '../../sandbox/executor/server.ts';
import { type StandInWallet, startWallet } from '../../sandbox/lightning/wallet.ts';
import { startRelay } from '../../sandbox/nostr/relay.ts';
import type { OmiseControl } from '../../sandbox/omise/control/control.ts';
import { type Balancer, startBalancer } from '../harness/balancer.ts';
import { type Client, type Json, newCustomer, newOperator } from '../harness/client.ts';
import { cloneDatabase } from '../harness/database.ts';
import { type FailingChild, failingChild } from '../harness/failing-child.ts';
import { startProvider, type TestFarebox } from '../harness/farebox.ts';
import { type RequestStage, requestStageOn } from '../payments/request-stage.ts';
import { CREDITS, type Shop, shopOf } from '../payments/shop.ts';
import { type Receiver, startReceiver } from '../webhooks-out/receiver.ts';
import { grant, offer } from '../workflows/stage.ts';
import { openRelaysHere, type RelaysHere } from './relays.ts';

/** Two replicas that can die, behind one address, with everything around them that lives on. */
export interface CrashStage {
  /** As clients see it: the balancer, whoever stands behind it. */
  farebox: TestFarebox;
  front: Balancer;
  inner: Balancer;
  replicas: [FailingChild, FailingChild];
  omise: OmiseControl;
  executor: Executor;
  receiver: Receiver;
  /** The wallet that makes the invoices. */
  wallet: StandInWallet['control'];
  /** A chain, and a merchant who asks to be paid on it; there where npm has an anvil. */
  requests(): Promise<Omit<RequestStage, 'close'>>;
  /** Relays that jobs come over; there where they were asked for. */
  relays: RelaysHere | undefined;
  operator: Client;
  shop: Shop;
  sql: postgres.Sql;
  /** A new account with 100 credits, whose requests may be lost. */
  customer(credits?: number): Promise<Client>;
  /** What the executor does at a path. */
  service(path: string, terms?: Json): Promise<Json>;
  /** A folder of this stage's own. */
  folder: string;
  close(): Promise<void>;
}

export { CREDITS };

/** All faults are meant to be seen: nothing is limited, tokens last, and nobody waits long for the provider. */
const settings = { ACCESS_TOKEN_TTL_S: '3600', OMISE_DEADLINE_MS: '2000', DATABASE_POOL: '4' };

export async function openCrashStage({ hasRelays = false } = {}): Promise<CrashStage> {
  const folder = await mkdtemp(join(tmpdir(), 'farebox-crash-'));
  const [database, omise, executor] = [await cloneDatabase(), await startProvider(), await startExecutor()];
  const receiver = await startReceiver();
  const chain = findAnvil() ? await startChain() : undefined;
  const relay = await startRelay();
  const wallet = await startWallet({ relayUrl: relay.url });
  const relays = hasRelays ? await openRelaysHere() : undefined;
  const [front, inner] = [await startBalancer(), await startBalancer()];
  const env = {
    ...{ ...settings, PUBLIC_URL: front.url, NWC_URL: wallet.connectionUrl },
    ...{ EGRESS_ALLOW: `127.0.0.1:${executor.port}`, WEBHOOK_ALLOW: receiver.target },
    ...relays?.env,
    ...(chain ? { EVM_CHAINS: JSON.stringify([chain.setting]) } : {}),
  };
  const start = () => failingChild({ database, omise, env });
  const replicas: CrashStage['replicas'] = await Promise.all([start(), start()]);
  const [one] = replicas;
  front.serve(replicas.map(({ publicPort }) => publicPort));
  inner.serve(replicas.map(({ internalPort }) => internalPort));
  omise.control.account({ webhook_uri: `${front.url}/v1/webhooks/omise` });
  const farebox = { ...one, url: front.url, internalUrl: inner.url };
  const operator = await newOperator(farebox);
  const shop = await shopOf(farebox);
  const price = { amount_msat: '21000' };
  await operator.ok('PUT', `/v1/admin/packages/${shop.pack.id}/lightning-price`, { body: price });
  let requests: ReturnType<CrashStage['requests']> | undefined;
  const services = new Map<string, Promise<Json>>();
  return {
    ...{ farebox, front, inner, replicas, executor, receiver, relays, operator, shop, folder },
    omise: omise.control,
    wallet: wallet.control,
    sql: shop.sql,
    requests: () => {
      if (!chain) throw new Error('there is no chain here');
      requests ??= requestStageOn(chain, farebox, operator, shop.sql);
      return requests;
    },
    customer: async (credits = 100) => {
      const customer = await newCustomer(farebox);
      if (credits > 0) await grant(operator, customer, credits);
      return customer;
    },
    service: (path, terms = {}) => {
      const known = services.get(path) ?? offer(operator, executor, path, terms);
      services.set(path, known);
      return known;
    },
    close: async () => {
      await Promise.all(replicas.map((child) => child.close()));
      await shop.stop();
      await chain?.stop();
      wallet.close();
      await relay.close();
      await relays?.close();
      await Promise.all([executor.close(), receiver.close(), omise.close(), front.close(), inner.close()]);
      await database.drop();
      await rm(folder, { recursive: true });
    },
  };
}
