import { sql } from 'drizzle-orm';
import type { Db } from '../../platform/database/clients.ts';
import { inParallel } from '../../platform/delivery/in-parallel.ts';
import type { Worker } from '../../platform/delivery/worker.ts';
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
  return {
    name: 'event-sweep',
    everyMs: EVERY_MS,
    runOnce: async () => {
      const { since, now } = await readWatermark(deps.db);
      const { changes, isWhole } = await readChanges(deps, since);
      const fresh = changes.filter(({ eventId }) => !seen.has(eventId));
      const chargeIds = new Set(fresh.map(({ chargeId }) => chargeId).filter((id) => id !== null));
      const missed = new Set<string>();
      await inParallel([...chargeIds], IN_PARALLEL, async (id) => {
        if ((await converge(deps, id, 'reconciler')).result === 'retry') missed.add(id);
      });
      if (missed.size > 0) return { more: false }; // the watermark stays, and so does what was not read
      if (seen.size > REMEMBERED) seen.clear();
      for (const { eventId } of fresh) seen.add(eventId);
      const reached = isWhole === 'whole' ? now : changes.at(-1)?.at;
      if (reached && isWhole !== 'unread') await setWatermark(deps.db, reached);
      return { more: isWhole === 'part' };
    },
  };
}

/** `unread`: the provider could not be asked to the end; `part`: there is more than one round takes. */
async function readChanges(
  { rail }: ConvergeDeps,
  since: Date,
): Promise<{ changes: Change[]; isWhole: 'whole' | 'part' | 'unread' }> {
  const changes: Change[] = [];
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const answer = await rail.changedSince(since, page * 100);
    if (answer.outcome !== 'ok') return { changes, isWhole: 'unread' };
    changes.push(...answer.value.changes);
    if (!answer.value.hasMore) return { changes, isWhole: 'whole' };
  }
  return { changes, isWhole: 'part' };
}

const NAME = 'omise_events';

async function readWatermark(db: Db): Promise<{ since: Date; now: Date }> {
  const [row] = await db.execute<{ since: string; now: string }>(sql`
    insert into ${watermarks} (name, at) values (${NAME}, now() - make_interval(secs => ${FIRST_SWEEP_S}))
    on conflict (name) do update set at = ${watermarks.at}
    returning (${watermarks.at} - make_interval(secs => ${OVERLAP_S}))::text as since, now()::text as now`);
  if (!row) throw new Error('no watermark');
  return { since: new Date(row.since), now: new Date(row.now) };
}

async function setWatermark(db: Db, at: Date): Promise<void> {
  await db.execute(
    sql`update ${watermarks} set at = greatest(at, ${at.toISOString()}::text::timestamptz) where name = ${NAME}`,
  );
}
