import { and, eq } from 'drizzle-orm';
import type { Db, Tx } from '../../platform/database/clients.ts';
import { arrivals } from '../arrivals/tables.ts';
import { claims } from '../tables.ts';
import { invoices } from './tables.ts';

/**
 * Money is booked once for a payment hash, whichever way it was heard of: by an invoice of ours, or by a zap receipt. Of our
 * own invoices the wallet is asked, paid or not; a receipt for one says nothing new.
 */
export const isPaymentCounted = async (on: Db | Tx, paymentHash: string): Promise<boolean> =>
  (await on.$count(invoices, eq(invoices.paymentHash, paymentHash))) > 0 ||
  (await on.$count(claims, and(eq(claims.rail, 'lightning'), eq(claims.reference, paymentHash)))) > 0 ||
  (await on.$count(arrivals, and(eq(arrivals.rail, 'lightning'), eq(arrivals.key, paymentHash)))) > 0;
