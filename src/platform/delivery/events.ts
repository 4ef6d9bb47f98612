import { sql } from 'drizzle-orm';
import type { Tx } from '../database/clients.ts';
import { deliveries, events, subscribers } from '../database/tables.ts';

/** A fact to be told: `type` is `context.past_tense`, the payload carries wire values and nothing personal. */
export interface NewEvent {
  /** Null: no account is told, but the contexts that listen (`subscriptions.ts`). */
  accountId: string | null;
  type: string;
  /** uuid of what it happened to. Within a subject, `seq` is the order in which it happened. */
  subjectId: string;
  payload: Record<string, unknown>;
  /** Told to an account, and to the contexts that listen as well. */
  inward?: boolean;
}

/**
 * Appends events in the transaction of the change they tell of. The caller holds the lock of the subject's row, so
 * that the numbers of one subject are in commit order.
 */
export async function appendEvents(tx: Tx, news: NewEvent[]): Promise<void> {
  if (news.length === 0) return;
  const rows = news.map(({ inward: _, ...row }) => row);
  const told = await tx.insert(events).values(rows).returning({ seq: events.seq });
  for (const [n, { seq }] of told.entries()) if (news[n]?.accountId === null || news[n]?.inward) await deliver(tx, seq);
}

/** A delivery for each context that listens. */
const deliver = (tx: Tx, seq: bigint) =>
  tx.execute(sql`
    insert into ${deliveries} (event_seq, subscriber, type, subject_id, payload)
    select e.seq, s.name, e.type, e.subject_id, e.payload
    from ${events} e join ${subscribers} s on s.type = e.type
    where e.seq = ${seq.toString()}::bigint and e.created_at = now()`);
