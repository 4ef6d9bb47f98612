import { sql } from 'drizzle-orm';
import type { Db } from '../platform/database/clients.ts';
import type { Feed } from '../platform/delivery/feed.ts';
import type { Worker } from '../platform/delivery/worker.ts';
import type { Metrics } from '../platform/metrics.ts';
import { failIn } from './finish.ts';
import { runs, services } from './tables.ts';

const EVERY_MS = 2_000;
const AT_ONCE = 50;

/** Ends runs whose time is over: past their deadline, or silent after their last attempt. Their credits go back. */
export const runExpirer = ({ db, metrics, feed }: { db: Db; metrics: Metrics; feed: Feed }): Worker => ({
  name: 'run-expiry',
  everyMs: EVERY_MS,
  runOnce: async () => {
    const ended = await db.transaction(async (tx) => {
      const over = await tx.execute<{ account_id: string; id: string; late: boolean }>(sql`
        select r.account_id, r.id, r.deadline_at <= now() as late
        from ${runs} r join ${services} s on s.id = r.service_id
        where r.state in ('queued', 'running')
          and (r.deadline_at <= now() or (r.state = 'running' and r.next_attempt_at <= now() and r.attempt >= s.max_attempts))
        order by r.account_id, r.id limit ${AT_ONCE}
        for update of r skip locked`);
      for (const { account_id, id, late } of over) {
        const failure = late
          ? { code: 'deadline_exceeded', message: 'The run did not finish before its deadline.' }
          : { code: 'executor_silent', message: 'The executor did not report in time, and no attempt is left.' };
        await failIn(tx, { accountId: account_id, id }, failure);
      }
      return over.length;
    });
    if (ended > 0) {
      metrics.runs.inc({ state: 'failed' }, ended);
      feed.wake();
    }
    return { more: ended === AT_ONCE };
  },
});
