import { type Executor, startExecutor } from '../../sandbox/executor/server.ts';
import { startWallet } from '../../sandbox/lightning/wallet.ts';
import { startRelay } from '../../sandbox/nostr/relay.ts';
import {
  type CallOptions,
  type Client,
  clientOf,
  eventually,
  type Json,
  newCustomer,
  newOperator,
  PASSWORD,
} from '../harness/client.ts';
import { type FareboxOptions, fareboxForFile, type TestFarebox } from '../harness/farebox.ts';
import { startStillChain } from '../harness/still-chain.ts';
import { type Receiver, startReceiver } from '../webhooks-out/receiver.ts';

/** Two customers, an operator, something to buy and something to run: what the tests of the outer wall stand in. */
export interface World {
  farebox: TestFarebox;
  executor: Executor;
  /** Takes webhooks. */
  receiver: Receiver;
  operator: Client;
  owner: Client;
  other: Client;
  pack: Json;
  service: Json;
  /** What can be asked for on chain. */
  coin: string;
  /** The owner's. */
  workflow: Json;
  buy(client: Client, method?: Json, options?: CallOptions): Promise<Json>;
  /** A run of the owner's that its executor works on, with the token to report on it. */
  startRun(): Promise<{ run: Json; callback: string }>;
  give(client: Pick<Client, 'accountId'>, credits: number): Promise<void>;
  stop(): Promise<void>;
}

export async function openWorld(options: FareboxOptions = {}): Promise<World> {
  const [executor, receiver, chain] = [await startExecutor(), await startReceiver(), await startStillChain()];
  const relay = await startRelay();
  const wallet = await startWallet({ relayUrl: relay.url });
  const env = {
    ...{ EGRESS_ALLOW: `127.0.0.1:${executor.port}`, WEBHOOK_ALLOW: receiver.target, EVM_CHAINS: chain.setting },
    NWC_URL: wallet.connectionUrl,
    ...options.env,
  };
  const farebox = await fareboxForFile({ ...options, env });
  const [operator, owner, other] = [await newOperator(farebox), await newCustomer(farebox), await newCustomer(farebox)];
  const give: World['give'] = async ({ accountId }, credits) => {
    await operator.ok('POST', `/v1/admin/accounts/${accountId}/grants`, { body: { credits, reason: 'test' } });
  };
  await give(owner, 1_000);
  const pack = await operator.ok('POST', '/v1/admin/packages', { body: { name: 'P', credits: 500, price: 50_000 } });
  const service = await operator.ok('POST', '/v1/admin/services', {
    body: {
      ...{ name: 'S', credit_cost: 1 },
      executor: { endpoint: `${executor.url}/async-silent`, max_concurrency: 1000 },
    },
  });
  executor.expectSecret(service.signing_secret);
  const workflow = await owner.ok('POST', '/v1/workflows', { body: { service_id: service.id, name: 'W' } });
  return {
    ...{ farebox, executor, receiver, coin: chain.asset, operator, owner, other, pack, service, workflow, give },
    buy: (client, method = { type: 'promptpay' }, more = {}) =>
      client.ok('POST', '/v1/purchases', { body: { package_id: pack.id, method }, ...more }),
    startRun: async () => {
      const { run } = await owner.ok('POST', `/v1/workflows/${workflow.id}/runs`, { body: {} });
      const received = await eventually(
        async () => executor.runs.find(({ runId }) => runId === run.id),
        (found) => found !== undefined,
      );
      return { run, callback: received?.data?.callback_token ?? '' };
    },
    stop: async () => {
      chain.stop();
      await farebox.stop();
      wallet.close();
      await relay.close();
      await Promise.all([executor.close(), receiver.close()]);
    },
  };
}

/** Another log-in of the same account. */
export async function logInAgain(farebox: TestFarebox, email: string): Promise<Json> {
  return clientOf(farebox.url).ok('POST', '/v1/auth/login', { body: { email, password: PASSWORD } });
}
