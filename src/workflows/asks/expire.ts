import { and, asc, inArray, lte, sql } from 'drizzle-orm';
import type { Db } from '../../platform/database/clients.ts';
import type { Feed } from '../../platform/delivery/feed.ts';
import { inParallel } from '../../platform/delivery/in-parallel.ts';
import type { Worker } from '../../platform/delivery/worker.ts';
import { failpoint } from '../../platform/failpoints.ts';
import type { Metrics } from '../../platform/metrics.ts';
import { isWaiting } from './decide.ts';
import { expireAsk, writeOff } from './end.ts';
import { absorb, lockAsk } from './settle.ts';
import { asks } from './tables.ts';

const EVERY_MS = 2_000;
const AT_ONCE = 50;
const HANDS = 2; // transactions at a time

/**
 * Ends asks whose time is over. What came for one in time and was not looked at yet pays it first, however late this is.
 * Each in a transaction of its own, so that one that cannot be ended does not keep the others from it.
 */
export const askExpirer = ({
  db,
  feed,
  metrics,
  wakeDispatcher,
}: {
  db: Db;
  feed: Feed;
  metrics: Metrics;
  wakeDispatcher(): void;
}): Worker => ({
  name: 'ask-expiry',
  everyMs: EVERY_MS,
  runOnce: async () => {
    const due = await db
      .select({ id: asks.id })
      .from(asks)
      .where(and(inArray(asks.state, ['open', 'part_paid']), lte(asks.expiresAt, sql`now()`)))
      .orderBy(asc(asks.expiresAt))
      .limit(AT_ONCE);
    await inParallel(due, HANDS, async ({ id }) => {
      if ((await end(db, id)) === 'expired') metrics.runs.inc({ state: 'expired' });
      await failpoint('workflows.ask.after_expire');
    });
    if (due.length > 0) {
      feed.wake();
      wakeDispatcher();
    }
    return { more: due.length === AT_ONCE };
  },
});

/** What it came to, if it is still over and unpaid. */
const end = (db: Db, id: string): Promise<'expired' | 'written_off' | undefined> =>
  db.transaction(async (tx) => {
    const asked = await lockAsk(tx, id);
    if (!asked?.isLate) return undefined;
    const now = await absorb(tx, asked);
    if (!isWaiting(now.ask.state)) return undefined;
    const isDebt = now.ask.kind === 'result';
    await (isDebt ? writeOff(tx, now) : expireAsk(tx, now));
    await failpoint('workflows.ask.before_expire_commit');
    return isDebt ? 'written_off' : 'expired';
  });
