import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { startExecutor } from '../../sandbox/executor/server.ts';
import { type ChildFarebox, childForTest } from '../harness/child.ts';
import { type Client, clientOf, eventually, type Json, newCustomer, newOperator } from '../harness/client.ts';
import {
  accepted,
  available,
  books,
  ended,
  fastForward,
  grant,
  movesOf,
  offer,
  runOf,
  startRun,
  workflowOf,
} from './stage.ts';

const PATIENCE_MS = 90_000; // processes start several times, on a machine that may be busy

/** SIGKILL at every moment between the acceptance of a run and its end: nothing is lost, nothing is done or paid twice. */

interface Scene {
  child: ChildFarebox;
  executor: Awaited<ReturnType<typeof startExecutor>>;
  operator: Client;
  customer: Client;
  root: postgres.Sql;
  restart(env?: Record<string, string>): Promise<void>;
  /** The process is killed when its executor has been called at /die so often. */
  dieAfter(calls: number): void;
}

async function scene(env: Record<string, string> = {}): Promise<Scene> {
  const death = { after: 0, calls: 0, come: Promise.withResolvers<void>() };
  const executor = await startExecutor();
  onTestFinished(() => executor.close());
  // All are called before the process dies, and all have done their work when it is dead.
  executor.behave(async ({ path, data }) => {
    if (!path.startsWith('/die')) return undefined;
    death.calls += 1;
    if (death.calls === death.after) await child.kill().then(death.come.resolve);
    await death.come.promise;
    return { json: { echo: data.input } };
  });
  const child = await childForTest({ env: { EGRESS_ALLOW: `127.0.0.1:${executor.port}`, ...env } });
  const operator = await newOperator(child);
  const customer = await newCustomer(child);
  await grant(operator, customer, 1_000);
  const root = postgres(child.database.superuserUrl, { max: 1, onnotice: () => {} });
  onTestFinished(() => root.end());
  const restart = async (more: Record<string, string> = {}) => {
    await child.kill();
    Object.assign(child.environment, more);
    await child.start();
  };
  const dieAfter = (calls: number) => {
    death.after = calls;
  };
  return { child, executor, operator, customer, root, restart, dieAfter };
}

async function runAt({ operator, executor, customer }: Scene, path: string, calls: Json = {}): Promise<Json> {
  const service = await offer(operator, executor, path, { executor: calls });
  executor.expectSecret(service.signing_secret, path.split('?', 1)[0]);
  return accepted(customer, await workflowOf(customer, service), { input: { n: 1 } });
}

test(
  'between acceptance and end, step by step',
  async () => {
    // Accepted, and gone before anybody was called.
    const at = await scene({ WORKERS: 'off' });
    const run = await runAt(at, '/echo');
    await at.restart({ WORKERS: 'on' });
    expect(await ended(at.customer, run)).toMatchObject({ state: 'succeeded', attempt: 1, output: { echo: { n: 1 } } });
    expect(await movesOf(at.root, run)).toEqual(['spend 10']);
    expect(at.executor.effects).toBe(1);

    // Called; the executors did it and had nobody to tell.
    at.dieAfter(2);
    const [again, last] = [await runAt(at, '/die'), await runAt(at, '/die/last', { max_attempts: 1 })];
    expect(await at.child.exited()).toBeNull();
    await at.restart();
    for (const one of [again, last]) {
      expect(await runOf(at.customer, one)).toMatchObject({ state: 'running', attempt: 1 });
      await fastForward(at.root, one, 120);
    }
    expect(await ended(at.customer, again)).toMatchObject({
      state: 'succeeded',
      attempt: 2,
      output: { echo: { n: 1 } },
    });
    expect(await movesOf(at.root, again)).toEqual(['spend 10']);
    expect(await ended(at.customer, last)).toMatchObject({
      state: 'failed',
      returned: 10,
      failure: { code: 'executor_silent' },
    });
    expect(
      at.executor.runs
        .map(({ runId }) => runId)
        .filter((id) => id !== run.id)
        .sort(),
    ).toEqual([again.id, again.id, last.id].sort());
    expect(at.executor.effects).toBe(3);

    // The executor works on and reports: its token is as good after the restart, what it told is kept.
    const working = await runAt(at, '/async-silent', { report_interval_s: 100 });
    const [call] = await eventually(
      async () => at.executor.runs.filter(({ runId }) => runId === working.id),
      (n) => n.length > 0,
    );
    if (!call) throw new Error('no call');
    const part = (n: number) => at.executor.report(call, { to: 'parts', body: { part: n, content: n } });
    expect((await part(1)).status).toBe(204);
    await at.child.kill();
    expect((await part(2)).status).toBeNull();
    await at.child.start();
    expect([(await part(1)).status, (await part(2)).status]).toEqual([204, 204]);
    await at.executor.report(call, { to: 'complete', body: { output: 'done' } });
    expect(await ended(at.customer, working)).toMatchObject({ state: 'succeeded', attempt: 1, output: 'done' });
    expect((await at.customer.ok('GET', `/v1/runs/${working.id}/parts`)).data).toHaveLength(2);

    expect(await movesOf(at.root, last)).toEqual(['spend 10', 'return 10']);
    expect(await available(at.customer)).toBe(970);
  },
  PATIENCE_MS,
);

