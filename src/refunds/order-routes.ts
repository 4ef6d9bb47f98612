import { z } from 'zod';
import { lockPaidOrder, orderOfShop, refundUriOf } from '../payments/index.ts';
import { callerOf } from '../platform/http/access.ts';
import { invalidField, Problem } from '../platform/http/problem.ts';
import type { App } from '../platform/http/server.ts';
import { answers, line } from '../platform/http/wire.ts';
import { toWire } from '../platform/ids.ts';
import { driveOn } from './drive.ts';
import { requireOn } from './limits.ts';
import { recordRefund } from './request.ts';
import type { RefundsDeps } from './routes.ts';

const Total = z
  .string()
  .regex(/^CREDITS:[1-9]\d{0,11}$/, 'must be CREDITS: and a whole number')
  .transform((text) => BigInt(text.slice('CREDITS:'.length)));

const RefundedOut = z.object({
  taler_refund_uri: z.string().describe('for the wallet that paid; the credits are on their way without it'),
  h_contract: z.string(),
  refund_id: z.string().nullable().describe('null: so much was given back before'),
});

/** What a shop gives back of its orders, as GNU Taler's merchants do: a total that only grows. */
export function orderRefundRoutes(app: App, deps: RefundsDeps): void {
  const { db, limits, publicUrl } = deps;
  app.post(
    '/private/orders/:id/refund',
    {
      config: { access: 'orders:write', rate: 'money', idempotency: 'accepted' },
      schema: {
        tags: ['orders'],
        summary: 'Give back so much of an order in all; the same total again changes nothing',
        description:
          'The credits go to the account that paid, at once or after an operator has agreed. What the order opened is closed with it.',
        params: z.strictObject({ id: z.string().regex(/^[A-Za-z0-9._-]{1,60}$/) }),
        body: z.strictObject({ refund: Total, reason: line(500) }),
        response: answers({ 200: RefundedOut }),
      },
    },
    async (request) => {
      const { accountId: merchantId, role } = callerOf(request);
      if (role === 'user') throw new Problem('forbidden');
      const { refund: total, reason } = request.body;
      requireOn(limits);
      const { orderId, hContract, refundId } = await db.transaction(async (tx) => {
        const known = await orderOfShop(tx, merchantId, request.params.id);
        if (!known) throw new Problem('not_found');
        // Of two at once the second sees what the first has spoken for.
        const order = await lockPaidOrder(tx, known.id);
        if (!order || order.payerId === null || order.hContract === null) throw new Problem('order_not_paid');
        const { price, refundCredits, refundDeadline, payerId } = order;
        if (total > price) throw invalidField('/refund', `must be at most CREDITS:${price}`, 'refund_too_large');
        const told = { orderId: order.orderId, hContract: order.hContract };
        if (total <= refundCredits) return { ...told, refundId: null };
        if (refundDeadline <= new Date())
          throw new Problem('order_expired', 'The time for refunds of this order is over.');
        const { id } = await recordRefund(
          tx,
          limits,
          {
            ...{ accountId: payerId, subject: { type: 'order', id: order.id, part: null } },
            ...{ amount: total - refundCredits, target: null, reason, askedBy: merchantId },
          },
          null,
        );
        return { ...told, refundId: id };
      });
      if (refundId !== null) await driveOn(deps, refundId);
      return {
        taler_refund_uri: refundUriOf(publicUrl, orderId),
        ...{ h_contract: hContract, refund_id: refundId === null ? null : toWire('refund', refundId) },
      };
    },
  );
}
