import { eq } from 'drizzle-orm';
import type { Alarm } from '../../platform/audit-log.ts';
import type { Db } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { retryLater } from '../../platform/http/problem.ts';
import type { Log } from '../../platform/log.ts';
import type { Metrics } from '../../platform/metrics.ts';
import { type Charge, type Rail, UNREADABLE } from '../rails/rail.ts';
import { charges } from '../tables.ts';
import { type Applied, applyCharge } from './apply.ts';
import type { Actor } from './history.ts';

export interface ConvergeDeps {
  db: Db;
  rail: Rail;
  metrics: Metrics;
  alarm: Alarm;
  log: Log;
}

/**
 * `unknown_charge`: the provider has no such charge. `foreign`: it has, but we did not make it. `unreadable`: it has,
 * but not in a form that can be relied on. `retry`: the provider could not be asked.
 */
export type Converged = { result: Applied | 'unknown_charge' | 'foreign' | 'unreadable' | 'retry'; charge?: Charge };

/**
 * Brings what we know of a charge in line with what the provider says: the one routine behind webhooks, polls, return
 * visits and operators. Reads the charge back, then changes everything in one transaction.
 */
export async function converge(deps: ConvergeDeps, chargeId: string, actor: Actor): Promise<Converged> {
  await failpoint('payments.converge.before_read');
  const answer = await deps.rail.check(chargeId);
  await failpoint('payments.converge.after_read');
  if (answer.outcome === 'rejected') return { result: 'unknown_charge' };
  if (answer.outcome !== 'ok') return { result: answer.reason === UNREADABLE ? 'unreadable' : 'retry' };
  const charge = answer.value;
  const result = await settleCharge(deps, charge, actor);
  return { result, charge };
}

/** All charges of a purchase, for an operator who wants to know now. 503 when the provider could not be asked. */
export async function convergeAll(deps: ConvergeDeps, purchaseId: string, actor: Actor): Promise<void> {
  const attempts = await deps.db.select().from(charges).where(eq(charges.purchaseId, purchaseId));
  for (const { chargeId } of attempts) {
    if (chargeId === null) continue;
    const { result } = await converge(deps, chargeId, actor);
    if (result === 'retry' || result === 'unreadable') throw retryLater('provider_unavailable', 5);
  }
}

/** The same for a charge that has just been read. */
export async function settleCharge(deps: ConvergeDeps, charge: Charge, actor: Actor): Promise<Applied | 'foreign'> {
  const attemptId = await attemptOf(deps.db, charge);
  if (attemptId === undefined) return 'foreign';
  const outcome = await deps.db.transaction(async (tx) => {
    const applied = await applyCharge(tx, attemptId, charge, actor);
    await failpoint('payments.converge.before_commit');
    return applied;
  });
  await failpoint('payments.converge.after_commit');
  tellOutcome(deps, outcome, charge, actor);
  return outcome.applied;
}

/** Counts a purchase's new state, and sounds the alarm where a person has to look. After the commit. */
export function tellOutcome(
  { metrics, alarm }: Pick<ConvergeDeps, 'metrics' | 'alarm'>,
  { applied, purchase, isMoved }: Awaited<ReturnType<typeof applyCharge>>,
  charge: Charge,
  actor: Actor,
): void {
  if (isMoved) metrics.purchases.inc({ state: purchase.state });
  if (applied === 'review') {
    alarm({ actor, action: 'security.payment_review', subjectId: purchase.id, detail: { charge_id: charge.id } });
  }
}

/**
 * Ours by the stored id; or, before our own create call has been answered, by the secret attempt id that only we can
 * have put into its metadata.
 */
async function attemptOf(db: Db, charge: Charge): Promise<string | undefined> {
  const [known] = await db.select({ id: charges.attemptId }).from(charges).where(eq(charges.chargeId, charge.id));
  if (known) return known.id;
  if (charge.attemptId === null) return undefined;
  const [claimed] = await db
    .select({ id: charges.attemptId })
    .from(charges)
    .where(eq(charges.attemptId, charge.attemptId));
  return claimed?.id;
}
