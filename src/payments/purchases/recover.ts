import { sql } from 'drizzle-orm';
import { failpoint } from '../../platform/failpoints.ts';
import type { Charge } from '../rails/rail.ts';
import { charges } from '../tables.ts';
import type { Attempt } from './apply.ts';
import { abandon } from './charge.ts';
import { type ConvergeDeps, settleCharge } from './converge.ts';

const CLOCK_SKEW_MS = 120_000; // between our database and the provider
const MAX_PAGES = 20; // of 100 charges; more than anybody makes while one call is unanswered
/** A call that was sent is executed by then, or never. */
const EXECUTED_WITHIN_MS = 3_600_000;
/** A charge that was made is in the list by then; two looks, so that one stale answer does not decide. */
const GIVE_UP_AFTER_S = 120;
const GIVE_UP_LOOKS = 2;
const LOOK_AGAIN_S = 30;

/** Finds out what became of an attempt whose answer was lost: adopts its charge, or gives it up. `ageS` by the database's clock. */
export async function recover(
  deps: ConvergeDeps,
  attempt: Attempt,
  ageS: number,
): Promise<'adopted' | 'abandoned' | 'later'> {
  const found = await findByAttempt(deps, attempt);
  await failpoint('payments.recover.after_list');
  if (found === 'unknown') return later(deps, attempt, attempt.checks);
  if (found) {
    await settleCharge(deps, found, 'reconciler');
    return 'adopted';
  }
  const looks = attempt.checks + 1;
  if (ageS < GIVE_UP_AFTER_S || looks < GIVE_UP_LOOKS) return later(deps, attempt, looks);
  await deps.db.transaction((tx) => abandon(tx, attempt, 'not_found_at_provider', 'reconciler'));
  return 'abandoned';
}

async function later({ db }: ConvergeDeps, attempt: Attempt, checks: number): Promise<'later'> {
  await db
    .update(charges)
    .set({ checks, nextCheckAt: sql`now() + make_interval(secs => ${LOOK_AGAIN_S})` })
    .where(sql`${charges.attemptId} = ${attempt.attemptId} and ${charges.state} = 'creating'`);
  return 'later';
}

/** The charge that carries the attempt's id; `unknown` when the list, or that charge in it, could not be read. */
async function findByAttempt({ rail }: ConvergeDeps, attempt: Attempt): Promise<Charge | 'unknown' | undefined> {
  const isOurs = (one: { attemptId: string | null }) => one.attemptId === attempt.attemptId;
  const last = attempt.createdAt.getTime() + EXECUTED_WITHIN_MS;
  const since = new Date(attempt.createdAt.getTime() - CLOCK_SKEW_MS);
  for (let pages = 0, offset = 0; pages < MAX_PAGES; pages += 1) {
    const answer = await rail.list(since, offset);
    if (answer.outcome !== 'ok') return 'unknown';
    const { charges: page, unreadable, hasMore } = answer.value;
    const found = page.find(isOurs);
    if (found) return found;
    if (unreadable.some(isOurs)) return 'unknown';
    if (!hasMore || page.some(({ createdAt }) => createdAt.getTime() > last)) return undefined;
    offset += 100;
  }
  return 'unknown';
}
