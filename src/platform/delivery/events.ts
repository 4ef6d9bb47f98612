import type { Tx } from '../database/clients.ts';
import { events } from '../database/tables.ts';

/** A fact to be told: `type` is `context.past_tense`, the payload carries wire values and nothing personal. */
export interface NewEvent {
  accountId: string | null;
  type: string;
  /** uuid of what it happened to. Within a subject, `seq` is the order in which it happened. */
  subjectId: string;
  payload: Record<string, unknown>;
}

/**
 * Appends events in the transaction of the change they tell of. The caller holds the lock of the subject's row, so
 * that the numbers of one subject are in commit order.
 */
export async function appendEvents(tx: Tx, news: NewEvent[]): Promise<void> {
  if (news.length === 0) return;
  await tx.insert(events).values(news);
}
