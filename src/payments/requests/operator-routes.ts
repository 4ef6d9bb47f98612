import { asc, eq } from 'drizzle-orm';
import { z } from 'zod';
import type { Db } from '../../platform/database/clients.ts';
import type { Cursors } from '../../platform/http/lists.ts';
import { listOf, pageQuery } from '../../platform/http/lists.ts';
import { Problem } from '../../platform/http/problem.ts';
import type { App } from '../../platform/http/server.ts';
import { answers, idOut, idParam, JsonObject, time, timeOut } from '../../platform/http/wire.ts';
import { toWire } from '../../platform/ids.ts';
import { findAnyView, listAllRequests, PaymentRequestOut, type RequestView, renderRequest } from './read.ts';
import { requestHistory } from './tables.ts';

const tags = ['operator'];
const params = idParam('paymentRequest');

const OperatorRequestOut = PaymentRequestOut.extend({
  merchant_id: idOut('account').nullable().describe('null: the house, for a purchase'),
  payer_account_id: idOut('account').nullable(),
}).meta({ id: 'OperatorPaymentRequest' });

const TrailOut = OperatorRequestOut.extend({
  history: z.array(
    z.object({
      at: timeOut,
      actor: z.string(),
      what: z.string(),
      tx_hash: z.string().nullable(),
      detail: JsonObject,
    }),
  ),
}).meta({ id: 'PaymentRequestTrail' });

/** Payment requests, as the operator sees them. */
export function requestsOperatorRoutes(
  app: App,
  { db, cursors, publicUrl }: { db: Db; cursors: Cursors; publicUrl: string },
): void {
  const accountOut = (id: string | null) => (id === null ? null : toWire('account', id));
  const render = (view: RequestView) => ({
    ...renderRequest(view, publicUrl),
    merchant_id: accountOut(view.request.merchantId),
    payer_account_id: accountOut(view.request.payerAccountId),
  });

  app.get(
    '/v1/admin/payment-requests',
    {
      config: { access: 'operator', rate: 'read' },
      schema: {
        tags,
        summary: 'All payment requests',
        querystring: z.strictObject({ ...pageQuery, status: PaymentRequestOut.shape.status.optional() }),
        response: answers({ 200: listOf(OperatorRequestOut) }),
      },
    },
    async (request) => {
      const { status, limit } = request.query;
      const list = `all payment requests ${status ?? ''}`;
      const after = cursors.read(list, 'operator', request.query);
      const rows = await listAllRequests(db, status, after, limit + 1);
      return cursors.page(list, 'operator', request.query, rows, (view) => view.request.id, render);
    },
  );

  app.get(
    '/v1/admin/payment-requests/:id',
    {
      config: { access: 'operator', rate: 'read' },
      schema: {
        tags,
        summary: 'One payment request, with its whole history',
        params,
        response: answers({ 200: TrailOut }),
      },
    },
    async (request) => {
      const view = await findAnyView(db, request.params.id);
      if (!view) throw new Problem('not_found');
      return { ...render(view), history: await trailOf(db, view.request.id) };
    },
  );
}

async function trailOf(db: Db, requestId: string): Promise<z.infer<typeof TrailOut>['history']> {
  const steps = await db
    .select()
    .from(requestHistory)
    .where(eq(requestHistory.requestId, requestId))
    .orderBy(asc(requestHistory.seq));
  return steps.map(({ at, actor, what, txHash, detail }) => ({
    ...{ at: time(at), actor: actor.replace(/(?<=^account:).+/, (id) => toWire('account', id)), what },
    ...{ tx_hash: txHash, detail: detail as Record<string, unknown> },
  }));
}
