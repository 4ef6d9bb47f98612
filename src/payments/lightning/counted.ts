import { and, eq } from 'drizzle-orm';
import type { Db } from '../../platform/database/clients.ts';
import { arrivals } from '../arrivals/tables.ts';
import { claims } from '../tables.ts';

/** Money is booked once for a payment hash, whichever way it was heard of: by an invoice of ours, or by a zap receipt. */
export const isPaymentCounted = async (db: Db, paymentHash: string): Promise<boolean> =>
  (await db.$count(claims, and(eq(claims.rail, 'lightning'), eq(claims.reference, paymentHash)))) > 0 ||
  (await db.$count(arrivals, and(eq(arrivals.rail, 'lightning'), eq(arrivals.key, paymentHash)))) > 0;
