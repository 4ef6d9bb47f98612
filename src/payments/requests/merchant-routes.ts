import { z } from 'zod';
import { parseDid } from '../../identity/index.ts';
import { callerOf } from '../../platform/http/access.ts';
import { once } from '../../platform/http/idempotency.ts';
import { Problem } from '../../platform/http/problem.ts';
import type { App } from '../../platform/http/server.ts';
import { amountIn, answers, line } from '../../platform/http/wire.ts';
import { cancelRequest } from './cancel.ts';
import { chainTerms, createRequest } from './create.ts';
import { PaymentRequestOut, renderRequest } from './read.ts';
import { own, params, type RequestDeps, tags } from './read-routes.ts';

const MAX_EXPIRY_S = 2_592_000;
const DEFAULT_EXPIRY_S = 3_600;

const Purpose = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('credits'), credits: amountIn }),
  z.strictObject({ type: z.literal('invoice'), reference: line(100) }),
]);

/** What a merchant does: ask, and withdraw. */
export function merchantRoutes(app: App, deps: RequestDeps): void {
  const { db, evm, publicUrl } = deps;

  app.post(
    '/v1/payment-requests',
    {
      config: { access: 'payment_requests:write', rate: 'money', idempotency: 'required' },
      schema: {
        tags,
        summary: 'Ask the holder of a DID for an amount of an asset',
        body: z.strictObject({
          payer: z.string().min(1).max(1000).describe('DID'),
          asset: z.string().max(100).describe('CAIP-19'),
          amount: z.string().max(78).describe('base units, a decimal string'),
          purpose: Purpose,
          description: line(200),
          late: z
            .enum(['accepted', 'refundable'])
            .default('refundable')
            .describe('what becomes of a payment after the end: it completes the request, or is kept for a refund'),
          expires_in_s: z.int().min(60).max(MAX_EXPIRY_S).default(DEFAULT_EXPIRY_S),
        }),
        response: answers({ 201: PaymentRequestOut }),
      },
    },
    async (request, reply) => {
      const { accountId, role } = callerOf(request);
      if (role === 'user') throw new Problem('forbidden');
      const { payer, asset, amount, purpose, description, late, expires_in_s: expiresInS } = request.body;
      const payerDid = parseDid(payer).did;
      const order = { merchantId: accountId, payerDid, asset, amount, purpose, description, late, expiresInS };
      const terms = await chainTerms(evm, order);
      return once(deps, request, reply, async (tx) => {
        const made = await createRequest(tx, deps, order, terms);
        const body = renderRequest({ request: made, transactions: [] }, publicUrl);
        return { status: 201, body, headers: { location: `/v1/payment-requests/${body.id}` } };
      });
    },
  );

  app.post(
    '/v1/payment-requests/:id/cancel',
    {
      config: { access: 'payment_requests:write', rate: 'money', idempotency: 'accepted' },
      schema: {
        tags,
        summary: 'Withdraw a request; what arrives afterwards in time still counts',
        params,
        response: answers({ 200: PaymentRequestOut }),
      },
    },
    async (request) => {
      const { accountId } = callerOf(request);
      await db.transaction((tx) => cancelRequest(tx, request.params.id, accountId));
      return renderRequest(await own(deps, request, request.params.id), publicUrl);
    },
  );
}