test(
  'in the midst of a storm of orders: repeated with their keys, each is there once, and the books agree',
  async () => {
    const at = await scene({ WORKERS: 'off' });
    const service = await offer(at.operator, at.executor, '/echo', { credit_cost: 7 });
    const workflow = await workflowOf(at.customer, service);
    const order = (n: number) =>
      startRun(at.customer, workflow, { input: { n } }, { key: `storm-${n}` }).catch(() => ({ status: 0, text: '' }));
    const numbers = Array.from({ length: 200 }, (_, n) => n); // credits for 142
    let answered = 0;
    const first = numbers.map((n) =>
      order(n).then((reply) => {
        answered += 1;
        return reply;
      }),
    );
    await eventually(
      async () => answered,
      (n) => n > 20,
    );
    await at.child.kill();
    const before = await Promise.all(first);
    expect(before.some(({ status }) => status === 0)).toBe(true);
    await at.restart();
    const after = await Promise.all(numbers.map(order));
    for (const [n, reply] of before.entries()) {
      if (reply.status === 202) expect(after[n]?.text).toBe(reply.text);
    }
    expect(after.filter(({ status }) => status === 202)).toHaveLength(142);
    expect(after.filter(({ status }) => status === 402)).toHaveLength(58);
    expect(await books(at.root, at.customer)).toMatchObject({ runs: 142, transfers: 143, balance: { available: 6 } });
    const keys = await at.root`select count(distinct idempotency_key)::int as n from workflows.runs`;
    expect(keys).toMatchObject([{ n: 142 }]);
  },
  PATIENCE_MS,
);

test(
  'again and again while many runs are on their way: all end well, each is worked on once and paid once',
  async () => {
    const at = await scene();
    const service = await offer(at.operator, at.executor, '/slow?ms=60', {
      executor: { max_concurrency: 8, max_attempts: 50 },
    });
    const workflow = await workflowOf(at.customer, service);
    const runs: Json[] = [];
    for (let n = 0; n < 40; n += 1) runs.push(await accepted(at.customer, workflow));
    for (let kill = 0; kill < 2; kill += 1) {
      const done = at.executor.effects;
      await eventually(
        async () => at.executor.effects,
        (n) => n > done + 3 || n === 40,
      );
      await at.restart();
      for (const run of runs) await fastForward(at.root, run, 120);
    }
    const client = clientOf(at.child.url, at.customer);
    for (const run of runs) {
      expect((await ended(client, run, 20_000)).state).toBe('succeeded');
      expect(await movesOf(at.root, run)).toEqual(['spend 10']);
    }
    expect(at.executor.effects).toBe(40);
    expect(await available(client)).toBe(600);
  },
  PATIENCE_MS,
);
