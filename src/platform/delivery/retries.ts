import { setTimeout as sleep } from 'node:timers/promises';
import { isBusyDatabase } from '../http/failures.ts';

/** When to call again whoever did not take what we posted, and how to keep what an answer came to. */

const MAX_RETRY_AFTER_MS = 86_400_000;

/** Full jitter: between nothing and the exponential bound. */
export const fullJitter = (attempt: number, firstMs: number, longestMs: number): number =>
  Math.round(Math.random() * Math.min(firstMs * 2 ** attempt, longestMs));

/** RFC 9110 §10.2.3: seconds or a date, in milliseconds from now, a day at most; 0 for anything else. */
export function readRetryAfter(header: string | string[] | undefined): number {
  if (typeof header !== 'string') return 0;
  const ms = /^\d{1,9}$/.test(header) ? Number(header) * 1000 : dateOf(header) - Date.now();
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), MAX_RETRY_AFTER_MS) : 0;
}

/** Only what looks like an HTTP date: `Date.parse` finds one in `-5`, too. */
const dateOf = (header: string) => (/^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)/.test(header) ? Date.parse(header) : Number.NaN);

const WRITE_TRIES = 6;
const WRITE_PAUSE_MS = 1_000;
/** What a lease lasts beyond the call: all tries to write down an answer that came at the last moment fit in. */
export const LEASE_MARGIN_MS = 10_000;

/** An answer is worth a few tries to write it down: without it the other side is called again. */
export async function insist(write: () => Promise<void>): Promise<void> {
  for (let left = WRITE_TRIES - 1; ; left -= 1) {
    try {
      return await write();
    } catch (fault) {
      if (left === 0 || !isBusyDatabase(fault)) throw fault;
      await sleep(WRITE_PAUSE_MS);
    }
  }
}
