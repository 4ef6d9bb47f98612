import { expect, onTestFinished, test } from 'vitest';
import { clientOf } from '../harness/client.ts';
import { accepted, ended, openStage, replicaOf, startRun, workflowOf } from '../workflows/stage.ts';

// Statements are prepared, and planned by the statistics of the moment: while a table is empty the planner would rather
// read it whole, and would go on doing so when it has grown.
test('what is asked of a young table is looked up by an index, however little the planner knows of it', async () => {
  const stage = await openStage({ env: { WORKERS: 'off' } });
  onTestFinished(() => stage.close());
  await stage.root`vacuum analyze`;
  const service = await stage.offer('/echo', { credit_cost: 1 });
  const replica = await replicaOf(stage, { WORKERS: 'on' });
  const customer = clientOf(replica.url, await stage.customer(100));
  const workflow = await workflowOf(customer, service);
  for (let n = 0; n < 12; n += 1) await ended(customer, await accepted(customer, workflow));
  await Promise.all(Array.from({ length: 40 }, () => startRun(customer, workflow)));
  for (let n = 0; n < 12; n += 1) await customer.ok('GET', '/v1/credits/transfers');
  await customer.ok('GET', '/v1/runs');
  await replica.stop(); // its connections end, and tell what they did
  const whole = await stage.root`
    select schemaname || '.' || relname as name, seq_tup_read::int as read from pg_stat_user_tables
    where schemaname in ('credits', 'workflows', 'identity', 'payments') and seq_tup_read > 50 order by 1`;
  expect([...whole]).toEqual([]);
  const [runs] =
    await stage.root`select idx_scan::int as n from pg_stat_user_tables where relid = 'workflows.runs'::regclass`;
  expect(runs?.['n'], 'somebody looked').toBeGreaterThan(52);
});
