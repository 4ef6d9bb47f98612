import { eq, sql } from 'drizzle-orm';
import type { Charge } from '../rails/rail.ts';
import { charges, purchases } from '../tables.ts';
import type { Attempt } from './apply.ts';
import { abandon } from './charge.ts';
import { type ConvergeDeps, settleCharge } from './converge.ts';

const CLOCK_SKEW_MS = 120_000; // between our database and the provider
const MAX_PAGES = 20; // of 100 charges; more than anybody makes while one call is unanswered
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
  if (found === 'unknown') return later(deps, attempt, attempt.checks);
  if (found) {
    await settleCharge(deps, found, 'reconciler');
    return 'adopted';
  }
  const looks = attempt.checks + 1;
  if (ageS < GIVE_UP_AFTER_S || looks < GIVE_UP_LOOKS) return later(deps, attempt, looks);
  await deps.db.transaction(async (tx) => {
    const [purchase] = await tx.select().from(purchases).where(eq(purchases.id, attempt.purchaseId)).for('update');
    if (purchase) await abandon(tx, purchase, attempt, 'not_found_at_provider', 'reconciler');
  });
  return 'abandoned';
}

async function later({ db }: ConvergeDeps, attempt: Attempt, checks: number): Promise<'later'> {
  await db
    .update(charges)
    .set({ checks, nextCheckAt: sql`now() + make_interval(secs => ${LOOK_AGAIN_S})` })
    .where(sql`${charges.attemptId} = ${attempt.attemptId} and ${charges.state} = 'creating'`);
  return 'later';
}

/** The charge that carries the attempt's id; `unknown` when the list could not be read to its end. */
async function findByAttempt({ rail }: ConvergeDeps, attempt: Attempt): Promise<Charge | 'unknown' | undefined> {
  const since = new Date(attempt.createdAt.getTime() - CLOCK_SKEW_MS);
  for (let page = 0, offset = 0; page < MAX_PAGES; page += 1) {
    const answer = await rail.list(since, offset);
    if (answer.outcome !== 'ok') return 'unknown';
    const found = answer.value.charges.find((charge) => charge.attemptId === attempt.attemptId);
    if (found) return found;
    if (!answer.value.hasMore) return undefined;
    offset += 100;
  }
  return 'unknown';
}
