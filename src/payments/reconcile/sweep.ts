import { sql } from 'drizzle-orm';
import type { Db } from '../../platform/database/clients.ts';
import { inParallel } from '../../platform/delivery/in-parallel.ts';
import type { Worker } from '../../platform/delivery/worker.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { type ConvergeDeps, converge } from '../purchases/converge.ts';
import type { Change } from '../rails/rail.ts';
import { watermarks } from '../tables.ts';

/**
 * Reads the provider's events from where the last reading ended, with an overlap, and converges every charge that they
 * are about. It finds what no webhook told of; every webhook may be lost. Two replicas may sweep at once: converging
 * twice is converging once.
 */

const EVERY_MS = 60_000;
const OVERLAP_S = 600; // late events, and clocks that differ
const FIRST_SWEEP_S = 86_400;
const MAX_PAGES = 50; // of 100; the rest is for the next round
const IN_PARALLEL = 4;
const REMEMBERED = 20_000;

export function eventSweeper(deps: ConvergeDeps): Worker {
  const seen = new Set<string>();
  /** A reading that was too long for one round: where the next one goes on. */
  let unfinished: Reading | undefined;
  return {
    name: 'event-sweep',
    everyMs: EVERY_MS,
    runOnce: async () => {
      const reading = unfinished ?? { ...(await readWatermark(deps.db)), page: 0 };
      const { changes, isWhole } = await readChanges(deps, reading);
      await failpoint('payments.sweep.after_list');
      const fresh = changes.filter(({ eventId }) => !seen.has(eventId));
      const chargeIds = new Set(fresh.map(({ chargeId }) => chargeId).filter((id) => id !== null));
      const missed = new Set<string>();
      await inParallel([...chargeIds], IN_PARALLEL, async (id) => {
        if ((await converge(deps, id, 'reconciler')).result === 'retry') missed.add(id);
      });
      if (seen.size > REMEMBERED) seen.clear();
      for (const { eventId, chargeId } of fresh) if (chargeId === null || !missed.has(chargeId)) seen.add(eventId);
      // What could not be read now is read again, and nothing behind it is passed over.
      if (missed.size > 0 || isWhole === 'unread') return { more: false };
      unfinished = isWhole === 'part' ? { ...reading, page: reading.page + MAX_PAGES } : undefined;
      await failpoint('payments.sweep.before_watermark');
      if (!unfinished) await setWatermark(deps.db, reading.until);
      await failpoint('payments.sweep.after_watermark');
      return { more: unfinished !== undefined };
    },
  };
}

/** Events between two moments, from that page on. */
interface Reading {
  since: Date;
  until: Date;
  page: number;
}

/** `unread`: the provider could not be asked to the end; `part`: there is more than one round takes. */
async function readChanges(
  { rail }: ConvergeDeps,
  reading: Reading,
): Promise<{ changes: Change[]; isWhole: 'whole' | 'part' | 'unread' }> {
  const changes: Change[] = [];
  for (let page = reading.page; page < reading.page + MAX_PAGES; page += 1) {
    const answer = await rail.changedSince(reading.since, page * 100);
    if (answer.outcome !== 'ok') return { changes, isWhole: 'unread' };
    changes.push(...answer.value.changes);
    if (!answer.value.hasMore) return { changes, isWhole: 'whole' };
  }
  return { changes, isWhole: 'part' };
}

const NAME = 'omise_events';

async function readWatermark(db: Db): Promise<{ since: Date; until: Date }> {
  const [row] = await db.execute<{ since: string; until: string }>(sql`
    insert into ${watermarks} (name, at) values (${NAME}, now() - make_interval(secs => ${FIRST_SWEEP_S}))
    on conflict (name) do update set at = ${watermarks.at}
    returning (${watermarks.at} - make_interval(secs => ${OVERLAP_S}))::text as since, now()::text as until`);
  if (!row) throw new Error('no watermark');
  return { since: new Date(row.since), until: new Date(row.until) };
}

async function setWatermark(db: Db, at: Date): Promise<void> {
  await db.execute(
    sql`update ${watermarks} set at = greatest(at, ${at.toISOString()}::text::timestamptz) where name = ${NAME}`,
  );
}
