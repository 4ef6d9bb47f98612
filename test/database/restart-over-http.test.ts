import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { type Executor, startExecutor } from '../../sandbox/executor/server.ts';
import { fromWire, toWire } from '../../src/platform/ids.ts';
import { faultsInBooks } from '../harness/books.ts';
import { type ChildFarebox, childForTest } from '../harness/child.ts';
import { type Client, clientOf, eventually, type Json, newCustomer, newOperator } from '../harness/client.ts';
import { type OwnServer, ownServerForTest } from '../harness/own-server.ts';
import { TEMPLATE } from '../harness/template.ts';
import { listen, type StreamEvent } from '../workflows/event-stream.ts';
import { accepted, available, eventsOf, grant, offer, startRun, workflowOf } from '../workflows/stage.ts';

const CUSTOMERS = 4;
const ORDERS_AT_ONCE = 2; // of each customer
const GRANTED = 100_000;
const COST = 7;
const PAUSE_MS = 20;
const LEAVE_MS = 300;
const ANSWERED_WITHIN_MS = 5_000;
const AGAIN_AFTER_MS = 50; // sooner than Retry-After asks for: the more requests meet the outage
const READY_WITHIN_MS = 5_000; // after the database is back

/** A whole Farebox in a process of its own, on a database server of its own that can be ill-treated. */
interface Scene {
  server: OwnServer;
  child: ChildFarebox;
  executor: Executor;
  operator: Client;
  customers: Client[];
}

async function scene(): Promise<Scene> {
  const server = await ownServerForTest();
  const executor = await startExecutor();
  onTestFinished(() => executor.close());
  const { appUrl, superuserUrl } = server;
  const others = { ownerUrl: superuserUrl, auditorUrl: superuserUrl, drop: async () => {} };
  const child = await childForTest({
    database: { name: TEMPLATE, appUrl, superuserUrl, ...others },
    env: { EGRESS_ALLOW: `127.0.0.1:${executor.port}` },
  });
  const operator = await newOperator(child);
  const customers: Client[] = [];
  for (let n = 0; n < CUSTOMERS; n += 1) {
    const customer = await newCustomer(child);
    await grant(operator, customer, GRANTED);
    customers.push(customer);
  }
  return { server, child, executor, operator, customers };
}

/** What everybody was answered. */
class Answers {
  private readonly statuses = new Map<string, number>();
  slowestMs = 0;

  count(what: string): number {
    return this.statuses.get(what) ?? 0;
  }

  /** Waits for an answer, within the bound; `undefined`: it was a 503 that says when to come again. */
  async answer<T extends { status: number; headers: Headers }>(
    what: string,
    asking: Promise<T>,
  ): Promise<T | undefined> {
    const began = performance.now();
    const answer = await Promise.race([asking, sleep(ANSWERED_WITHIN_MS, undefined, { ref: false })]);
    this.slowestMs = Math.max(this.slowestMs, performance.now() - began);
    if (!answer) throw new Error(`${what}: no answer`);
    const seen = `${what} ${answer.status}`;
    this.statuses.set(seen, this.count(seen) + 1);
    if (answer.status < 300) return answer;
    const isProblem = answer.headers.get('content-type') === 'application/problem+json';
    if (answer.status !== 503 || !isProblem || !answer.headers.has('retry-after')) throw new Error(seen);
    return undefined;
  }
}

/** Repeats until it is answered by a 2xx. */
async function until<T extends { status: number; headers: Headers }>(
  answers: Answers,
  what: string,
  ask: () => Promise<T>,
): Promise<T> {
  for (;;) {
    const answer = await answers.answer(what, ask());
    if (answer) return answer;
    await sleep(AGAIN_AFTER_MS);
  }
}

/** Reads the events of a run to its end. `leaveAfterMs`: goes away so often, and comes back with Last-Event-ID. */
async function readToEnd(answers: Answers, reader: Client, url: string, run: Json, leaveAfterMs?: number) {
  const told: StreamEvent[] = [];
  for (let connections = 1; ; connections += 1) {
    const ask = () => listen(reader, url, `/v1/runs/${run.id}/events`, told.at(-1)?.id);
    const stream = await until(answers, 'events', ask);
    if (stream.status === 204) return { told, connections, run };
    if (leaveAfterMs === undefined) await stream.over;
    else {
      await Promise.race([stream.over, sleep(leaveAfterMs)]);
      stream.leave();
      await stream.over.catch(() => {});
    }
    const twice = stream.events.find(({ id }) => told.some((before) => before.id === id));
    if (twice) throw new Error(`told twice: ${twice.id}`);
    told.push(...stream.events);
  }
}

