import { and, eq, lte, sql } from 'drizzle-orm';
import type { Alarm } from '../audit-log.ts';
import type { Db, Tx } from '../database/clients.ts';
import { deliveries, subscribers } from '../database/tables.ts';
import { failpoint } from '../failpoints.ts';
import type { Log } from '../log.ts';
import type { Worker } from './worker.ts';

/**
 * What contexts hear of each other. Whoever is below tells (`appendEvents`, without an account) and knows no listener;
 * the table of who wants to hear what stands in `app.ts`, and in the database for whoever writes an event.
 */

/** What has happened, as a subscriber hears it: after the commit, at least once. */
export interface Heard {
  type: string;
  subjectId: string;
  payload: unknown;
}

/** Does all that follows in this transaction, which also marks the event as heard. No call to anybody else. */
export type Subscriber = (tx: Tx, heard: Heard) => Promise<void>;

/** By type of event and name of the subscriber. A name is for ever: what is under way is found by it. */
export type Subscriptions = Record<string, Record<string, Subscriber>>;

const EVERY_MS = 1_000;
const AT_ONCE = 50;
/** Then it is parked: what fails so often needs a person. */
const MAX_ATTEMPTS = 12;
const LONGEST_PAUSE_S = 300;

/** Makes known who listens, before anything is told. What an older version wanted to hear it still hears. */
export async function subscribe(db: Db, table: Subscriptions): Promise<void> {
  const rows = Object.entries(table).flatMap(([type, by]) => Object.keys(by).map((name) => ({ type, name })));
  if (rows.length > 0) await db.insert(subscribers).values(rows).onConflictDoNothing();
}

/** Tells subscribers, in order of the events, each in a transaction of its own. */
export const subscriptionWorker = (deps: { db: Db; alarm: Alarm; log: Log }, table: Subscriptions): Worker => ({
  name: 'subscriptions',
  everyMs: EVERY_MS,
  runOnce: async () => {
    const due = await deps.db
      .select()
      .from(deliveries)
      .where(lte(deliveries.nextAttemptAt, sql`now()`))
      .orderBy(deliveries.nextAttemptAt, deliveries.eventSeq)
      .limit(AT_ONCE);
    for (const one of due) await tell(deps, table, one);
    return { more: due.length === AT_ONCE };
  },
});

type Delivery = typeof deliveries.$inferSelect;

const isIt = ({ eventSeq, subscriber }: Delivery) =>
  and(eq(deliveries.eventSeq, eventSeq), eq(deliveries.subscriber, subscriber));

async function tell(
  { db, alarm, log }: { db: Db; alarm: Alarm; log: Log },
  table: Subscriptions,
  delivery: Delivery,
): Promise<void> {
  const subscriber = table[delivery.type]?.[delivery.subscriber];
  if (!subscriber) return; // of a newer version, which will tell it
  try {
    await db.transaction(async (tx) => {
      const [mine] = await tx.select().from(deliveries).where(isIt(delivery)).for('update', { skipLocked: true });
      if (!mine) return;
      await subscriber(tx, mine);
      await tx.delete(deliveries).where(isIt(delivery));
      await failpoint('platform.subscriptions.before_commit');
    });
    await failpoint('platform.subscriptions.after_commit');
  } catch (fault) {
    log.error({ err: fault, type: delivery.type, subscriber: delivery.subscriber }, 'an event was not heard');
    if (await postpone(db, delivery)) return;
    const detail = { type: delivery.type, subscriber: delivery.subscriber, event_seq: delivery.eventSeq.toString() };
    alarm({ actor: 'worker:subscriptions', action: 'security.event_parked', subjectId: delivery.subjectId, detail });
  }
}

/** Later and later; false when it was the last time. */
async function postpone(db: Db, delivery: Delivery): Promise<boolean> {
  const attempts = delivery.attempts + 1;
  const pauseS = Math.min(2 ** attempts, LONGEST_PAUSE_S);
  const isLast = attempts >= MAX_ATTEMPTS;
  await db
    .update(deliveries)
    .set({ attempts, nextAttemptAt: isLast ? null : sql`now() + make_interval(secs => ${pauseS})` })
    .where(isIt(delivery));
  return !isLast;
}
