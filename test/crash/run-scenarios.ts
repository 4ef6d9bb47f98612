import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { fromWire } from '../../src/platform/ids.ts';
import type { Client, Json } from '../harness/client.ts';
import { hurry, movesOf, offer, passDeadline, workflowOf } from '../workflows/stage.ts';
import type { Cell, Scenario } from './cell.ts';
import type { CrashStage } from './stage.ts';

/** A run on its way. It costs 10 of the 100 credits that its customer has. */
interface Running {
  customer: Client;
  workflow: Json;
  key: string;
  run?: Json;
}

const ready = async (stage: CrashStage, path: string, terms: Json = {}): Promise<Running> => {
  const executor = { max_attempts: 50, timeout_ms: 5_000, report_interval_s: 600, ...terms };
  const service = await stage.service(path, { executor });
  const customer = await stage.customer();
  return { customer, workflow: await workflowOf(customer, service), key: randomUUID() };
};

async function startIt(cell: Cell, state: Running): Promise<void> {
  const path = `/v1/workflows/${state.workflow.id}/runs`;
  const { run } = await cell.insist(state.customer, 'POST', path, { key: state.key, body: { input: { n: 1 } } });
  expect(run.id, 'one key, one run').toBe((state.run ?? run).id);
  state.run = run;
}

const ends = (cell: Cell, { customer, run }: Running, wished: string): Promise<Json> =>
  cell.until(`the run has ${wished}`, async () => {
    const now = await cell.insist(customer, 'GET', `/v1/runs/${run.id}`, {});
    return now.state === wished ? now : undefined;
  });

/** Leases and pauses of a customer's runs run out, provided that no executor is at work on any. */
async function ageRuns({ sql, executor }: CrashStage, { customer }: { customer: Client }): Promise<void> {
  const isIdle = await Promise.race([executor.idle().then(() => true), sleep(5).then(() => false)]);
  if (!isIdle) return;
  await sql`
    update workflows.runs set next_attempt_at = now()
    where account_id = ${fromWire('account', customer.accountId)} and state in ('queued', 'running')
      and next_attempt_at > now()`;
}

const paidOnce = async (stage: CrashStage, { customer, run }: Running, moves: string[]) => {
  expect(await movesOf(stage.sql, run)).toEqual(moves);
  const left = 100 - 10 * moves.filter((one) => one === 'spend 10').length + 10 * (moves.length - 1);
  expect((await customer.ok('GET', '/v1/credits/balance')).available).toBe(left);
  const [kept] = await stage.sql`
    select count(*)::int as n from workflows.runs where account_id = ${fromWire('account', customer.accountId)}`;
  expect(kept).toEqual({ n: 1 });
};

const callsOf = (stage: CrashStage, { run }: Running) =>
  stage.executor.runs.filter(({ runId, refusal }) => runId === run.id && refusal === null).length;

const succeeds: Scenario<Running> = {
  name: 'a run is started and succeeds at once',
  points: [
    'workflows.start.before_statement',
    'workflows.start.after_commit',
    'workflows.start.before_answer',
    'workflows.dispatch.before_lease_commit',
    'workflows.dispatch.after_lease',
    'workflows.dispatch.before_call',
    'workflows.dispatch.after_call',
    'workflows.succeed.before_commit',
    'workflows.succeed.after_commit',
    'workflows.dispatch.after_record',
  ],
  set: (stage) => ready(stage, '/echo'),
  play: async (cell, state) => {
    await startIt(cell, state);
    const run = await ends(cell, state, 'succeeded');
    expect(run.output).toEqual({ echo: { n: 1 } });
  },
  lend: ageRuns,
  check: async (stage, state) => {
    await paidOnce(stage, state, ['spend 10']);
    expect(callsOf(stage, state)).toBeGreaterThan(0);
  },
};

const fails: Scenario<Running> = {
  name: 'a run fails for good and is paid back',
  points: [
    'workflows.return.before_post',
    'workflows.return.after_post',
    'workflows.fail.before_commit',
    'workflows.fail.after_commit',
  ],
  set: (stage) => ready(stage, '/refuse'),
  play: async (cell, state) => {
    await startIt(cell, state);
    await ends(cell, state, 'failed');
  },
  lend: ageRuns,
  check: (stage, state) => paidOnce(stage, state, ['spend 10', 'return 10']),
};

const again: Scenario<Running> = {
  name: 'an executor is busy at first',
  points: ['workflows.dispatch.before_requeue_commit'],
  isImpatient: true,
  set: (stage) => ready(stage, '/fail-times?n=2'),
  play: async (cell, state) => {
    await startIt(cell, state);
    await ends(cell, state, 'succeeded');
  },
  lend: ageRuns,
  check: (stage, state) => paidOnce(stage, state, ['spend 10']),
};

const reports: Scenario<Running> = {
  name: 'an executor works on and reports',
  points: [
    'workflows.dispatch.before_accept_commit',
    'workflows.report.before_progress_commit',
    'workflows.report.after_progress_commit',
    'workflows.report.before_part_commit',
    'workflows.report.after_part_commit',
    'workflows.succeed.before_commit',
    'workflows.succeed.after_commit',
  ],
  set: (stage) => ready(stage, '/async?progress=1&parts=2&delay_ms=60'),
  play: async (cell, state) => {
    await startIt(cell, state);
    await ends(cell, state, 'succeeded');
  },
  lend: ageRuns,
  check: async (stage, state) => {
    await paidOnce(stage, state, ['spend 10']);
    const rows = await stage.sql`
      select number from workflows.parts where run_id = ${fromWire('run', state.run.id)} order by number`;
    const parts = rows.map((row) => row['number']);
    // An executor gives a report up after a few tries. What was acknowledged is there, and nothing else, and once.
    const made = stage.executor.reports.filter(({ runId, to }) => runId === state.run.id && to === 'parts');
    const acknowledged = made.filter(({ status }) => status === 204).map(({ body }) => body['part']);
    for (const part of acknowledged) expect(parts).toContain(part);
    for (const part of parts) expect(made.map(({ body }) => body['part'])).toContain(part);
    expect(new Set(parts).size).toBe(parts.length);
  },
};

