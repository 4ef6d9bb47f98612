import { and, asc, eq } from 'drizzle-orm';
import { hold, post } from '../../credits/index.ts';
import type { Tx } from '../../platform/database/clients.ts';
import { appendEvents } from '../../platform/delivery/events.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { newId } from '../../platform/ids.ts';
import { least } from '../../platform/least.ts';
import { arrivals } from './tables.ts';

/**
 * How money that comes for something is booked, by whatever rail: the credits are the account's, and in the same
 * transaction they are set aside under what they came for, so that nothing else can spend them. Whether that still wants
 * them is decided afterwards, by whoever hears `payments.settled`.
 */

export type Arrival = typeof arrivals.$inferSelect;

/** What the money is for: opaque here. */
export interface Purpose {
  type: string;
  id: string;
}

interface Money {
  rail: string;
  /** The rail's own name for this payment. The same one again changes nothing. */
  key: string;
  /** Of whoever owns what it is for, whoever paid: nobody else's would be looked at. */
  accountId: string;
  credits: bigint;
  evidence?: Record<string, unknown>;
}

/** A payment whose credits nothing else brings; without a purpose it tops the account up. `undefined`: it was settled before. */
export async function settle(tx: Tx, money: Money & { purpose: Purpose | null }): Promise<Arrival | undefined> {
  const arrival = await record(tx, money, null);
  if (!arrival) return undefined;
  const cause = { type: 'arrival', id: arrival.id };
  const { result, available } = await post(tx, 'purchase', money.accountId, money.credits, cause);
  if (result !== 'posted') throw new Error(`the credit of an arrival was ${result}`);
  return money.purpose === null ? arrival : setAside(tx, arrival, least(money.credits, available));
}

/** The credits of a purchase that was made for something were posted a moment ago, in this transaction. */
export async function settlePurchase(
  tx: Tx,
  purchase: { id: string; forType: string | null; forId: string | null; accountId: string; credits: bigint },
  { rail, key, available }: { rail: string; key: string; available: bigint },
): Promise<void> {
  const { id, forType, forId, accountId, credits } = purchase;
  if (forType === null || forId === null) return;
  const arrival = await record(tx, { rail, key, accountId, credits, purpose: { type: forType, id: forId } }, id);
  if (!arrival) throw new Error('a purchase that was credited twice');
  await setAside(tx, arrival, least(credits, available));
  await failpoint('payments.settle.after_hold');
}

async function record(
  tx: Tx,
  { purpose, evidence = {}, ...money }: Money & { purpose: Purpose | null },
  purchaseId: string | null,
): Promise<Arrival | undefined> {
  const [arrival] = await tx
    .insert(arrivals)
    .values({
      ...{ id: newId(), ...money, evidence, purchaseId },
      ...{ forType: purpose?.type ?? null, forId: purpose?.id ?? null },
    })
    .onConflictDoNothing()
    .returning();
  return arrival;
}

/** At most what is there: a debt was paid first. */
async function setAside(tx: Tx, arrival: Arrival, held: bigint): Promise<Arrival> {
  const { id, accountId, credits, rail, forType, forId } = arrival;
  if (forType === null || forId === null) throw new Error('an arrival for nothing is not set aside');
  if (held > 0n) {
    const cause = { type: 'settlement', id };
    const { result } = await hold(tx, accountId, id, held, { type: forType, id: forId }, cause);
    if (result !== 'posted') throw new Error(`the credits of an arrival were ${result}`);
    await tx.update(arrivals).set({ held }).where(eq(arrivals.id, id));
  }
  const payload = { arrival_id: id, rail, credits: Number(credits), for_type: forType };
  await appendEvents(tx, [{ accountId: null, type: 'payments.settled', subjectId: forId, payload }]);
  return { ...arrival, held };
}

/** Everything that has come for something, in the order in which it came. */
export const arrivalsFor = (tx: Tx, { type, id }: Purpose): Promise<Arrival[]> =>
  tx
    .select()
    .from(arrivals)
    .where(and(eq(arrivals.forType, type), eq(arrivals.forId, id)))
    .orderBy(asc(arrivals.createdAt), asc(arrivals.id));
