import { and, eq, inArray, isNotNull, lte, notInArray, sql } from 'drizzle-orm';
import { z } from 'zod';
import { type Charge, differ, lockPaidPurchase } from '../payments/index.ts';
import type { Db, Tx } from '../platform/database/clients.ts';
import { inParallel } from '../platform/delivery/in-parallel.ts';
import type { Subscriber } from '../platform/delivery/subscriptions.ts';
import type { Worker } from '../platform/delivery/worker.ts';
import { failpoint } from '../platform/failpoints.ts';
import { clawBack, goneElsewhere, restore } from './clawback.ts';
import type { DriveDeps } from './drive.ts';
import { isWhole } from './provider.ts';
import { payouts, refunds, sightings } from './tables.ts';

/**
 * Money that goes back at the provider, whoever has made it do so: payments sees it on the charge and tells; here the
 * charge is read, and each refund on it is told apart. What a saga of ours is about wakes that saga; only what nobody
 * claims is clawed back.
 */

const EVERY_MS = 2_000;
const AT_ONCE = 20;
const IN_PARALLEL = 4;
const LEASE_S = 60;
/** A saga of ours is finding out: it takes a look or two. */
const SAGA_FIRST_S = 5;
const AGAIN_S = 30;
/** Then what does not add up is a person's. */
const MAX_ODD_LOOKS = 4;

type Sighting = typeof sightings.$inferSelect;

const TakenBack = z.object({ charge_id: z.string() });

/** Hears that a charge shows money going back. */
export const onChargeTakenBack: Subscriber = async (tx, { subjectId: purchaseId, payload }) => {
  const { charge_id: chargeId } = TakenBack.parse(payload);
  await tx
    .insert(sightings)
    .values({ chargeId, purchaseId })
    .onConflictDoUpdate({
      target: sightings.chargeId,
      set: { nextLookAt: sql`now()`, looks: 0, told: sql`${sightings.told} + 1` },
    });
};

export const sightingWorker = (deps: DriveDeps): Worker => ({
  name: 'refund-sightings',
  everyMs: EVERY_MS,
  runOnce: async () => {
    const due = await lease(deps.db);
    if (due.length > 0) await failpoint('refunds.sighting.after_lease');
    await inParallel(due, IN_PARALLEL, (one) =>
      look(deps, one).catch((fault) => {
        deps.log.error({ err: fault, charge_id: one.chargeId }, 'a charge could not be looked at; it is tried again');
      }),
    );
    return { more: due.length === AT_ONCE };
  },
});

async function lease(db: Db): Promise<Sighting[]> {
  const due = db
    .select({ id: sightings.chargeId })
    .from(sightings)
    .where(lte(sightings.nextLookAt, sql`now()`))
    .orderBy(sightings.nextLookAt)
    .limit(AT_ONCE)
    .for('update', { skipLocked: true });
  return db
    .update(sightings)
    .set({ nextLookAt: sql`now() + make_interval(secs => ${LEASE_S})` })
    .where(sql`${sightings.chargeId} in ${due}`)
    .returning();
}

async function look({ db, rail }: DriveDeps, sighting: Sighting): Promise<void> {
  const seen = await rail.check(sighting.chargeId);
  await failpoint('refunds.sighting.after_check');
  await db.transaction(async (tx) => {
    const nextS = seen.outcome === 'ok' ? await tellApart(tx, sighting, seen.value) : AGAIN_S;
    await again(tx, sighting, nextS);
    await failpoint('refunds.sighting.before_commit');
  });
}

/** Unless something new was seen meanwhile. */
async function again(tx: Tx, { chargeId, told }: Sighting, nextS: number | null): Promise<void> {
  await tx
    .update(sightings)
    .set({
      looks: sql`${sightings.looks} + 1`,
      nextLookAt: nextS === null ? null : sql`now() + make_interval(secs => ${nextS})`,
    })
    .where(and(eq(sightings.chargeId, chargeId), eq(sightings.told, told)));
}

/** Seconds to the next look; null when everything has its place. */
async function tellApart(tx: Tx, { purchaseId, looks }: Sighting, charge: Charge): Promise<number | null> {
  const { purchase } = await lockPaidPurchase(tx, purchaseId);
  if (!isWhole(charge) || (charge.voided && charge.refunds.length === 0)) {
    if (looks < MAX_ODD_LOOKS) return AGAIN_S;
    await differ(tx, charge.voided ? 'voided_after_credit' : 'refunded_after_credit', charge.id, purchase.id, {
      refunded_amount: Number(charge.refundedAmount),
      explained: charge.refunds.length,
    });
    return null;
  }
  if (charge.dispute && !charge.hasOpenDispute && charge.dispute.status !== 'lost')
    await restore(tx, purchaseId, charge.dispute.id);
  const sagas = await openSagas(tx, purchaseId);
  const gone = await unclaimed(tx, charge, sagas);
  if (gone.length === 0) return null;
  const sending = sagas.filter(({ state }) => state === 'sending').map(({ id }) => id);
  if (sending.length > 0) {
    await wake(tx, sending);
    return SAGA_FIRST_S;
  }
  for (const one of gone) await clawBack(tx, purchaseId, one);
  return null;
}

const openSagas = (tx: Tx, purchaseId: string) =>
  tx
    .select({ id: refunds.id, state: refunds.state })
    .from(refunds)
    .where(
      and(
        eq(refunds.subjectId, purchaseId),
        eq(refunds.rail, 'omise'),
        notInArray(refunds.state, ['completed', 'rejected', 'failed']),
      ),
    );

async function unclaimed(tx: Tx, charge: Charge, sagas: { id: string }[]) {
  const gone = goneElsewhere(
    charge,
    sagas.map(({ id }) => id),
  );
  if (gone.length === 0) return [];
  const references = gone.map(({ reference }) => reference);
  const claimed = await tx
    .select({ reference: payouts.reference })
    .from(payouts)
    .where(and(eq(payouts.rail, 'omise'), inArray(payouts.reference, references)));
  const known = new Set(claimed.map(({ reference }) => reference));
  return gone.filter(({ reference }) => !known.has(reference));
}

/** Sagas that may be about it look now. */
const wake = (tx: Tx, ids: string[]) =>
  tx
    .update(refunds)
    .set({ nextStepAt: sql`now()` })
    .where(and(inArray(refunds.id, ids), isNotNull(refunds.nextStepAt)));
