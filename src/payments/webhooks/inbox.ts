import { createHash } from 'node:crypto';
import { and, eq, inArray, lt, notInArray, sql } from 'drizzle-orm';
import { z } from 'zod';
import type { Db } from '../../platform/database/clients.ts';
import { inParallel } from '../../platform/delivery/in-parallel.ts';
import type { Worker } from '../../platform/delivery/worker.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { type ConvergeDeps, converge } from '../purchases/converge.ts';
import { chargeIdOf } from '../rails/omise-objects.ts';
import { charges, webhookInbox } from '../tables.ts';

/** What is read of an event: ids, and what it claims, for comparison. Nothing in it is believed. */
export const OmiseEvent = z.looseObject({
  object: z.literal('event'),
  id: z.string().regex(/^evnt_(test_)?[a-z0-9]{8,40}$/),
  key: z.string().min(1).max(64),
  livemode: z.boolean().optional(),
  data: z.looseObject({ object: z.string(), status: z.string().max(32).optional().catch(undefined) }),
});
export type OmiseEvent = z.infer<typeof OmiseEvent>;

/** Keys whose charge is worth reading back; everything else is acknowledged and left alone. */
const CONCERNS_US = /^(charge|refund|dispute)\./;

/** Keeps a notification; false when it is known. After this commits it cannot be lost any more. */
export async function receive(db: Db, event: OmiseEvent, rawBody: Buffer): Promise<boolean> {
  const chargeId = CONCERNS_US.test(event.key) ? chargeIdOf(event.data) : null;
  const rows = await db
    .insert(webhookInbox)
    .values({
      eventId: event.id,
      key: event.key,
      chargeId,
      claimedStatus: event.data.object === 'charge' ? (event.data.status ?? null) : null,
      bodyHash: createHash('sha256').update(rawBody).digest(),
      ...(chargeId === null ? { state: 'ignored' as const, outcome: 'no_concern' } : {}),
    })
    .onConflictDoNothing()
    .returning({ eventId: webhookInbox.eventId });
  return rows.length > 0;
}

type Row = typeof webhookInbox.$inferSelect;

const EVERY_MS = 5_000;
const AT_ONCE = 100;
const IN_PARALLEL = 4;
const LEASE_S = 60;
const RETRY_AFTER_S = [5, 15, 60, 300, 900];
const RETRY_EVERY_S = 3600;
const PARKED_TIMES = 3; // for 80 seconds in all
const KEPT_DAYS = 90;
/** One look-up per unknown charge and ten minutes: posts about charges that are not ours cost the provider nothing. */
const NEGATIVE_CACHE_MINUTES = 10;

/** Gate 2: reads the charge of each notification back and converges. Whatever cannot be read now is read later. */
export const inboxWorker = (deps: ConvergeDeps): Worker => ({
  name: 'webhook-inbox',
  everyMs: EVERY_MS,
  runOnce: async () => {
    const due = await lease(deps.db);
    if (due.length > 0) await failpoint('payments.inbox.after_lease');
    // Many notifications of one charge are answered by one look at it.
    const byCharge = Map.groupBy(due, ({ chargeId }) => chargeId ?? '');
    await inParallel([...byCharge], IN_PARALLEL, ([chargeId, rows]) => work(deps, chargeId, rows));
    return { more: due.length === AT_ONCE };
  },
});

async function lease(db: Db): Promise<Row[]> {
  const due = db
    .select({ eventId: webhookInbox.eventId })
    .from(webhookInbox)
    .where(and(eq(webhookInbox.state, 'received'), lt(webhookInbox.nextAttemptAt, sql`now()`)))
    .orderBy(webhookInbox.nextAttemptAt)
    .limit(AT_ONCE)
    .for('update', { skipLocked: true });
  return db
    .update(webhookInbox)
    .set({ attempts: sql`${webhookInbox.attempts} + 1`, nextAttemptAt: sql`now() + make_interval(secs => ${LEASE_S})` })
    .where(sql`${webhookInbox.eventId} in ${due}`)
    .returning();
}

