import { readFileSync } from 'node:fs';
import { sql } from 'drizzle-orm';
import type { Db, Tx } from '../database/clients.ts';
import { runIn, type Statement } from '../database/statement.ts';
import type { Worker } from '../delivery/worker.ts';
import { failpoint } from '../failpoints.ts';
import { KEPT_DAYS } from './retention.ts';
import type { WebhooksDeps } from './routes.ts';

const EVERY_MS = 500;
/** Events that one round looks at; those of a subject that begins among them come along. */
const STRETCH = 2_000;
/** Where nobody asks for the events, the cursor is moved so seldom: there is little to catch up with when somebody does. */
const IDLE_MOVE_S = 10;

const tellStretch: Statement<[string, string, string, string, string, number], { isDue: boolean }> = {
  text: readFileSync(new URL('./fan-out.sql', import.meta.url), 'utf8'),
  parse: (rows) => ({ isDue: rows.some((row) => row['state'] === 'pending') }),
};

type Place = { xid: string; seq: string };
interface Stretch {
  from: Place;
  until: Place;
  horizon: string;
  isLast: boolean;
  /** The cursor was not moved for long. */
  isIdle: boolean;
}

/**
 * Makes deliveries of events: exactly one per event and endpoint. Reads up to the oldest transaction still running, so
 * a slow one delays its events and loses none. The cursor moves in the transaction that writes the deliveries, and that
 * has a number beyond all it has read: a crash cannot take numbers back to before the cursor.
 */
export const fanOut = ({ db, wakeSender }: Pick<WebhooksDeps, 'db' | 'wakeSender'>): Worker => ({
  name: 'webhook-fan-out',
  everyMs: EVERY_MS,
  runOnce: async () => {
    if (!(await isWanted(db))) return { more: false };
    const { isDue, more } = await db.transaction(advance);
    await failpoint('platform.webhooks.after_fan_out');
    if (isDue) wakeSender();
    return { more };
  },
});

const isIdle = sql`c.moved_at < now() - make_interval(secs => ${IDLE_MOVE_S}::int)`;

async function isWanted(db: Db): Promise<boolean> {
  const [row] = await db.execute<{ wanted: boolean }>(sql`
    select exists (select from platform.webhook_endpoints where enabled)
      or ${isIdle} as wanted
    from platform.webhook_cursor c`);
  return row?.wanted ?? false;
}

async function advance(tx: Tx): Promise<{ isDue: boolean; more: boolean }> {
  const [lock] = await tx.execute<{ taken: boolean }>(
    sql`select pg_try_advisory_xact_lock(hashtextextended('platform.webhooks.fan_out', 0)) as taken`,
  );
  if (!lock?.taken) return { isDue: false, more: false }; // another replica is at it
  const { from, until, horizon, isLast, isIdle } = await nextStretch(tx);
  const isWanted = await holdEndpoints(tx, from, until);
  if (!isWanted && isLast && !isIdle) return { isDue: false, more: false }; // not worth a commit
  const { isDue } = isWanted
    ? await runIn(tx, tellStretch, [from.xid, from.seq, until.xid, until.seq, horizon, KEPT_DAYS])
    : { isDue: false };
  await tx.execute(sql`
    update platform.webhook_cursor set xid = ${until.xid}::text::xid8, seq = ${until.seq}::bigint, moved_at = now()`);
  await failpoint('platform.webhooks.before_fan_out_commit');
  return { isDue, more: !isLast };
}

/**
 * From the cursor to the horizon, or so many events. A horizon before the cursor is that of another server, on which a
 * backup was restored: it begins anew, and what is known as a delivery already is left out.
 */
async function nextStretch(tx: Tx): Promise<Stretch> {
  const [now] = await tx.execute<Place & { horizon: string; isIdle: boolean }>(sql`
    select ${isIdle} as "isIdle", h.horizon::text as horizon, case when c.xid <= h.horizon then c.xid::text else '0' end as xid,
      case when c.xid <= h.horizon then c.seq else 0 end::text as seq
    from platform.webhook_cursor c, (select platform.event_horizon() as horizon) h`);
  if (!now) throw new Error('there is no webhook cursor');
  const { horizon, isIdle: idle, ...from } = now;
  const [last] = await tx.execute<Place & Record<string, unknown>>(sql`
    select xid::text as xid, seq::text as seq from platform.events
    where (xid, seq) > (${from.xid}::text::xid8, ${from.seq}::bigint) and xid < ${horizon}::text::xid8
    order by xid, seq offset ${STRETCH - 1}::int limit 1`);
  return { from, until: last ?? { xid: horizon, seq: '0' }, horizon, isLast: !last, isIdle: idle };
}

/** Nobody finishes a delivery of theirs meanwhile, so that what is to be held and what is due is known for sure. */
async function holdEndpoints(tx: Tx, from: Place, until: Place): Promise<boolean> {
  const held = await tx.execute(sql`
    select id from platform.webhook_endpoints
    where enabled and deleted_at is null and account_id in (
      select account_id from platform.events
      where (xid, seq) > (${from.xid}::text::xid8, ${from.seq}::bigint)
        and (xid, seq) <= (${until.xid}::text::xid8, ${until.seq}::bigint))
    order by id for share`);
  return held.length > 0;
}