const triesAgain: Scenario<Running> = {
  name: 'an executor asks for another attempt',
  points: ['workflows.dispatch.before_requeue_commit'],
  isImpatient: true,
  set: async (stage) => {
    stage.executor.behave((run) => {
      if (run.path !== '/retryable') return undefined;
      const body = { code: 'not_now', message: null, retryable: true };
      return run.nth === 1 ? { reports: [{ to: 'fail', body }], everyMs: 60 } : { json: 'done' };
    });
    return ready(stage, '/retryable');
  },
  play: async (cell, state) => {
    await startIt(cell, state);
    await cell.until('a second call', async () => {
      await hurry(cell.stage.sql, state.run);
      return callsOf(cell.stage, state) > 1;
    });
    await ends(cell, state, 'succeeded');
  },
  lend: ageRuns,
  check: (stage, state) => paidOnce(stage, state, ['spend 10']),
};

const expires: Scenario<Running> = {
  name: 'a run passes its deadline',
  points: [
    'workflows.expire.after_find',
    'workflows.return.after_post',
    'workflows.expire.before_commit',
    'workflows.expire.after_commit',
  ],
  isImpatient: true,
  set: async (stage) => {
    const state = await ready(stage, '/async-silent');
    const path = `/v1/workflows/${state.workflow.id}/runs`;
    state.run = (await state.customer.ok('POST', path, { key: state.key, body: {} })).run;
    while (callsOf(stage, state) === 0) await sleep(10);
    await passDeadline(stage.sql, state.run);
    return state;
  },
  play: async (cell, state) => {
    const run = await ends(cell, state, 'failed');
    expect(run.failure.code).toBe('deadline_exceeded');
  },
  check: (stage, state) => paidOnce(stage, state, ['spend 10', 'return 10']),
};

const cancelled: Scenario<Running> = {
  name: 'a run is cancelled before its turn',
  points: ['workflows.cancel.before_commit', 'workflows.cancel.after_commit', 'workflows.return.before_post'],
  set: async (stage) => {
    // The service has one place, and somebody has it: what comes next is not dispatched.
    const executor = { max_concurrency: 1, report_interval_s: 600 };
    const service = await offer(stage.operator, stage.executor, '/async-silent', { executor });
    const place = async (): Promise<Running> => {
      const customer = await stage.customer();
      const workflow = await workflowOf(customer, service);
      const key = randomUUID();
      const { run } = await customer.ok('POST', `/v1/workflows/${workflow.id}/runs`, { key, body: {} });
      return { customer, workflow, key, run };
    };
    const first = await place();
    while (callsOf(stage, first) === 0) await sleep(10);
    const state = await place();
    return state;
  },
  play: async (cell, state) => {
    await cell.insist(state.customer, 'POST', `/v1/runs/${state.run.id}/cancel`, {});
    await ends(cell, state, 'cancelled');
  },
  check: async (stage, state) => {
    await paidOnce(stage, state, ['spend 10', 'return 10']);
    expect(callsOf(stage, state)).toBe(0);
  },
};

interface Batch {
  customers: { who: Client; workflow: Json; keys: string[] }[];
}

const batch: Scenario<Batch> = {
  name: 'many runs are started in one commit',
  points: ['workflows.start.before_group', 'workflows.start.after_group'],
  set: async (stage) => {
    const service = await stage.service('/echo', { executor: { max_attempts: 50, timeout_ms: 5_000 } });
    const one = async () => {
      const who = await stage.customer();
      return { who, workflow: await workflowOf(who, service), keys: [1, 2, 3, 4].map(() => randomUUID()) };
    };
    return { customers: [await one(), await one(), await one()] };
  },
  play: async (cell, { customers }) => {
    // Their accounts are held for a moment, so that what arrives meanwhile goes into one group.
    const accounts = customers.map(({ who }) => fromWire('account', who.accountId));
    const held = cell.stage.sql.begin(async (tx) => {
      await tx`select 1 from credits.accounts where account_id = any(${accounts}::uuid[]) for update`;
      await sleep(300);
    });
    const orders = customers.flatMap(({ who, workflow, keys }) =>
      keys.map(async (key) => {
        const { run } = await cell.insist(who, 'POST', `/v1/workflows/${workflow.id}/runs`, { key, body: {} });
        await ends(cell, { customer: who, workflow, key, run }, 'succeeded');
      }),
    );
    await Promise.all([held, ...orders]);
  },
  lend: (stage, { customers }) => Promise.all(customers.map(({ who }) => ageRuns(stage, { customer: who }))),
  check: async (stage, { customers }) => {
    for (const { who } of customers) {
      expect((await who.ok('GET', '/v1/credits/balance')).available).toBe(60);
      const account = fromWire('account', who.accountId);
      const [kept] = await stage.sql`select count(*)::int as n from workflows.runs where account_id = ${account}`;
      expect(kept).toEqual({ n: 4 });
    }
  },
};

export const runScenarios = [succeeds, batch, fails, again, reports, triesAgain, expires, cancelled];
export { ageRuns, ends, type Running, ready, startIt };
