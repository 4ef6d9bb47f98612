import { sql } from 'drizzle-orm';
import type { Db } from '../platform/database/clients.ts';
import type { Feed } from '../platform/delivery/feed.ts';
import { inParallel } from '../platform/delivery/in-parallel.ts';
import type { Worker } from '../platform/delivery/worker.ts';
import { failpoint } from '../platform/failpoints.ts';
import type { Metrics } from '../platform/metrics.ts';
import { failIn, type RunRef } from './finish.ts';
import type { Run } from './runs.ts';
import { runs, services } from './tables.ts';

const EVERY_MS = 2_000;
const AT_ONCE = 50;
const HANDS = 2; // transactions at a time

/**
 * Ends runs whose time is over: past their deadline, or silent after their last attempt. Their credits go back. Each in
 * a transaction of its own, so that one that cannot be ended does not keep the others from it.
 */
export const runExpirer = ({ db, metrics, feed }: { db: Db; metrics: Metrics; feed: Feed }): Worker => ({
  name: 'run-expiry',
  everyMs: EVERY_MS,
  runOnce: async () => {
    const over = await findOver(db);
    if (over.length > 0) await failpoint('workflows.expire.after_find');
    let ended = 0;
    try {
      await inParallel(over, HANDS, async (run) => {
        if (await end(db, run)) ended += 1;
        await failpoint('workflows.expire.after_commit');
      });
    } finally {
      metrics.runs.inc({ state: 'failed' }, ended);
      if (ended > 0) feed.wake();
    }
    return { more: ended > 0 && over.length >= AT_ONCE };
  },
});

/**
 * Two questions, both by way of the index on the deadlines of open runs. As one, with `or`, it would read every run that
 * there ever was.
 */
async function findOver(db: Db): Promise<RunRef[]> {
  const rows = await db.execute<{ account_id: string; id: string }>(sql`
    (select account_id, id from ${runs}
     where state in ('queued', 'running') and deadline_at <= now()
     order by deadline_at limit ${AT_ONCE})
    union
    (select r.account_id, r.id from ${runs} r join ${services} s on s.id = r.service_id
     where r.state in ('queued', 'running') and r.state = 'running' and r.next_attempt_at <= now()
       and r.attempt - r.attempts_before >= s.max_attempts
     order by r.deadline_at limit ${AT_ONCE})`);
  return rows.map(({ account_id, id }) => ({ accountId: account_id, id }));
}

/** Ends one run, if it is still over: a report may have come meanwhile. */
async function end(db: Db, { accountId, id }: RunRef): Promise<Run | undefined> {
  return db.transaction(async (tx) => {
    const [over] = await tx.execute<{ late: boolean }>(sql`
      select r.deadline_at <= now() as late
      from ${runs} r join ${services} s on s.id = r.service_id
      where r.account_id = ${accountId}::uuid and r.id = ${id}::uuid and r.state in ('queued', 'running')
        and (r.deadline_at <= now() or (r.state = 'running' and r.next_attempt_at <= now()
          and r.attempt - r.attempts_before >= s.max_attempts))
      for update of r skip locked`);
    if (!over) return undefined;
    const failure = over.late
      ? { code: 'deadline_exceeded', message: 'The run did not finish before its deadline.' }
      : { code: 'executor_silent', message: 'The executor did not report in time, and no attempt is left.' };
    const failed = await failIn(tx, { accountId, id }, failure);
    await failpoint('workflows.expire.before_commit');
    return failed;
  });
}
