import { sql } from 'drizzle-orm';
import type { Db } from '../database/clients.ts';
import type { Worker } from '../delivery/worker.ts';
import type { Metrics } from '../metrics.ts';
import { abandon } from './settle.ts';

/** Deliveries and their attempts, whatever their state: shorter than events are kept, which hold what they say. */
export const KEPT_DAYS = 14;
const EVERY_MS = 30_000;
const REAPED_AT_ONCE = 1_000;
const isOld = sql`created_at < now() - make_interval(days => ${KEPT_DAYS}::int)`;

type Late = { id: string; endpointId: string; subjectId: string };

/** Forgets old deliveries and deleted endpoints, and measures how old the oldest is that an endpoint still waits for. */
export const webhookReaper = ({ db, metrics }: { db: Db; metrics: Metrics }): Worker => ({
  name: 'webhook-reaper',
  everyMs: EVERY_MS,
  runOnce: async () => {
    metrics.webhookOldestAge.set(await oldestAge(db));
    const late = await db.execute<Late>(sql`
      select id, endpoint_id as "endpointId", subject_id as "subjectId" from platform.webhook_deliveries
      where ${isOld} and state in ('pending', 'sending') order by created_at limit ${REAPED_AT_ONCE / 10}::int`);
    for (const one of late) await abandon(db, one);
    const old = await db.execute(sql`
      delete from platform.webhook_deliveries where ctid in (
        select ctid from platform.webhook_deliveries where ${isOld} and finished_at is not null
        order by created_at limit ${REAPED_AT_ONCE}::int)
      returning id`);
    const orphaned = await db.execute(sql`
      delete from platform.webhook_deliveries where id in (
        select d.id from platform.webhook_endpoints w join platform.webhook_deliveries d on d.endpoint_id = w.id
        where w.deleted_at is not null limit ${REAPED_AT_ONCE}::int)
      returning id`);
    await db.execute(sql`
      delete from platform.webhook_endpoints w where deleted_at < now() - interval '1 hour'
        and not exists (select from platform.webhook_deliveries d where d.endpoint_id = w.id)`);
    return { more: late.length > 0 || old.length === REAPED_AT_ONCE || orphaned.length === REAPED_AT_ONCE };
  },
});

async function oldestAge(db: Db): Promise<number> {
  const [row] = await db.execute<{ age: number }>(sql`
    select coalesce(extract(epoch from now() - min(oldest.created_at)), 0)::float8 as age
    from platform.webhook_endpoints w cross join lateral (
      select created_at from platform.webhook_deliveries
      where endpoint_id = w.id and state in ('pending', 'sending') order by created_at limit 1) oldest
    where w.enabled`);
  return row?.age ?? 0;
}