// REQ E4.2 E4.4 E7.3
test('under load, a database that cuts everybody off, is stopped and is killed: each order is paid once and run once', async () => {
  const { server, child, executor, operator, customers } = await scene();
  let hasDied = false;
  void child.exited().then(() => {
    hasDied = true;
  });
  const calls = { timeout_ms: 1_000, max_attempts: 50, max_concurrency: 100 };
  const short = await offer(operator, executor, '/echo', { credit_cost: COST, executor: calls });
  const long = await offer(operator, executor, '/async-silent', { credit_cost: COST, executor: calls });
  const answers = new Answers();
  const runOfKey = new Map<string, { customer: Client; workflow: Json; run: Json }>();
  let stopping = false;

  /** One order after the other, each repeated with its key until it is accepted, and then once more. */
  const giveOrders = async (customer: Client, workflow: Json) => {
    while (!stopping) {
      const key = randomUUID();
      const order = () => startRun(customer, workflow, { input: { key } }, { key });
      const { body } = await until(answers, 'order', order);
      runOfKey.set(key, { customer, workflow, run: body.run });
      // As if the answer had been lost on its way.
      expect((await until(answers, 'order', order)).body.run).toEqual(body.run);
      await sleep(PAUSE_MS);
    }
  };
  /** The executor of a run that lasts as long as all this: it reports part after part, and then the result. */
  const work = async (run: Json) => {
    const [call] = await eventually(
      async () => executor.runs.filter(({ runId }) => runId === run.id),
      (n) => n.length > 0,
    );
    const reporter = clientOf(child.url, { token: String(call?.data?.callback_token) });
    const report = (what: string, body: Json) =>
      until(answers, what, () => reporter.call('POST', `/v1/executor/runs/${run.id}/${what}`, { body }));
    for (let part = 1; !stopping; part += 1) {
      await report('parts', { part, content: { part } });
      await sleep(PAUSE_MS);
    }
    await report('complete', { output: 'done' });
  };

  const busy: Promise<void>[] = [];
  const readings: ReturnType<typeof readToEnd>[] = [];
  for (const customer of customers) {
    const run = await accepted(customer, await workflowOf(customer, long));
    const workflow = await workflowOf(customer, short);
    busy.push(work(run), ...Array.from({ length: ORDERS_AT_ONCE }, () => giveOrders(customer, workflow)));
    readings.push(readToEnd(answers, customer, child.url, run), readToEnd(answers, customer, child.url, run, LEAVE_MS));
  }
  for (const one of [...busy, ...readings]) one.catch(() => {}); // waited for below

  await troubles(server, child, async () => {
    const before = runOfKey.size;
    const more = eventually(
      async () => runOfKey.size,
      (n) => n > before + 60,
    );
    await Promise.race([more, ...busy]); // these end before only with what was wrong
  });
  stopping = true;
  await Promise.all(busy);
  const tales = await Promise.all(readings);
  const root = postgres(server.superuserUrl, { max: 1 });
  onTestFinished(() => root.end());
  // Calls whose outcome could not be written down are made again when their lease is over: now.
  await root`update workflows.runs set next_attempt_at = now() where state = 'running'`;
  await eventually(
    () => root`select id, state, attempt from workflows.runs where state in ('queued', 'running')`,
    (open) => open.length === 0,
    20_000,
  );

  // The process has lived through it, and nobody was told anything but what was done or when to come again.
  expect(hasDied).toBe(false);
  expect(child.logged.filter(({ msg }) => msg === 'listening')).toHaveLength(1);
  expect(answers.count('order 503')).toBeGreaterThan(0);
  expect(answers.slowestMs).toBeLessThan(ANSWERED_WITHIN_MS);

  // What was acknowledged is there, once for its key, and nothing else is; all was worked on once, with its own input.
  const rows = await root`select id, account_id, idempotency_key as key, state, cost::int, returned::int, output
    from workflows.runs where workflow_id not in (select id from workflows.workflows where service_id = ${fromWire('service', long.id)})`;
  const kept = rows.map(({ key, id, ...rest }) => ({ key, id: toWire('run', id), ...rest }));
  const wanted = [...runOfKey].map(([key, { customer, run }]) => ({
    ...{ key, id: run.id, account_id: fromWire('account', customer.accountId) },
    ...{ state: 'succeeded', cost: COST, returned: 0, output: { echo: { key } } },
  }));
  const byKey = (a: Json, b: Json) => (a.key < b.key ? -1 : 1);
  expect(kept.toSorted(byKey)).toEqual(wanted.toSorted(byKey));
  expect(executor.effects).toBe(runOfKey.size);

  // The books say the same.
  for (const customer of customers) {
    const own = [...runOfKey.values()].filter((one) => one.customer === customer).length;
    expect(own).toBeGreaterThan(50);
    expect(await available(customer)).toBe(GRANTED - COST * (own + 1));
  }
  expect(await faultsInBooks(server.superuserUrl)).toEqual([]);

  // Readers were told every event, once and in order, whether they stayed or came and went.
  for (const { told, connections, run } of tales) {
    expect(told.map(({ type }) => type)).toEqual(await eventsOf(root, run));
    expect(new Set(told.map(({ id }) => id)).size).toBe(told.length);
    const parts = told.filter(({ type }) => type === 'part_added').map(({ data }) => data.data.part);
    expect(parts).toEqual(parts.map((_, n) => n + 1));
    expect(parts.length).toBeGreaterThan(10);
    expect(connections).toBeGreaterThan(1);
  }

  // A key is good for ever: asked for again, it is the same run, and costs nothing.
  const [[key, first] = []] = runOfKey;
  if (key === undefined || !first) throw new Error('no order');
  const again = await startRun(first.customer, first.workflow, { input: { key } }, { key });
  expect(again.headers.get('idempotent-replayed')).toBe('true');
  expect(again.body.run).toEqual(first.run);
}, 90_000);

/** Everybody is cut off, twice; the server is stopped in the middle of everything, and then killed. */
async function troubles(server: OwnServer, child: ChildFarebox, meanwhile: () => Promise<void>): Promise<void> {
  const ready = async () => (await fetch(`${child.internalUrl}/readyz`)).status;
  for (let time = 0; time < 2; time += 1) {
    await meanwhile();
    const root = postgres(server.superuserUrl, { max: 1 });
    const cut = await root`select pg_terminate_backend(pid) from pg_stat_activity where usename = 'farebox_app'`;
    await root.end();
    expect(cut.length).toBeGreaterThan(5);
  }
  for (const mode of ['immediate', 'kill'] as const) {
    await meanwhile();
    await server.stop(mode);
    await eventually(ready, (status) => status === 503, READY_WITHIN_MS);
    expect((await fetch(`${child.internalUrl}/livez`)).status).toBe(200);
    await server.start();
    await eventually(ready, (status) => status === 200, READY_WITHIN_MS);
  }
  await meanwhile();
}
