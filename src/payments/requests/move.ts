import { and, eq, isNull, sql } from 'drizzle-orm';
import { post } from '../../credits/index.ts';
import type { Tx } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { newId, toWire } from '../../platform/ids.ts';
import { settlePurchase } from '../arrivals/settle.ts';
import { lockOrderOf, settleOrder } from '../orders/settle.ts';
import { purchases } from '../tables.ts';
import { decide, sum } from './decide.ts';
import { type Actor, note, type PaymentRequest, tellRequest } from './history.ts';
import { followRequest } from './purchase.ts';
import { completions, paymentRequests, requestTransactions, settlements } from './tables.ts';

/** Locks a request. Everything that changes one begins here. */
export async function lockRequest(tx: Tx, id: string): Promise<PaymentRequest> {
  const [request] = await tx.select().from(paymentRequests).where(eq(paymentRequests.id, id)).for('update');
  if (!request) throw new Error('there is no such payment request');
  return request;
}

/**
 * Puts a locked request where the facts say that it stands, with what follows from it: a request that becomes complete
 * grants its credits, one that was and is no more takes them back. Nothing has changed: nothing happens.
 */
export async function move(tx: Tx, request: PaymentRequest, actor: Actor): Promise<PaymentRequest> {
  const { state, received } = await stand(tx, request);
  if (state === request.state && received === request.received) return request;
  const [moved] = await tx
    .update(paymentRequests)
    .set({ state, received, completedAt: state === 'completed' ? sql`coalesce(completed_at, now())` : null })
    .where(eq(paymentRequests.id, request.id))
    .returning();
  if (!moved) throw new Error('a payment request that vanished');
  await note(tx, request.id, { actor, what: state, detail: { from: request.state, received } });
  if (state === 'completed' && request.state !== 'completed') await complete(tx, moved);
  if (request.state === 'completed' && state !== 'completed') await reverse(tx, moved);
  const isReorged = request.state === 'completed' && state !== 'completed';
  await tellRequest(tx, moved, isReorged ? 'reorged' : state);
  await followRequest(tx, moved);
  return moved;
}

async function stand(tx: Tx, request: PaymentRequest) {
  const { id, authorizedAt, cancelledAt, expiresAt } = request;
  const counted = await tx
    .select({ amount: settlements.amount, at: settlements.blockTime, isFinal: requestTransactions.isFinal })
    .from(settlements)
    .innerJoin(
      requestTransactions,
      and(eq(requestTransactions.requestId, settlements.requestId), eq(requestTransactions.txHash, settlements.txHash)),
    )
    .where(and(eq(settlements.requestId, id), isNull(settlements.goneAt)));
  const waiting = await tx.$count(
    requestTransactions,
    and(eq(requestTransactions.requestId, id), eq(requestTransactions.state, 'waiting')),
  );
  const [clock] = await tx.execute<{ ms: number }>(sql`select extract(epoch from now())::float8 * 1000 as ms`);
  const settled = counted.map((one) => ({ ...one, amount: BigInt(one.amount) }));
  const state = decide({
    ...{ amount: BigInt(request.amount), expiresAt, settled, isWaiting: waiting > 0 },
    givenBack: BigInt(request.refundExcess),
    ...{
      isAuthorized: authorizedAt !== null,
      isCancelled: cancelledAt !== null,
      takesLate: request.late === 'accepted',
    },
    now: new Date(Number(clock?.ms)),
  });
  return { state, received: sum(settled).toString() };
}

/** Each completion has an id of its own, so that a second one after a reorganisation is a cause of its own. */
async function complete(tx: Tx, request: PaymentRequest): Promise<void> {
  const [completion] = await tx.insert(completions).values({ id: newId(), requestId: request.id }).returning();
  if (!completion) throw new Error('no completion was kept');
  if (request.purpose !== 'credits') return;
  const { payerAccountId, credits } = request;
  if (payerAccountId === null || credits === null) throw new Error('credits for nobody');
  const cause = { type: 'completion', id: completion.id };
  const waiting = await lockOrderOf(tx, request.purchaseId);
  const { result, transferId, available } = await post(tx, 'purchase', payerAccountId, credits, cause);
  if (result !== 'posted' || transferId === null) throw new Error(`the credit of a payment request was ${result}`);
  await failpoint('payments.request.after_post');
  await note(tx, request.id, {
    actor: 'chain',
    what: 'credited',
    detail: { transfer_id: toWire('transfer', transferId) },
  });
  if (waiting) await settleOrder(tx, waiting, payerAccountId);
  if (request.purchaseId === null) return;
  const [purchase] = await tx.select().from(purchases).where(eq(purchases.id, request.purchaseId));
  if (!purchase) throw new Error('a payment request for a purchase that is not there');
  await settlePurchase(tx, purchase, { rail: 'evm', key: completion.id, available });
}

/** The money is gone from the chain: so are the credits, and what was spent of them is a debt. */
async function reverse(tx: Tx, request: PaymentRequest): Promise<void> {
  const [completion] = await tx
    .update(completions)
    .set({ reversedAt: sql`now()` })
    .where(and(eq(completions.requestId, request.id), isNull(completions.reversedAt)))
    .returning();
  if (!completion) throw new Error('a complete request without its completion');
  if (request.purpose !== 'credits') return;
  const { payerAccountId, credits } = request;
  if (payerAccountId === null || credits === null) throw new Error('credits of nobody');
  const { result } = await post(tx, 'clawback', payerAccountId, credits, { type: 'completion', id: completion.id });
  if (result !== 'posted') throw new Error(`the claw-back of a payment request was ${result}`);
}
