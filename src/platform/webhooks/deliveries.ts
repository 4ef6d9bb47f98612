import { and, asc, desc, eq, lt, sql } from 'drizzle-orm';
import type { Db, Tx } from '../database/clients.ts';
import { events, webhookAttempts, webhookDeliveries } from '../database/tables.ts';

export type Delivery = Awaited<ReturnType<typeof listDeliveries>>[number];
export type Attempt = typeof webhookAttempts.$inferSelect;

export const deliveryStates = ['held', 'pending', 'sending', 'delivered', 'failed'] as const;
export type DeliveryState = (typeof deliveryStates)[number];

/** A delivery and what it tells of; events are kept for longer. */
const withEvents = (on: Db | Tx) =>
  on
    .select({
      id: webhookDeliveries.id,
      createdAt: webhookDeliveries.createdAt,
      state: webhookDeliveries.state,
      attempt: webhookDeliveries.attempt,
      nextAttemptAt: webhookDeliveries.nextAttemptAt,
      finishedAt: webhookDeliveries.finishedAt,
      eventId: events.id,
      seq: events.seq,
      type: events.type,
    })
    .from(webhookDeliveries)
    .innerJoin(
      events,
      and(eq(events.createdAt, webhookDeliveries.eventAt), eq(events.seq, webhookDeliveries.eventSeq)),
    );

/** Newest event first; `before` is the number of the last one seen. */
export const listDeliveries = (
  db: Db,
  endpointId: string,
  { state, before, limit }: { state: DeliveryState | undefined; before: string | null; limit: number },
) =>
  withEvents(db)
    .where(
      and(
        eq(webhookDeliveries.endpointId, endpointId),
        state === undefined ? undefined : eq(webhookDeliveries.state, state),
        before === null ? undefined : lt(webhookDeliveries.eventSeq, sql`${before}::bigint`),
      ),
    )
    .orderBy(desc(webhookDeliveries.eventSeq))
    .limit(limit);

export async function findDelivery(on: Db | Tx, endpointId: string, id: string): Promise<Delivery | undefined> {
  const [delivery] = await withEvents(on).where(
    and(eq(webhookDeliveries.endpointId, endpointId), eq(webhookDeliveries.id, id)),
  );
  return delivery;
}

/** A delivery and its attempts, oldest first, as they were at one moment. */
export const findWholeDelivery = (
  db: Db,
  endpointId: string,
  id: string,
): Promise<{ delivery: Delivery | undefined; attempts: Attempt[] }> =>
  db.transaction(
    async (tx) => ({
      delivery: await findDelivery(tx, endpointId, id),
      attempts: await tx
        .select()
        .from(webhookAttempts)
        .where(eq(webhookAttempts.deliveryId, id))
        .orderBy(asc(webhookAttempts.attempt)),
    }),
    { isolationLevel: 'repeatable read', accessMode: 'read only' },
  );
