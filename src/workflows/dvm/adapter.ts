import { and, desc, eq, isNotNull, isNull, sql } from 'drizzle-orm';
import type { Worker } from '../../platform/delivery/worker.ts';
import { publicKeyOf } from '../../platform/nostr/event.ts';
import { openRelays, type Relays } from '../../platform/nostr/relays.ts';
import { asks } from '../asks/tables.ts';
import { services } from '../tables.ts';
import { jobWorker } from './advance.ts';
import { announcer } from './announce.ts';
import type { DvmDeps } from './deps.ts';
import { createIntake } from './intake.ts';
import { publisher } from './publish.ts';
import { takeReceipt } from './receipts.ts';
import { cursors, jobs, words } from './tables.ts';

/**
 * The data vending machine (NIP-90): jobs that are asked for, paid and answered over relays. Everything that it knows is in
 * the database; without relays there is none of it, and REST does the same.
 */
export interface Dvm {
  workers: Worker[];
  relays: Relays;
  close(): void;
}

export interface DvmOptions {
  urls: string[];
  /** `host:port` of relays that customers may name although they are private. */
  allow: string[];
  catchUpEveryMs?: number | undefined;
}

const [DELETION, RECEIPT] = [5, 9735];
const MAX_WATCHED = 200; // ids in one filter; relays take no more
const REFRESH_MS = 5_000;
const FIRST_LOOK_MS = 2 * 3_600_000; // what a relay has kept when it is heard for the first time

export function openDvm(deps: DvmDeps, { urls, allow, catchUpEveryMs }: DvmOptions): Dvm {
  const { db, log, key } = deps;
  const us = publicKeyOf(key);
  const relays = openRelays({ urls, log, key, allow, ...(catchUpEveryMs === undefined ? {} : { catchUpEveryMs }) });
  const intake = createIntake(deps);
  const watched = { kinds: [] as number[], jobs: [] as string[], asked: [] as string[] };

  /** Filters are asked for at the moment of a connection; what they name is read beforehand. */
  const refresh = async () => {
    const kinds = await db
      .selectDistinct({ kind: services.nostrKind })
      .from(services)
      .where(isNotNull(services.nostrKind));
    watched.kinds = kinds.flatMap(({ kind }) => kind ?? []);
    const open = await db
      .select({ id: jobs.id })
      .from(jobs)
      .where(isNull(jobs.closedAt))
      .orderBy(desc(jobs.createdAt))
      .limit(MAX_WATCHED);
    watched.jobs = open.map(({ id }) => id);
    const asked = await db
      .select({ id: words.id })
      .from(words)
      .innerJoin(asks, and(eq(asks.id, words.askId), sql`${asks.state} in ('open', 'part_paid')`))
      .orderBy(desc(words.createdAt))
      .limit(MAX_WATCHED);
    watched.asked = asked.map(({ id }) => id);
  };

  let leave: (() => void) | undefined;
  let following = '';
  const follow = () => {
    const kinds = watched.kinds.join(' ');
    if (leave && kinds === following) return;
    leave?.();
    following = kinds;
    leave = relays.follow({
      filters: (since) => [
        ...(watched.kinds.length > 0 ? [{ kinds: watched.kinds, '#p': [us], since }] : []),
        { kinds: [DELETION], '#p': [us], since },
        ...(watched.jobs.length > 0 ? [{ kinds: [DELETION], '#e': watched.jobs }] : []),
        { kinds: [RECEIPT], '#p': [us], since },
        // However late its provider tells of it.
        ...(watched.asked.length > 0 ? [{ kinds: [RECEIPT], '#e': watched.asked }] : []),
      ],
      onEvent: async (event) => void (await (event.kind === RECEIPT ? takeReceipt(deps, event) : intake.take(event))),
      startAt: async (relay) => {
        const [cursor] = await db.select().from(cursors).where(eq(cursors.relay, relay));
        return cursor?.heardUntil ?? new Date(Date.now() - FIRST_LOOK_MS);
      },
      onCaughtUp: async (relay, heardUntil) => {
        await db
          .insert(cursors)
          .values({ relay, heardUntil })
          .onConflictDoUpdate({ target: cursors.relay, set: { heardUntil } });
      },
    });
  };

  const listener: Worker = {
    name: 'nostr-listener',
    everyMs: REFRESH_MS,
    runOnce: async () => {
      await refresh();
      follow();
      return { more: false };
    },
  };

  return {
    workers: [listener, jobWorker(deps), publisher({ ...deps, relays }), announcer(deps)],
    relays,
    close: () => relays.close(),
  };
}
