import { and, desc, eq, sql } from 'drizzle-orm';
import { z } from 'zod';
import type { Db } from '../platform/database/clients.ts';
import { amount, amountOut, head, headOut, timeOrNull, timeOut } from '../platform/http/wire.ts';
import { toWire } from '../platform/ids.ts';
import { type Refund, subjectKinds } from './history.ts';
import { type RefundState, refunds } from './tables.ts';

export const RefundOut = z
  .object({
    ...headOut('refund'),
    status: z.enum(['requested', 'awaiting_approval', 'reserved', 'sending', 'completed', 'rejected', 'failed']),
    subject: z.object({
      type: z.enum(['purchase', 'payment_request', 'run', 'order']),
      id: z.string(),
      part: z.enum(['whole', 'excess']),
    }),
    rail: z
      .enum(['credits', 'omise', 'bank', 'evm'])
      .describe('bank: outside the payment provider, by a transfer whose reference is shown'),
    credits: amountOut.describe('that are taken for the money; with rail `credits` those that are given'),
    amount: z.string().describe('given back: minor units, base units, or credits'),
    unit: z.string().describe('ISO 4217, CAIP-19, or `credit`'),
    destination: z.string().nullable().describe('CAIP-10 of the wallet that paid'),
    reason: z.string(),
    decision: z.string().nullable().describe("the operator's reason"),
    reference: z.string().nullable().describe("of the bank transfer, the provider's refund, or the transaction"),
    failure: z.object({ code: z.string(), message: z.string().nullable() }).nullable(),
    completed_at: timeOut.nullable(),
  })
  .meta({ id: 'Refund' });

export const renderRefund = (refund: Refund): z.infer<typeof RefundOut> => ({
  ...head('refund', refund),
  status: refund.state,
  subject: {
    type: refund.subjectType,
    id: toWire(subjectKinds[refund.subjectType], refund.subjectId),
    part: refund.part,
  },
  rail: refund.rail,
  credits: amount(refund.credits),
  ...{ amount: refund.amount, unit: refund.unit, destination: refund.destination },
  ...{ reason: refund.reason, decision: refund.decision, reference: refund.reference },
  failure: refund.failureCode === null ? null : { code: refund.failureCode, message: refund.failureMessage },
  completed_at: timeOrNull(refund.completedAt),
});

/** A refund; of the account, when one is given. */
export async function findRefund(db: Db, id: string, accountId?: string): Promise<Refund | undefined> {
  const own = accountId === undefined ? undefined : eq(refunds.accountId, accountId);
  const [refund] = await db
    .select()
    .from(refunds)
    .where(and(eq(refunds.id, id), own));
  return refund;
}

/** Newest first; `after` is the id of the last one seen. */
export const listRefunds = (
  db: Db,
  filter: { accountId?: string | undefined; state?: RefundState | undefined; subjectId?: string | undefined },
  after: string | null,
  limit: number,
): Promise<Refund[]> =>
  db
    .select()
    .from(refunds)
    .where(
      and(
        filter.accountId === undefined ? undefined : eq(refunds.accountId, filter.accountId),
        filter.state === undefined ? undefined : eq(refunds.state, filter.state),
        filter.subjectId === undefined ? undefined : eq(refunds.subjectId, filter.subjectId),
        after === null
          ? undefined
          : sql`(${refunds.createdAt}, ${refunds.id}) < (select created_at, id from ${refunds} where id = ${after}::uuid)`,
      ),
    )
    .orderBy(desc(refunds.createdAt), desc(refunds.id))
    .limit(limit);
