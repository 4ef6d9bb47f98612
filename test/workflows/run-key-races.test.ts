import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fromWire } from '../../src/platform/ids.ts';
import { type Client, clientOf, eventually, type Json } from '../harness/client.ts';
import type { TestFarebox } from '../harness/farebox.ts';
import { accepted, available, openStage, replicaOf, type Stage, workflowOf } from './stage.ts';

/** The moment between the look at a key and the deduction, held open. */

let stage: Stage;
let second: TestFarebox;
let customer: Client;
let workflow: Json;
beforeAll(async () => {
  stage = await openStage({ env: { WORKERS: 'off' } });
  second = await replicaOf(stage);
  customer = await stage.customer(100);
  workflow = await workflowOf(customer, await stage.offer('/echo'));
});
afterAll(async () => {
  await second.stop();
  await stage.close();
});

// REQ E4.4 E7.1
test('two replicas that both found a key free, and both wait for the account, start one run and take its cost once', async () => {
  await accepted(customer, workflow);
  const key = randomUUID();
  const order = (who: Client) => who.call('POST', `/v1/workflows/${workflow.id}/runs`, { key, body: {} });
  const replies = await stage.root.begin(async (tx) => {
    await tx`select 1 from credits.accounts where account_id = ${fromWire('account', customer.accountId)} for update`;
    const both = [order(customer), order(clientOf(second.url, customer))];
    await eventually(
      () => stage.root`
        select 1 from pg_stat_activity
        where datname = current_database() and usename = 'farebox_app' and wait_event_type = 'Lock'`,
      (waiting) => waiting.length === 2,
      1_500, // then the first gives up waiting
    );
    return { both };
  });
  const [one, other] = await Promise.all(replies.both);
  expect([one?.status, other?.status]).toEqual([202, 202]);
  expect(one?.text).toBe(other?.text);
  expect([one, other].filter((reply) => reply?.headers.get('idempotent-replayed') === 'true')).toHaveLength(1);
  expect(await available(customer)).toBe(80);
  const rows = await stage.root`select id from workflows.runs where idempotency_key = ${key}`;
  expect(rows).toHaveLength(1);
});

test.each(['start-run', 'start-runs'])('%s.sql makes its checks first, as a step of its own', async (name) => {
  const text = readFileSync(new URL(`../../src/workflows/${name}.sql`, import.meta.url), 'utf8');
  const rows = await stage.root.unsafe(`explain (generic_plan, costs off) ${text}`);
  const plan = rows.map((row) => String(row['QUERY PLAN'])).join('\n');
  for (const step of ['asked', 'spent']) expect(plan).toContain(`CTE ${step}\n`);
  const spent = plan.slice(plan.indexOf('CTE spent\n'), plan.indexOf('CTE run\n'));
  expect(spent).toMatch(/Function Scan on spend/);
  expect(spent).toMatch(/CTE Scan on (asked|runnable)/);
});
