import type { Alarm } from '../audit-log.ts';
import type { DatabaseOptions, Db, Sql } from '../database/clients.ts';
import type { Worker } from '../delivery/worker.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Check } from './check.ts';
import type { Halt } from './halt.ts';
import { type KeptAudit, keepAudit, lastAudit } from './kept.ts';
import { type AuditResult, isSound, openAuditClient, restOf, runAudit } from './run-audit.ts';

/** The installation looks after its own books: an audit every so often, by one replica, beside the work of the day. */

export interface SelfAuditDeps {
  db: Db;
  connection: Omit<DatabaseOptions, 'pool'>;
  checks: Check[];
  /** 0: never by itself. */
  everyMin: number;
  mayHalt: boolean;
  halt: Halt;
  log: Log;
  metrics: Metrics;
  alarm: Alarm;
}

export interface SelfAudit {
  worker: Worker;
  readonly isRunning: boolean;
  /** Begins one now, unless one is under way here or in another replica. */
  start(): void;
  /** Breaks off what is under way. */
  stop(): Promise<void>;
}

const LOOK_EVERY_MS = 60_000;
const MINUTE_MS = 60_000;

export function createSelfAudit(deps: SelfAuditDeps): SelfAudit {
  const stopping = new AbortController();
  let running: Promise<void> | undefined;
  const run = (isWanted: () => Promise<boolean>, signal = stopping.signal) => {
    running = auditAlone(deps, isWanted, AbortSignal.any([signal, stopping.signal]))
      .catch((fault) => {
        if (!stopping.signal.aborted) throw fault; // else it was broken off, by us
      })
      .finally(() => {
        running = undefined;
      });
    return running;
  };
  const isDue = async () => {
    const last = await lastAudit(deps.db);
    showLast(deps.metrics, last);
    return deps.everyMin > 0 && (!last || Date.now() - last.finishedAt.getTime() >= deps.everyMin * MINUTE_MS);
  };
  let isStarting = true;
  return {
    worker: {
      name: 'self-audit',
      everyMs: LOOK_EVERY_MS,
      runOnce: async (signal) => {
        // A start is busy enough, and a roll-out is many of them.
        const isFirst = isStarting;
        isStarting = false;
        if ((await isDue()) && !isFirst && !running) await run(isDue, signal);
        return { more: false };
      },
    },
    get isRunning() {
      return running !== undefined;
    },
    start: () => {
      if (running) return;
      run(async () => true).catch((fault) => deps.log.error({ err: fault }, 'the audit could not be made'));
    },
    stop: async () => {
      stopping.abort();
      await running?.catch(() => {});
    },
  };
}

/** One audit at a time, whichever replica is first; the others leave it to that one. */
async function auditAlone(deps: SelfAuditDeps, isWanted: () => Promise<boolean>, signal: AbortSignal): Promise<void> {
  const client = openAuditClient({ ...deps.connection, applicationName: 'farebox:audit' }, 'live');
  try {
    // The lock goes with the connection, however that ends.
    const [lock] = await client<{ taken: boolean }[]>`
      select pg_try_advisory_lock(hashtextextended('platform.audit', 0)) as taken`;
    if (!lock?.taken || !(await isWanted())) return;
    await auditAndTell(deps, client, signal);
  } finally {
    await client.end({ timeout: 1 });
  }
}

async function auditAndTell(deps: SelfAuditDeps, client: Sql, signal: AbortSignal): Promise<void> {
  const result = await runAudit(client, deps.checks, 'live', { rest: restOf('live'), signal });
  const halts = await keepAudit(deps.db, result, deps.mayHalt);
  if (halts) await deps.halt.look();
  showLast(deps.metrics, result);
  tell(deps, result, halts);
}

function tell({ log, alarm }: SelfAuditDeps, result: AuditResult, halts: boolean): void {
  const ms = result.finishedAt.getTime() - result.startedAt.getTime();
  if (isSound(result)) {
    log.info({ ms, checks: result.checks.length }, 'the books hold');
    return;
  }
  const broken = result.checks.filter((one) => one.offending > 0);
  const offending = Object.fromEntries(broken.map((one) => [one.id, one.offending]));
  log.error({ ms, offending, halts }, 'the books do not hold');
  alarm({ actor: 'worker:self-audit', action: 'security.audit_broken', detail: { offending, halts } });
}

/** The same in every replica, whoever made it. */
function showLast(metrics: Metrics, last: Pick<KeptAudit, 'finishedAt' | 'checks'> | undefined): void {
  if (!last) return;
  metrics.audited.at = last.finishedAt;
  metrics.auditOffending.reset();
  for (const { id, offending } of last.checks) metrics.auditOffending.set({ invariant: id }, offending);
}
