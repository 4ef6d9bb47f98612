import { asc, eq, isNull, sql } from 'drizzle-orm';
import type { Db, Tx } from '../../platform/database/clients.ts';
import type { NostrEvent } from '../../platform/nostr/event.ts';
import type { Interest } from '../../platform/nostr/relays.ts';
import { nostrInbox, nostrRelays } from './tables.ts';

export type Heard = typeof nostrInbox.$inferSelect;

/** Keeps what was heard; false when it was known. The id is that of the content, and was verified. */
export async function keep(on: Db | Tx, event: NostrEvent, relay: string): Promise<boolean> {
  const { id, kind, pubkey: author, created_at: eventAt } = event;
  const kept = await on
    .insert(nostrInbox)
    .values({ id, kind, author, eventAt, event, relay })
    .onConflictDoNothing()
    .returning({ id: nostrInbox.id });
  return kept.length > 0;
}

/** What was not looked at yet, the oldest first, for this transaction alone. */
export const unread = (tx: Tx, limit: number): Promise<Heard[]> =>
  tx
    .select()
    .from(nostrInbox)
    .where(isNull(nostrInbox.verdict))
    .orderBy(asc(nostrInbox.receivedAt))
    .limit(limit)
    .for('update', { skipLocked: true });

/** What came of it, in the transaction in which that happened. */
export async function conclude(tx: Tx, id: string, verdict: string): Promise<void> {
  await tx.update(nostrInbox).set({ verdict }).where(eq(nostrInbox.id, id));
}

/**
 * An interest that keeps everything it hears, and where it has got to. `onKept` is rung for what is new. A relay that was never heard is asked
 * for the last `firstS` seconds.
 */
export const keptInterest = (
  db: Db,
  { filters, firstS, onKept }: { filters: Interest['filters']; firstS: number; onKept(): void },
): Interest => ({
  filters,
  onEvent: async (event, relay) => {
    if (await keep(db, event, relay)) onKept();
  },
  startAt: async (url) => {
    const [row] = await db.select().from(nostrRelays).where(eq(nostrRelays.url, url));
    return row?.heardUntil ?? new Date(Date.now() - firstS * 1000);
  },
  onCaughtUp: async (url, heardUntil) => {
    await db
      .insert(nostrRelays)
      .values({ url, heardUntil })
      .onConflictDoUpdate({
        target: nostrRelays.url,
        set: { heardUntil: sql`greatest(${nostrRelays.heardUntil}, excluded.heard_until)` }, // another replica may be further
      });
  },
});
