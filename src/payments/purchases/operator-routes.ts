import { asc, eq } from 'drizzle-orm';
import { z } from 'zod';
import { callerOf } from '../../platform/http/access.ts';
import { once } from '../../platform/http/idempotency.ts';
import { listOf, pageQuery } from '../../platform/http/lists.ts';
import { Problem } from '../../platform/http/problem.ts';
import type { App } from '../../platform/http/server.ts';
import { answers, idIn, idOut, idParam, line, time, timeOrNull, timeOut } from '../../platform/http/wire.ts';
import { toWire } from '../../platform/ids.ts';
import { lookAgain } from '../lightning/look-again.ts';
import type { PaymentsDeps } from '../routes.ts';
import { charges } from '../tables.ts';
import { trailOf } from './history.ts';
import { findAnyPurchase, listPurchases, PurchaseOut, type PurchaseView, renderPurchase } from './read.ts';
import { resolveReview } from './resolve.ts';

const tags = ['operator'];

const OperatorPurchaseOut = PurchaseOut.extend({ account_id: idOut('account') }).meta({ id: 'OperatorPurchase' });
const TrailOut = OperatorPurchaseOut.extend({
  charges: z.array(
    z.object({
      attempt_id: z.string(),
      charge_id: z.string().nullable(),
      method: z.string(),
      state: z.string(),
      failure_code: z.string().nullable(),
      created_at: timeOut,
      next_check_at: timeOut.nullable(),
    }),
  ),
  history: z.array(
    z.object({
      at: timeOut,
      actor: z.string(),
      what: z.string(),
      charge_id: z.string().nullable(),
      detail: z.record(z.string(), z.unknown()),
    }),
  ),
}).meta({ id: 'PurchaseTrail' });

/** Accounts by the id that the API knows them by. */
const actorOut = (actor: string) => actor.replace(/(?<=^account:).+/, (id) => toWire('account', id));

/** Purchases, as the operator sees them, and those in question. */
export function purchasesOperatorRoutes(app: App, deps: PaymentsDeps): void {
  const { db, vault, cursors, publicUrl } = deps;
  const params = idParam('purchase');
  const render = (view: PurchaseView) => ({
    ...renderPurchase(view, publicUrl),
    account_id: toWire('account', view.purchase.accountId),
  });
  const find = async (id: string) => {
    const view = await findAnyPurchase(db, id);
    if (!view) throw new Problem('not_found');
    return view;
  };

  app.get(
    '/v1/admin/purchases',
    {
      config: { access: 'operator', rate: 'read' },
      schema: {
        tags,
        summary: 'All purchases',
        querystring: z.strictObject({
          ...pageQuery,
          account_id: idIn('account').optional(),
          status: PurchaseOut.shape.status.optional(),
        }),
        response: answers({ 200: listOf(OperatorPurchaseOut) }),
      },
    },
    async (request) => {
      const { account_id: accountId, status: state } = request.query;
      const list = `purchases ${accountId ?? ''} ${state ?? ''}`;
      const after = cursors.read(list, 'operator', request.query);
      const rows = await listPurchases(db, { accountId, state }, after, request.query.limit + 1);
      return cursors.page(list, 'operator', request.query, rows, ({ purchase }) => purchase.id, render);
    },
  );

  app.get(
    '/v1/admin/purchases/:id',
    {
      config: { access: 'operator', rate: 'read' },
      schema: {
        tags,
        summary: 'One purchase, with its attempts and its whole history',
        params,
        response: answers({ 200: TrailOut }),
      },
    },
    async (request) => {
      const view = await find(request.params.id);
      const attempts = await db
        .select()
        .from(charges)
        .where(eq(charges.purchaseId, view.purchase.id))
        .orderBy(asc(charges.createdAt));
      const steps = await trailOf(db, view.purchase.id);
      return {
        ...render(view),
        charges: attempts.map((attempt) => ({
          attempt_id: attempt.attemptId,
          charge_id: attempt.chargeId,
          method: attempt.method,
          state: attempt.state,
          failure_code: attempt.failureCode,
          created_at: time(attempt.createdAt),
          next_check_at: timeOrNull(attempt.nextCheckAt),
        })),
        history: steps.map((step) => ({
          at: time(step.at),
          actor: actorOut(step.actor),
          what: step.what,
          charge_id: step.chargeId,
          detail: step.detail as Record<string, unknown>,
        })),
      };
    },
  );

  app.post(
    '/v1/admin/purchases/:id/converge',
    {
      config: { access: 'operator', rate: 'money', idempotency: 'none' },
      schema: {
        tags,
        summary: 'Read the charges of a purchase back now',
        params,
        response: answers({ 200: OperatorPurchaseOut }),
      },
    },
    async (request) => {
      const { purchase } = await find(request.params.id);
      await lookAgain(deps, purchase, `account:${callerOf(request).accountId}`);
      return render(await find(purchase.id));
    },
  );

  app.post(
    '/v1/admin/purchases/:id/resolve',
    {
      config: { access: 'operator', rate: 'money', idempotency: 'required' },
      schema: {
        tags,
        summary: 'Decide on a purchase in review: grant its credits whole, or reject it',
        params,
        body: z.strictObject({ outcome: z.enum(['complete', 'reject']), reason: line(500) }),
        response: answers({ 200: OperatorPurchaseOut }),
      },
    },
    async (request, reply) =>
      once({ db, vault }, request, reply, async (tx) => {
        const by = { operatorId: callerOf(request).accountId, requestId: request.id };
        const purchase = await resolveReview(tx, request.params.id, { ...request.body, ...by });
        return { status: 200, body: render({ purchase, attempt: null, requestId: null, invoice: null }) };
      }),
  );
}
