import { eq } from 'drizzle-orm';
import type { Alarm } from '../../platform/audit-log.ts';
import type { Db } from '../../platform/database/clients.ts';
import type { Log } from '../../platform/log.ts';
import type { Metrics } from '../../platform/metrics.ts';
import type { Charge, Rail } from '../rails/rail.ts';
import { charges } from '../tables.ts';
import { type Applied, applyCharge, differ } from './apply.ts';
import type { Actor } from './history.ts';

export interface ConvergeDeps {
  db: Db;
  rail: Rail;
  metrics: Metrics;
  alarm: Alarm;
  log: Log;
}

/**
 * `unknown_charge`: the provider has no such charge. `foreign`: it has, but we did not make it. `second`: a second
 * charge for one attempt. `retry`: the provider could not be asked.
 */
export type Converged = { result: Applied | 'unknown_charge' | 'foreign' | 'second' | 'retry'; charge?: Charge };

/**
 * Brings what we know of a charge in line with what the provider says: the one routine behind webhooks, polls, return
 * visits and operators. Reads the charge back, then changes everything in one transaction.
 */
export async function converge(deps: ConvergeDeps, chargeId: string, actor: Actor): Promise<Converged> {
  const answer = await deps.rail.check(chargeId);
  if (answer.outcome === 'rejected') return { result: 'unknown_charge' };
  if (answer.outcome !== 'ok') return { result: 'retry' };
  const charge = answer.value;
  const result = await settleCharge(deps, charge, actor);
  return { result, charge };
}

/** The same for a charge that has just been read. */
export async function settleCharge(deps: ConvergeDeps, charge: Charge, actor: Actor): Promise<Converged['result']> {
  const attemptId = await attemptOf(deps.db, charge);
  if (attemptId === undefined) return 'foreign';
  if (attemptId === 'second') return tellSecond(deps, charge);
  const { applied, purchase } = await deps.db.transaction((tx) => applyCharge(tx, attemptId, charge, actor));
  if (applied === 'credited' || applied === 'ended') deps.metrics.purchases.inc({ state: purchase.state });
  if (applied === 'review') {
    deps.metrics.purchases.inc({ state: 'review' });
    deps.alarm({ actor, action: 'security.payment_review', subjectId: purchase.id, detail: { charge_id: charge.id } });
  }
  return applied;
}

/**
 * Ours by the stored id; or, before our own create call has been answered, by the secret attempt id that only we can
 * have put into its metadata.
 */
async function attemptOf(db: Db, charge: Charge): Promise<string | 'second' | undefined> {
  const [known] = await db.select({ id: charges.attemptId }).from(charges).where(eq(charges.chargeId, charge.id));
  if (known) return known.id;
  if (charge.attemptId === null) return undefined;
  const [attempt] = await db
    .select({ id: charges.attemptId, chargeId: charges.chargeId })
    .from(charges)
    .where(eq(charges.attemptId, charge.attemptId));
  if (!attempt) return undefined;
  return attempt.chargeId === null ? attempt.id : 'second';
}

/** Two charges carry one attempt id: never credited by itself, and never forgotten when it is paid. */
async function tellSecond({ db, alarm }: ConvergeDeps, charge: Charge): Promise<'second'> {
  if (charge.status !== 'successful') return 'second';
  await db.transaction(async (tx) => {
    const [attempt] = await tx
      .select({ purchaseId: charges.purchaseId })
      .from(charges)
      .where(eq(charges.attemptId, charge.attemptId ?? ''));
    const detail = { amount: Number(charge.amount), currency: charge.currency, attempt_id: charge.attemptId };
    await differ(tx, 'second_charge', charge.id, attempt?.purchaseId ?? null, detail);
  });
  alarm({
    actor: 'reconciler',
    action: 'security.payment_review',
    detail: { charge_id: charge.id, reason: 'second_charge' },
  });
  return 'second';
}
