import { and, asc, eq, getTableColumns, gte, inArray, isNull, or, sql } from 'drizzle-orm';
import type { Db } from '../../platform/database/clients.ts';
import type { Worker } from '../../platform/delivery/worker.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { differ } from '../differences.ts';
import { type ConvergeDeps, settleCharge } from '../purchases/converge.ts';
import { decide } from '../purchases/decide.ts';
import type { Charge, Unreadable } from '../rails/rail.ts';
import { charges, claims, differences, purchases, webhookInbox } from '../tables.ts';

/**
 * Compares the provider's charges of the last weeks with the ledger, both ways, and says what does not fit: money there
 * that is not credited here, credits here without money there, and refunds, voids and disputes made elsewhere.
 */

/** How long a charge may still be refunded, voided or disputed by somebody at the provider's dashboard, as a rule. */
const DAYS = 30;
const EVERY_MS = 6 * 3_600_000;
/** Younger claims may not be in the provider's list yet. */
const SETTLED_AFTER_MINUTES = 10;
const CLOCK_SKEW_MS = 600_000; // between our clocks and the provider's

export interface Reconciliation {
  /** Charges of the provider that were compared; `null` when it could not be asked to the end. */
  compared: number | null;
  credited: number;
  differences: (typeof differences.$inferSelect)[];
  waiting: { attempts: number; notifications: number };
}

export async function reconcile(deps: ConvergeDeps, days = DAYS): Promise<Reconciliation> {
  const { db, rail } = deps;
  const since = new Date(Date.now() - days * 86_400_000);
  const known = new Set<string>();
  let credited = 0;
  let isWhole = false;
  for (let offset = 0; !isWhole; offset += 100) {
    const answer = await rail.list(since, offset);
    if (answer.outcome !== 'ok') break;
    await failpoint('payments.reconcile.after_list');
    for (const { id } of [...answer.value.charges, ...answer.value.unreadable]) known.add(id);
    await tellUnreadable(db, answer.value.unreadable);
    for (const charge of await unsettled(db, answer.value.charges)) {
      if ((await settleCharge(deps, charge, 'reconciler')) === 'credited') credited += 1;
    }
    isWhole = !answer.value.hasMore;
  }
  if (isWhole) await findUnfounded(db, since, known);
  const open = await db
    .select()
    .from(differences)
    .where(isNull(differences.resolvedAt))
    .orderBy(asc(differences.foundAt));
  deps.metrics.differences.set(open.length);
  return { compared: isWhole ? known.size : null, credited, differences: open, waiting: await countWaiting(db) };
}

/** Leaves out what is credited here and untouched there: most of a month. */
async function unsettled(db: Db, found: Charge[]): Promise<Charge[]> {
  if (found.length === 0) return [];
  const rows = await db
    .select({
      id: claims.reference,
      price: claims.amount,
      currency: claims.currency,
      livemode: purchases.livemode,
      takenBack: charges.takenBack,
    })
    .from(claims)
    .innerJoin(charges, eq(charges.chargeId, claims.reference))
    .innerJoin(purchases, eq(purchases.id, claims.purchaseId))
    .where(
      and(
        eq(claims.rail, 'omise'),
        eq(charges.state, 'successful'),
        inArray(
          claims.reference,
          found.map(({ id }) => id),
        ),
      ),
    );
  const credited = new Map(rows.map(({ id, ...agreed }) => [id, agreed]));
  return found.filter((charge) => {
    const agreed = credited.get(charge.id);
    // What was taken back may have come again: a dispute that was won.
    return !agreed || agreed.takenBack !== null || decide(charge, agreed).verdict !== 'credit';
  });
}

/** Charges of ours that are there in a form that cannot be relied on, such as a status that we do not know. */
async function tellUnreadable(db: Db, found: Unreadable[]): Promise<void> {
  for (const { id, attemptId } of found) {
    const [ours] = await db
      .select({ purchaseId: charges.purchaseId })
      .from(charges)
      .where(or(eq(charges.chargeId, id), attemptId === null ? undefined : eq(charges.attemptId, attemptId)));
    if (ours) await db.transaction((tx) => differ(tx, 'unreadable', id, ours.purchaseId, {}));
  }
}

/** Credits whose charge the provider does not show, though it was made in the time that was asked for. */
async function findUnfounded(db: Db, since: Date, known: Set<string>): Promise<void> {
  const claimed = await db
    .select(getTableColumns(claims))
    .from(claims)
    .innerJoin(charges, eq(charges.chargeId, claims.reference))
    .where(
      and(
        eq(claims.rail, 'omise'),
        gte(charges.createdAt, new Date(since.getTime() + CLOCK_SKEW_MS)),
        sql`${claims.createdAt} < now() - make_interval(mins => ${SETTLED_AFTER_MINUTES})`,
      ),
    );
  for (const claim of claimed.filter(({ reference }) => !known.has(reference))) {
    const detail = { amount: Number(claim.amount), currency: claim.currency };
    await db.transaction((tx) => differ(tx, 'missing_at_provider', claim.reference, claim.purchaseId, detail));
  }
}

const countWaiting = async (db: Db) => ({
  attempts: await db.$count(charges, sql`${charges.nextCheckAt} is not null`),
  notifications: await db.$count(webhookInbox, sql`${webhookInbox.state} = 'received'`),
});

/** The same, every few hours. */
export const reconciler = (deps: ConvergeDeps): Worker => ({
  name: 'reconcile',
  everyMs: EVERY_MS,
  runOnce: async () => {
    await reconcile(deps);
    return { more: false };
  },
});
