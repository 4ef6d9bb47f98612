import { and, eq, inArray, sql } from 'drizzle-orm';
import type { Db, Tx } from '../database/clients.ts';
import { webhookAttempts, webhookDeliveries, webhookEndpoints } from '../database/tables.ts';
import { appendEvents } from '../delivery/events.ts';
import { fullJitter } from '../delivery/retries.ts';
import { failpoint } from '../failpoints.ts';
import type { Outcome } from './call-endpoint.ts';

/** A delivery under way, and the attempt that counts. */
export interface UnderWay {
  id: string;
  endpointId: string;
  subjectId: string;
  attempt: number;
}

const TRIED_FOR_HOURS = 72;
const FIRST_BACKOFF_MS = 5_000;
const LONGEST_BACKOFF_MS = 3 * 3_600_000;

/** What was found about a failure: is it the last one of its delivery, or of its endpoint? */
interface Patience {
  accountId: string;
  isEnabled: boolean;
  /** Nothing but failure for three days. */
  isDead: boolean;
  /** The delivery was tried for three days, and for three days since the endpoint was enabled. */
  isTried: boolean;
}

/**
 * Writes down what a call came to, if this attempt still counts; resolves to the reason when the endpoint was disabled.
 * The endpoint's lock comes first: nobody decides meanwhile what is held behind this delivery.
 */
export async function settle(db: Db, one: UnderWay, outcome: Outcome): Promise<'gone' | 'failing' | undefined> {
  return db.transaction(async (tx) => {
    const patience = await holdAndAsk(tx, one);
    if (!patience) return undefined; // superseded: a later attempt is under way, or over
    if (outcome.what === 'unsent') return giveBack(tx, one);
    await keepAttempt(tx, one, outcome);
    const disabled = await decide(tx, one, outcome, patience);
    await failpoint('platform.webhooks.before_settle_commit');
    return disabled;
  });
}

async function decide(tx: Tx, one: UnderWay, outcome: Outcome, patience: Patience) {
  if (outcome.what === 'delivered') {
    await finish(tx, one, 'delivered');
    await forgive(tx, one.endpointId);
    return undefined;
  }
  const reason = outcome.what === 'gone' ? 'gone' : patience.isDead ? 'failing' : undefined;
  await blame(tx, one.endpointId);
  if (reason && patience.isEnabled) {
    await postpone(tx, one, 0); // it goes on at once when the endpoint is enabled again
    await disable(tx, one.endpointId, patience.accountId, reason);
    return reason;
  }
  if (patience.isTried) await finish(tx, one, 'failed');
  else await postpone(tx, one, Math.max(outcome.afterMs, backoffMs(one.attempt)));
  return undefined;
}

const backoffMs = (attempt: number) => fullJitter(attempt - 1, FIRST_BACKOFF_MS, LONGEST_BACKOFF_MS);

/** All times are the database's: replicas need not agree about them. */
async function holdAndAsk(tx: Tx, one: UnderWay): Promise<Patience | undefined> {
  const long = sql`now() - make_interval(hours => ${TRIED_FOR_HOURS}::int)`;
  await tx.execute(sql`select from platform.webhook_endpoints where id = ${one.endpointId}::uuid for no key update`);
  const [found] = await tx
    .select({
      accountId: webhookEndpoints.accountId,
      isEnabled: webhookEndpoints.enabled,
      isDead: sql<boolean>`coalesce(${webhookEndpoints.failingSince} <= ${long}, false)`,
      isTried: sql<boolean>`greatest(${webhookDeliveries.firstAttemptAt}, ${webhookEndpoints.toldSince}) <= ${long}`,
    })
    .from(webhookDeliveries)
    .innerJoin(webhookEndpoints, eq(webhookEndpoints.id, webhookDeliveries.endpointId))
    .where(counts(one));
  return found;
}

const counts = (one: UnderWay) =>
  and(
    eq(webhookDeliveries.id, one.id),
    eq(webhookDeliveries.attempt, one.attempt),
    eq(webhookDeliveries.state, 'sending'),
  );

async function keepAttempt(tx: Tx, one: UnderWay, { at, ms, status, error, excerpt }: Outcome): Promise<void> {
  await tx.insert(webhookAttempts).values({ deliveryId: one.id, attempt: one.attempt, at, ms, status, error, excerpt });
}

