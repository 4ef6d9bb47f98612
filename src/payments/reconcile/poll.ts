import { and, asc, eq, getTableColumns, inArray, lt, ne, notExists, sql } from 'drizzle-orm';
import type { Db } from '../../platform/database/clients.ts';
import { inParallel } from '../../platform/delivery/in-parallel.ts';
import type { Worker } from '../../platform/delivery/worker.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { differ } from '../differences.ts';
import { liveInvoice } from '../lightning/open.ts';
import { invoices } from '../lightning/tables.ts';
import type { Attempt } from '../purchases/apply.ts';
import { LIVE, liveAttempt } from '../purchases/charge.ts';
import { type ConvergeDeps, converge } from '../purchases/converge.ts';
import { note } from '../purchases/history.ts';
import { move } from '../purchases/move.ts';
import { recover } from '../purchases/recover.ts';
import { charges, purchases } from '../tables.ts';

const EVERY_MS = 2_000;
const AT_ONCE = 20;
const IN_PARALLEL = 4;
/** Whoever took an attempt and died leaves it to others after this. */
const LEASE_S = 60;
const MISSING_AGAIN_S = 3600;

/** Looks after every attempt that is not over: at 15 s, 1, 5, 15 min, then hourly, until the provider says it is. */
export const attemptPoller = (deps: ConvergeDeps): Worker => ({
  name: 'attempt-poll',
  everyMs: EVERY_MS,
  runOnce: async () => {
    const due = await lease(deps.db);
    if (due.length > 0) await failpoint('payments.poll.after_lease');
    await inParallel(due, IN_PARALLEL, async (attempt) => {
      if (attempt.chargeId === null) await recover(deps, attempt, attempt.ageS);
      else if ((await converge(deps, attempt.chargeId, 'reconciler')).result === 'unknown_charge') {
        await tellMissing(deps.db, attempt, attempt.chargeId);
      }
    });
    return { more: due.length === AT_ONCE };
  },
});

/** A charge that the provider gave us and now denies: the keys of another account, as a rule. */
const tellMissing = (db: Db, { attemptId, purchaseId, state }: Attempt, chargeId: string): Promise<void> =>
  db.transaction(async (tx) => {
    const isNew = await differ(tx, 'missing_at_provider', chargeId, purchaseId, { state });
    if (isNew) await note(tx, purchaseId, { actor: 'reconciler', what: 'missing_at_provider', chargeId });
    await tx
      .update(charges)
      .set({ nextCheckAt: sql`now() + make_interval(secs => ${MISSING_AGAIN_S})` })
      .where(eq(charges.attemptId, attemptId));
    await failpoint('payments.poll.missing_before_commit');
  });

async function lease(db: Db) {
  const due = db
    .select({ id: charges.attemptId })
    .from(charges)
    .where(lt(charges.nextCheckAt, sql`now()`))
    .orderBy(charges.nextCheckAt)
    .limit(AT_ONCE)
    .for('update', { skipLocked: true });
  return db
    .update(charges)
    .set({ nextCheckAt: sql`now() + make_interval(secs => ${LEASE_S})` })
    .where(sql`${charges.attemptId} in ${due}`)
    .returning({
      ...getTableColumns(charges),
      ageS: sql<number>`extract(epoch from now() - ${charges.createdAt})::float8`,
    });
}

/** Ends unpaid purchases after their day: those that have nothing at the provider that could still be paid. */
export const purchaseExpirer = ({ db, metrics }: ConvergeDeps): Worker => ({
  name: 'purchase-expiry',
  everyMs: 60_000,
  runOnce: async () => {
    const live = db
      .select({ id: charges.attemptId })
      .from(charges)
      .where(and(eq(charges.purchaseId, purchases.id), inArray(charges.state, LIVE)));
    const invoiced = db
      .select({ id: invoices.id })
      .from(invoices)
      .where(and(eq(invoices.purchaseId, purchases.id), inArray(invoices.state, ['creating', 'open'])));
    const late = await db
      .select({ id: purchases.id })
      .from(purchases)
      .where(
        and(
          eq(purchases.state, 'pending'),
          ne(purchases.method, 'crypto'), // ends with its payment request
          lt(purchases.expiresAt, sql`now()`),
          notExists(live),
          notExists(invoiced),
        ),
      )
      .orderBy(asc(purchases.expiresAt))
      .limit(AT_ONCE);
    for (const { id } of late) {
      await db.transaction(async (tx) => {
        const [purchase] = await tx.select().from(purchases).where(eq(purchases.id, id)).for('update');
        if (purchase?.state !== 'pending' || (await liveAttempt(tx, id)) || (await liveInvoice(tx, id))) return;
        await move(tx, purchase, 'expired', {
          failureCode: 'not_paid',
          failureMessage: 'The purchase was not paid in time.',
        });
        await note(tx, id, { actor: 'reconciler', what: 'purchase_expired' });
        await failpoint('payments.expiry.before_commit');
        metrics.purchases.inc({ state: 'expired' });
      });
      await failpoint('payments.expiry.after_commit');
    }
    return { more: late.length === AT_ONCE };
  },
});
