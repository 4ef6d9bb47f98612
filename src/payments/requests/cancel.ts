import { and, eq, sql } from 'drizzle-orm';
import type { Tx } from '../../platform/database/clients.ts';
import { Problem } from '../../platform/http/problem.ts';
import { lockRequest, move } from './move.ts';
import { paymentRequests } from './tables.ts';

/** The merchant withdraws a request that nothing was sent for. A second time changes nothing. */
export async function cancelRequest(tx: Tx, id: string, merchantId: string): Promise<void> {
  const isIt = and(eq(paymentRequests.id, id), eq(paymentRequests.merchantId, merchantId));
  if ((await tx.$count(paymentRequests, isIt)) === 0) throw new Problem('not_found');
  await cancel(tx, id, merchantId);
}

/** The buyer cancels a purchase that is paid on chain. */
export async function cancelBuying(tx: Tx, purchaseId: string, buyerId: string): Promise<void> {
  const [request] = await tx
    .select({ id: paymentRequests.id })
    .from(paymentRequests)
    .where(eq(paymentRequests.purchaseId, purchaseId));
  if (!request) throw new Error('a purchase on chain without its payment request');
  await cancel(tx, request.id, buyerId);
}

async function cancel(tx: Tx, id: string, accountId: string): Promise<void> {
  const request = await lockRequest(tx, id);
  if (request.state === 'cancelled') return;
  if (request.state !== 'pending' && request.state !== 'authenticated')
    throw new Problem('conflict', `The payment request is ${request.state}.`);
  const [cancelled] = await tx
    .update(paymentRequests)
    .set({ cancelledAt: sql`now()` })
    .where(eq(paymentRequests.id, id))
    .returning();
  if (cancelled) await move(tx, cancelled, `account:${accountId}`);
}