/** It is over, and the next one of its subject is due. */
async function finish(tx: Tx, one: UnderWay, state: 'delivered' | 'failed'): Promise<void> {
  await tx.update(webhookDeliveries).set({ state, finishedAt: sql`now()` }).where(eq(webhookDeliveries.id, one.id));
  await release(tx, one);
}

/** The first of those that are held behind a delivery that is over. The caller holds the endpoint. */
async function release(tx: Tx, { endpointId, subjectId }: Pick<UnderWay, 'endpointId' | 'subjectId'>): Promise<void> {
  const next = tx
    .select({ id: webhookDeliveries.id })
    .from(webhookDeliveries)
    .where(
      and(
        eq(webhookDeliveries.endpointId, endpointId),
        eq(webhookDeliveries.subjectId, subjectId),
        eq(webhookDeliveries.state, 'held'),
      ),
    )
    .orderBy(webhookDeliveries.eventSeq)
    .limit(1);
  await tx
    .update(webhookDeliveries)
    .set({ state: 'pending', nextAttemptAt: sql`now()` })
    .where(inArray(webhookDeliveries.id, next));
}

async function postpone(tx: Tx, one: UnderWay, ms: number): Promise<void> {
  await tx
    .update(webhookDeliveries)
    .set({ state: 'pending', nextAttemptAt: sql`now() + make_interval(secs => ${ms / 1000}::float8)` })
    .where(eq(webhookDeliveries.id, one.id));
}

/** It was no attempt. */
async function giveBack(tx: Tx, one: UnderWay): Promise<undefined> {
  await tx
    .update(webhookDeliveries)
    .set({ state: 'pending', attempt: one.attempt - 1, nextAttemptAt: sql`now()` })
    .where(eq(webhookDeliveries.id, one.id));
}

const forgive = (tx: Tx, id: string) =>
  tx
    .update(webhookEndpoints)
    .set({ failingSince: null })
    .where(and(eq(webhookEndpoints.id, id), sql`failing_since is not null`));

const blame = (tx: Tx, id: string) =>
  tx
    .update(webhookEndpoints)
    .set({ failingSince: sql`now()` })
    .where(and(eq(webhookEndpoints.id, id), sql`failing_since is null`));

/** What waits for it stays. The account is told, at its other endpoints as well. */
async function disable(tx: Tx, id: string, accountId: string, reason: 'gone' | 'failing'): Promise<void> {
  await tx.update(webhookEndpoints).set({ enabled: false, disabledReason: reason }).where(eq(webhookEndpoints.id, id));
  const type = 'platform.webhook_endpoint_disabled';
  await appendEvents(tx, [{ accountId, type, subjectId: id, payload: { reason } }]);
}

/** Ends a delivery that nobody will make any more, so that what is held behind it goes on. */
export async function abandon(db: Db, { id, endpointId, subjectId }: Omit<UnderWay, 'attempt'>): Promise<void> {
  await db.transaction(async (tx) => {
    await tx.execute(sql`select from platform.webhook_endpoints where id = ${endpointId}::uuid for no key update`);
    const [over] = await tx
      .update(webhookDeliveries)
      .set({ state: 'failed', finishedAt: sql`now()` })
      .where(and(eq(webhookDeliveries.id, id), inArray(webhookDeliveries.state, ['pending', 'sending'])))
      .returning();
    if (over) await release(tx, { endpointId, subjectId });
  });
}

/**
 * Delivers again what is over, under the same webhook-id and with three days of tries anew; behind a later one of its
 * subject that is under way. False when it is not over.
 */
export async function redeliver(tx: Tx, id: string): Promise<boolean> {
  const isBehind = sql`exists (
    select from platform.webhook_deliveries other
    where other.endpoint_id = ${webhookDeliveries.endpointId} and other.subject_id = ${webhookDeliveries.subjectId}
      and other.state in ('pending', 'sending'))`;
  const again = await tx
    .update(webhookDeliveries)
    .set({
      state: sql`case when ${isBehind} then 'held' else 'pending' end`,
      nextAttemptAt: sql`now()`,
      firstAttemptAt: null,
      finishedAt: null,
    })
    .where(and(eq(webhookDeliveries.id, id), inArray(webhookDeliveries.state, ['delivered', 'failed'])))
    .returning({ id: webhookDeliveries.id });
  return again.length === 1;
}
