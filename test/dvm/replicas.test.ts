import { afterAll, beforeAll, expect, test } from 'vitest';
import { faultsAtRest } from '../harness/whole-books.ts';
import { replicaOf } from '../workflows/stage.ts';
import { type DvmStage, msatOf, openDvmStage } from './stage.ts';

/** Two replicas hear the same relays, and both would do everything. */

let stage: DvmStage;
let other: Awaited<ReturnType<typeof replicaOf>>;
beforeAll(async () => {
  stage = await openDvmStage();
  other = await replicaOf(stage);
});
afterAll(async () => {
  await other.stop();
  await stage.close();
});

test('every job is done once, and every word said once', async () => {
  const { kind } = await stage.sell();
  const customers = Array.from({ length: 4 }, () => stage.newCustomer());
  const done = await Promise.all(
    customers.flatMap((customer) =>
      [1, 2].map(async () => {
        const job = await customer.ask(kind);
        const asked = await job.word('7000 payment-required');
        await customer.zap(asked, msatOf(asked));
        await job.over();
        return job;
      }),
    ),
  );
  for (const job of done) {
    const words = await stage.root`
      select w.id from workflows.nostr_events w where w.job_id = ${job.id} order by w.seq`;
    expect(job.words()).toEqual(['7000 payment-required', '7000 processing', String(kind + 1000)]);
    expect(job.answers().map(({ id }) => id)).toEqual(words.map(({ id }) => id));
  }
  expect(stage.executor.runs.map(({ nth }) => nth)).toEqual(done.map(() => 1));
  const [books] = await stage.root`
    select (select count(*)::int from workflows.nostr_jobs) as jobs, (select count(*)::int from workflows.nostr_customers) as keys,
      (select count(*)::int from workflows.runs where state = 'succeeded' and paid = 30) as done,
      (select count(*)::int from payments.arrivals) as zaps`;
  expect(books).toEqual({ jobs: 8, keys: 4, done: 8, zaps: 8 });
  expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
  for (const customer of customers) customer.close();
});