async function work(deps: ConvergeDeps, chargeId: string, rows: Row[]): Promise<void> {
  if (await wasUnknown(deps.db, chargeId, rows)) return close(deps.db, rows, 'ignored', 'unknown_charge');
  const { result, charge } = await converge(deps, chargeId, 'webhook');
  if (result === 'retry' || result === 'unreadable') return postpone(deps.db, rows);
  if (result === 'unknown_charge' && (await mayBeOurs(deps.db, rows))) return postpone(deps.db, rows);
  const detail = { event_ids: rows.map(({ eventId }) => eventId), status: charge?.status };
  if (result === 'unknown_charge' || result === 'foreign') {
    deps.alarm({ actor: 'webhook', action: 'security.webhook_unknown_charge', subjectId: chargeId, detail });
    return close(deps.db, rows, 'ignored', 'unknown_charge');
  }
  await failpoint('payments.inbox.before_close');
  if (charge?.status !== 'successful' && rows.some(({ claimedStatus }) => claimedStatus === 'successful')) {
    deps.alarm({ actor: 'webhook', action: 'security.webhook_mismatch', subjectId: chargeId, detail });
  }
  await close(deps.db, rows, 'done', result);
  await failpoint('payments.inbox.after_close');
}

/** A notification may overtake our own create call, and even the provider's own list: then it waits a few minutes. */
async function mayBeOurs(db: Db, rows: Row[]): Promise<boolean> {
  if (rows.every(({ attempts }) => attempts > PARKED_TIMES)) return false;
  const open = await db
    .select({ id: charges.attemptId })
    .from(charges)
    .where(
      and(
        eq(charges.state, 'creating'),
        sql`${charges.createdAt} > now() - make_interval(mins => ${NEGATIVE_CACHE_MINUTES})`,
      ),
    )
    .limit(1);
  return open.length > 0;
}

/** Whether somebody asked about this charge a moment ago, and it was not ours; it may have become ours since. */
async function wasUnknown(db: Db, chargeId: string, rows: Row[]): Promise<boolean> {
  const [ours] = await db.select({ id: charges.attemptId }).from(charges).where(eq(charges.chargeId, chargeId));
  if (ours) return false;
  const [known] = await db
    .select({ eventId: webhookInbox.eventId })
    .from(webhookInbox)
    .where(
      and(
        eq(webhookInbox.chargeId, chargeId),
        notInArray(webhookInbox.eventId, idsOf(rows)),
        eq(webhookInbox.outcome, 'unknown_charge'),
        sql`${webhookInbox.receivedAt} > now() - make_interval(mins => ${NEGATIVE_CACHE_MINUTES})`,
      ),
    )
    .limit(1);
  return known !== undefined;
}

async function close(db: Db, rows: Row[], state: 'done' | 'ignored', outcome: string): Promise<void> {
  await db
    .update(webhookInbox)
    .set({ state, outcome })
    .where(inArray(webhookInbox.eventId, idsOf(rows)));
}

async function postpone(db: Db, rows: Row[]): Promise<void> {
  const pauseS = RETRY_AFTER_S[Math.min(...rows.map(({ attempts }) => attempts)) - 1] ?? RETRY_EVERY_S;
  await db
    .update(webhookInbox)
    .set({ nextAttemptAt: sql`now() + make_interval(secs => ${pauseS})` })
    .where(inArray(webhookInbox.eventId, idsOf(rows)));
}

const idsOf = (rows: Row[]) => rows.map(({ eventId }) => eventId);

/** Forgets old notifications; what they led to is in the purchases' history. */
export const inboxReaper = (db: Db): Worker => ({
  name: 'webhook-inbox-reaper',
  everyMs: 3_600_000,
  runOnce: async () => {
    const old = sql`(select event_id from ${webhookInbox} where state <> 'received' and received_at < now() - make_interval(days => ${KEPT_DAYS}) limit 1000)`;
    const gone = await db
      .delete(webhookInbox)
      .where(sql`${webhookInbox.eventId} in ${old}`)
      .returning({ id: webhookInbox.eventId });
    return { more: gone.length === 1000 };
  },
});
