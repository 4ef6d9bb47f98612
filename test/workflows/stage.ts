import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { type Executor, type ExecutorOptions, startExecutor } from '../../sandbox/executor/server.ts';
import { fromWire } from '../../src/platform/ids.ts';
import { type Client, eventually, type Json, newCustomer, newOperator, type Reply } from '../harness/client.ts';
import { type FareboxOptions, fareboxForFile, startFarebox, type TestFarebox } from '../harness/farebox.ts';

/** A Farebox, an executor that it may call, an operator, and a way to look at what is kept: for the tests of one file. */
export interface Stage {
  farebox: TestFarebox;
  executor: Executor;
  operator: Client;
  /** As the superuser: to look, and to move clocks. */
  root: postgres.Sql;
  /** Offers what the executor does at a path. */
  offer(path: string, terms?: Json): Promise<Json>;
  /** A new account with so many credits. */
  customer(credits?: number): Promise<Client>;
  close(): Promise<void>;
}

export async function openStage(options: FareboxOptions & { executor?: ExecutorOptions } = {}): Promise<Stage> {
  const executor = await startExecutor(options.executor);
  const env = { EGRESS_ALLOW: `127.0.0.1:${executor.port}`, ...options.env };
  const farebox = await fareboxForFile({ ...options, env });
  const operator = await newOperator(farebox);
  const root = postgres(farebox.database.superuserUrl, { max: 2, onnotice: () => {} });
  return {
    farebox,
    executor,
    operator,
    root,
    offer: (path, terms = {}) => offer(operator, executor, path, terms),
    customer: async (credits = 0) => {
      const customer = await newCustomer(farebox);
      if (credits > 0) await grant(operator, customer, credits);
      return customer;
    },
    close: async () => {
      await executor.close();
      await root.end();
      await farebox.stop();
    },
  };
}

/** Another replica of the same installation: same database, same public address, its own port. */
export const replicaOf = ({ farebox }: Stage, env: Record<string, string> = {}): Promise<TestFarebox> =>
  startFarebox({
    database: farebox.database,
    omise: farebox.omise,
    env: { ...farebox.environment, PORT: '0', ...env },
  });

let offered = 0;

/** Signatures are not checked until `executor.expectSecret`: many services may share a path. */
export async function offer(operator: Client, executor: Executor, path: string, terms: Json = {}): Promise<Json> {
  offered += 1;
  const { executor: calls, ...more } = terms;
  const endpoint = `${executor.url}${path}`;
  const service = await operator.ok('POST', '/v1/admin/services', {
    body: { name: `Service ${offered}`, credit_cost: 10, ...more, executor: { endpoint, ...calls } },
  });
  return service;
}

export const grant = (operator: Client, customer: Client, credits: number): Promise<Json> =>
  operator.ok('POST', `/v1/admin/accounts/${customer.accountId}/grants`, { body: { credits, reason: 'for a test' } });

export const workflowOf = (customer: Client, service: Json, more: Json = {}): Promise<Json> =>
  customer.ok('POST', '/v1/workflows', { body: { service_id: service.id, name: 'Mine', ...more } });

export const startRun = (
  customer: Client,
  workflow: Json,
  body: Json = {},
  options: { key?: string } = {},
): Promise<Reply> => customer.post(`/v1/workflows/${workflow.id}/runs`, body, { key: randomUUID(), ...options });

/** Starts a run that must be accepted; resolves to it. */
export async function accepted(customer: Client, workflow: Json, body: Json = {}): Promise<Json> {
  const reply = await startRun(customer, workflow, body);
  if (reply.status !== 202) throw new Error(`not accepted: ${reply.text}`);
  return reply.body.run;
}

export const runOf = (customer: Client, run: Json): Promise<Json> => customer.ok('GET', `/v1/runs/${run.id}`);

/** The run once it is over. */
export const ended = (customer: Client, run: Json, withinMs?: number): Promise<Json> =>
  eventually(
    () => runOf(customer, run),
    (now) => now.finished_at !== null,
    withinMs,
  );

export const available = async (customer: Client): Promise<number> =>
  (await customer.ok('GET', '/v1/credits/balance')).available;

/** Everything that is kept about an account's money and runs; equal before and after: nothing has happened. */
export async function books(root: postgres.Sql, customer: Client): Promise<Json> {
  const account = fromWire('account', customer.accountId);
  const [row] = await root`
    select
      coalesce((select jsonb_build_object('available', available, 'held', held, 'debt', debt, 'seq', seq)
        from credits.accounts where account_id = ${account}), '{}'::jsonb) as balance,
      (select count(*)::int from credits.transfers where account_id = ${account}) as transfers,
      (select count(*)::int from workflows.runs where account_id = ${account}) as runs,
      (select count(*)::int from platform.events where account_id = ${account} and type like 'workflows.run%') as events,
      (select count(*)::int from platform.idempotency_keys where account_id = ${account}) as keys`;
  return row;
}

/** Transfers of a run, in order: `spend`, and `return` when the credits went back. */
export const movesOf = async (root: postgres.Sql, run: Json): Promise<string[]> =>
  (
    await root`select kind || ' ' || amount as move from credits.transfers
      where ref_type = 'run' and ref_id = ${fromWire('run', run.id)} order by seq`
  ).map((row) => String(row['move']));

/** Types of a run's events without their prefix, in order. */
export const eventsOf = async (root: postgres.Sql, run: Json): Promise<string[]> =>
  (
    await root`select replace(type, 'workflows.run_', '') as type from platform.events
      where subject_id = ${fromWire('run', run.id)} order by seq`
  ).map((row) => String(row['type']));

/** Moves a run's clock: as if so much time had passed since it was leased or put off. */
export const fastForward = (root: postgres.Sql, run: Json, seconds: number): Promise<unknown> =>
  root`update workflows.runs set next_attempt_at = next_attempt_at - make_interval(secs => ${seconds})
    where id = ${fromWire('run', run.id)}`;

/** The run's deadline is over. */
export const passDeadline = (root: postgres.Sql, run: Json): Promise<unknown> =>
  root`update workflows.runs set deadline_at = now() - interval '1 second' where id = ${fromWire('run', run.id)}`;

/** A run that waits for its next attempt is due now. */
export const hurry = (root: postgres.Sql, run: Json): Promise<unknown> =>
  root`update workflows.runs set next_attempt_at = now()
    where id = ${fromWire('run', run.id)} and state = 'queued' and next_attempt_at > now()`;

/** The run once it is over, without waiting for what lies between its attempts. */
export const hurriedToEnd = (stage: Stage, customer: Client, run: Json, withinMs?: number): Promise<Json> =>
  eventually(
    async () => {
      await hurry(stage.root, run);
      return runOf(customer, run);
    },
    (now) => now.finished_at !== null,
    withinMs,
  );
