import { sql } from 'drizzle-orm';
import type { Db, Tx } from './database/clients.ts';
import { auditLog } from './database/tables.ts';
import type { Worker } from './delivery/worker.ts';
import { failpoint } from './failpoints.ts';
import type { Log } from './log.ts';
import type { Metrics } from './metrics.ts';

/** One entry of the audit trail. `detail` holds ids, amounts and reasons; never secrets, tokens or whole bodies. */
export interface AuditEntry {
  /** Account id, or a name such as `worker:reconciler` or `cli`. */
  actor: string;
  /** `context.what`, for example `credits.granted`; security events are `security.…`. */
  action: string;
  subjectId?: string;
  detail?: Record<string, unknown>;
  requestId?: string;
}

/** Appends to the audit log, in the transaction of what it tells of, or on its own. */
export async function audit(on: Db | Tx, entry: AuditEntry): Promise<void> {
  await on.insert(auditLog).values({
    actor: entry.actor,
    action: entry.action,
    subjectId: entry.subjectId ?? null,
    detail: JSON.stringify(entry.detail ?? {}),
    requestId: entry.requestId ?? null,
  });
}

/** Tells of something that looks like an attack: logged, counted, and kept in the audit log (E6.5). */
export type Alarm = (entry: AuditEntry & { action: `security.${string}` }) => void;

/** Rows that one kind of security event may add to the audit log per minute; beyond it they are counted and logged. */
const KEPT_PER_MINUTE = 60;

/** Never fails and never waits: a flood of forged requests must not become a flood of database work. */
export function createAlarm(db: Db, log: Log, metrics: Metrics): Alarm {
  let minute = 0;
  const kept = new Map<string, number>();
  return (entry) => {
    metrics.securityEvents.inc({ event: entry.action });
    log.warn({ security: entry.action, actor: entry.actor, subject_id: entry.subjectId, request_id: entry.requestId });
    const now = Math.floor(Date.now() / 60_000);
    if (now !== minute) {
      minute = now;
      kept.clear();
    }
    const count = (kept.get(entry.action) ?? 0) + 1;
    kept.set(entry.action, count);
    if (count > KEPT_PER_MINUTE) return;
    audit(db, entry).catch((fault) => log.error({ err: fault }, 'a security event could not be kept'));
  };
}

const SEALED_EVERY_MS = 60_000;
const SEALED_AT_ONCE = 5_000;
/** The first seal is over everything: numbers begin at 1, but who puts a row in may choose. */
const BEFORE_ALL = sql`(-9223372036854775808)::bigint`;

/**
 * Chains the audit log: each seal holds the hash over the former seal's and all rows since. Done by one replica at a
 * time and never in a writing transaction; rows of transactions that still run are left for the next seal.
 *
 * Whoever cuts off the newest rows together with their seals leaves no trace in the database: so the head goes into the
 * log at the start and once a day, which is kept elsewhere.
 */
export function auditSealer(db: Db, log: Log): Worker {
  let toldOn = '';
  return {
    name: 'audit-seal',
    everyMs: SEALED_EVERY_MS,
    runOnce: async () => {
      const sealed = await seal(db);
      const today = new Date().toISOString().slice(0, 10);
      if (toldOn !== today) {
        await tellHead(db, log);
        toldOn = today;
      }
      return { more: sealed === SEALED_AT_ONCE };
    },
  };
}

async function tellHead(db: Db, log: Log): Promise<void> {
  const [head] = await db.execute<{ id: string; hash: string }>(
    sql`select id::text as id, encode(hash, 'hex') as hash from platform.audit_seals order by id desc limit 1`,
  );
  if (head) log.info({ seal: head.id, hash: head.hash }, 'the audit log is sealed up to here');
}

async function seal(db: Db): Promise<number> {
  const sealed = await db.transaction(async (tx) => {
    const [lock] = await tx.execute<{ taken: boolean }>(
      sql`select pg_try_advisory_xact_lock(hashtextextended('platform.audit_seal', 0)) as taken`,
    );
    if (!lock?.taken) return 0;
    const [seal] = await tx.execute<{ rows: number }>(sql`
        with last as (
          select id, until_xid, until_seq, hash from platform.audit_seals order by id desc limit 1
        ), fresh as (
          select r.xid, r.seq, platform.audit_text(r) as line
          from platform.audit_log r
          where r.xid < platform.event_horizon()
            and (r.xid, r.seq) > (coalesce((select until_xid from last), '0'::xid8), coalesce((select until_seq from last), ${BEFORE_ALL}))
          order by r.xid, r.seq limit ${SEALED_AT_ONCE}
        )
        insert into platform.audit_seals (id, until_xid, until_seq, rows, previous, hash)
        select coalesce((select id from last), 0) + 1,
          (array_agg(xid order by xid desc, seq desc))[1], (array_agg(seq order by xid desc, seq desc))[1], count(*),
          coalesce((select hash from last), '\\x'::bytea),
          sha256(coalesce((select hash from last), '\\x'::bytea) || convert_to(string_agg(line, E'\\n' order by xid, seq), 'UTF8'))
        from fresh having count(*) > 0
        returning rows`);
    if (seal) await failpoint('platform.audit.before_seal_commit');
    return seal?.rows ?? 0;
  });
  if (sealed > 0) await failpoint('platform.audit.after_seal_commit');
  return sealed;
}

/**
 * SQL: true, or null, for a seal `s` whose rows no longer give its hash, or that does not follow from the one before it.
 * Written out for people in `auditSealer`, and here for whoever does not believe it.
 */
export const BROKEN_SEAL = `not (
  select s.previous = b.hash and (
    select count(*) = s.rows
      and s.hash = sha256(s.previous || convert_to(string_agg(platform.audit_text(r), E'\\n' order by r.xid, r.seq), 'UTF8'))
    from platform.audit_log r
    where (r.xid, r.seq) > (b.until_xid, b.until_seq) and (r.xid, r.seq) <= (s.until_xid, s.until_seq))
  from (
    select id, hash, until_xid, until_seq from platform.audit_seals
    union all select 0, '\\x'::bytea, '0'::xid8, -9223372036854775808
  ) b where b.id = s.id - 1)`;

/** Ids of the seals that are broken; none when all is well. */
export async function brokenSeals(db: Db): Promise<string[]> {
  const broken = await db.execute<{ id: string }>(
    sql`select s.id::text as id from platform.audit_seals s where (${sql.raw(BROKEN_SEAL)}) is not false`,
  );
  return broken.map(({ id }) => id);
}
