import { and, asc, eq, isNull } from 'drizzle-orm';
import { z } from 'zod';
import { audit } from '../platform/audit-log.ts';
import { callerOf } from '../platform/http/access.ts';
import { once } from '../platform/http/idempotency.ts';
import { listOf, PageQuery, pageQuery } from '../platform/http/lists.ts';
import { Problem, retryLater } from '../platform/http/problem.ts';
import type { App } from '../platform/http/server.ts';
import { amountIn, answers, idIn, idOut, idParam, line, time, timeOrNull, timeOut } from '../platform/http/wire.ts';
import { toWire } from '../platform/ids.ts';
import { changePackage, createPackage, findPackage, listPackages, PackageOut, renderPackage } from './packages.ts';
import { converge } from './purchases/converge.ts';
import { trailOf } from './purchases/history.ts';
import { findAnyPurchase, listPurchases, PurchaseOut, type PurchaseView, renderPurchase } from './purchases/read.ts';
import { closeDifferences, resolveReview } from './purchases/resolve.ts';
import { reconcile } from './reconcile/report.ts';
import type { PaymentsDeps } from './routes.ts';
import { charges, differences } from './tables.ts';

const tags = ['operator'];

/** Packages, purchases in question, and the provider's books against ours. */
export function paymentsOperatorRoutes(app: App, deps: PaymentsDeps & { currency: string }): void {
  packageRoutes(app, deps);
  purchaseRoutes(app, deps);
  reconciliationRoutes(app, deps);
}

function packageRoutes(app: App, { db, vault, cursors, currency }: PaymentsDeps & { currency: string }): void {
  app.post(
    '/v1/admin/packages',
    {
      config: { access: 'operator', rate: 'money', idempotency: 'accepted' },
      schema: {
        tags,
        summary: 'Offer a package',
        body: z.strictObject({
          name: line(100),
          description: z.string().max(2000).default(''),
          credits: amountIn,
          price: amountIn.describe("minor units of the installation's currency"),
          active: z.boolean().default(true),
        }),
        response: answers({ 201: PackageOut }),
      },
    },
    async (request, reply) =>
      once({ db, vault }, request, reply, async (tx) => {
        const made = await createPackage(tx, { ...request.body, currency });
        await audit(tx, {
          actor: callerOf(request).accountId,
          action: 'payments.package_created',
          subjectId: made.id,
          detail: { name: made.name, credits: Number(made.credits), price: Number(made.price) },
          requestId: request.id,
        });
        const body = renderPackage(made);
        return { status: 201, body, headers: { location: `/v1/admin/packages/${body.id}` } };
      }),
  );

  app.get(
    '/v1/admin/packages',
    {
      config: { access: 'operator', rate: 'read' },
      schema: { tags, summary: 'All packages', querystring: PageQuery, response: answers({ 200: listOf(PackageOut) }) },
    },
    async (request) => {
      const after = cursors.read('packages', 'operator', request.query);
      const rows = await listPackages(db, false, after, request.query.limit + 1);
      return cursors.page('packages', 'operator', request.query, rows, (one) => one.id, renderPackage);
    },
  );

  app.get(
    '/v1/admin/packages/:id',
    {
      config: { access: 'operator', rate: 'read' },
      schema: { tags, summary: 'One package', params: idParam('package'), response: answers({ 200: PackageOut }) },
    },
    async (request) => {
      const one = await findPackage(db, request.params.id);
      if (!one) throw new Problem('not_found');
      return renderPackage(one);
    },
  );

  app.patch(
    '/v1/admin/packages/:id',
    {
      config: { access: 'operator', rate: 'money' },
      schema: {
        tags,
        summary: 'Rename, describe, offer or withdraw a package; what it sells never changes',
        params: idParam('package'),
        body: z
          .strictObject({
            name: line(100).optional(),
            description: z.string().max(2000).optional(),
            active: z.boolean().optional(),
          })
          .refine((body) => Object.keys(body).length > 0, 'must change something'),
        response: answers({ 200: PackageOut }),
      },
    },
    async (request) => {
      const { name, description, active } = request.body;
      const change = {
        ...(name === undefined ? {} : { name }),
        ...(description === undefined ? {} : { description }),
        ...(active === undefined ? {} : { active }),
      };
      return db.transaction(async (tx) => {
        const changed = await changePackage(tx, request.params.id, change);
        if (!changed) throw new Problem('not_found');
        await audit(tx, {
          actor: callerOf(request).accountId,
          action: 'payments.package_changed',
          subjectId: changed.id,
          detail: change,
          requestId: request.id,
        });
        return renderPackage(changed);
      });
    },
  );
}

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

function purchaseRoutes(app: App, deps: PaymentsDeps): void {
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
      const attempts = await db.select().from(charges).where(eq(charges.purchaseId, purchase.id));
      const actor = `account:${callerOf(request).accountId}` as const;
      for (const { chargeId } of attempts) {
        if (chargeId === null) continue;
        const { result } = await converge(deps, chargeId, actor);
        if (result === 'retry' || result === 'unreadable') throw retryLater('provider_unavailable', 5);
      }
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
        const operatorId = callerOf(request).accountId;
        const purchase = await resolveReview(tx, request.params.id, { ...request.body, operatorId });
        await audit(tx, {
          actor: operatorId,
          action: 'payments.review_resolved',
          subjectId: purchase.id,
          detail: request.body,
          requestId: request.id,
        });
        return { status: 200, body: render({ purchase, attempt: null }) };
      }),
  );
}

const DifferenceOut = z
  .object({
    object: z.literal('difference'),
    kind: z.string(),
    reference: z.string().describe("the provider's charge"),
    purchase_id: idOut('purchase').nullable(),
    detail: z.record(z.string(), z.unknown()),
    found_at: timeOut,
  })
  .meta({ id: 'Difference' });

export const renderDifference = (row: typeof differences.$inferSelect): z.infer<typeof DifferenceOut> => ({
  object: 'difference',
  kind: row.kind,
  reference: row.reference,
  purchase_id: row.purchaseId === null ? null : toWire('purchase', row.purchaseId),
  detail: row.detail as Record<string, unknown>,
  found_at: time(row.foundAt),
});

function reconciliationRoutes(app: App, deps: PaymentsDeps): void {
  const { db, vault } = deps;

  app.post(
    '/v1/admin/reconcile',
    {
      config: { access: 'operator', rate: 'money', idempotency: 'none' },
      handlerTimeout: 600_000,
      schema: {
        tags,
        summary: 'Compare the provider with the ledger now',
        body: z.strictObject({ days: z.int().min(1).max(365).default(30) }),
        response: answers({
          200: z.object({
            object: z.literal('reconciliation'),
            compared: z
              .int()
              .nullable()
              .describe('charges of the provider; null when it could not be asked to the end'),
            credited: z.int().describe('purchases that were completed by this'),
            waiting: z.object({ attempts: z.int(), notifications: z.int() }),
            differences: z.array(DifferenceOut),
          }),
        }),
      },
    },
    async (request) => {
      const result = await reconcile(deps, request.body.days);
      return { object: 'reconciliation' as const, ...result, differences: result.differences.map(renderDifference) };
    },
  );

  app.get(
    '/v1/admin/differences',
    {
      config: { access: 'operator', rate: 'read' },
      schema: {
        tags,
        summary: 'Open differences, oldest first',
        response: answers({
          200: z.object({ object: z.literal('list'), data: z.array(DifferenceOut), has_more: z.boolean() }),
        }),
      },
    },
    async () => {
      const rows = await db
        .select()
        .from(differences)
        .where(isNull(differences.resolvedAt))
        .orderBy(asc(differences.foundAt))
        .limit(101);
      return { object: 'list' as const, data: rows.slice(0, 100).map(renderDifference), has_more: rows.length > 100 };
    },
  );

  app.post(
    '/v1/admin/differences/resolve',
    {
      config: { access: 'operator', rate: 'money', idempotency: 'accepted' },
      schema: {
        tags,
        summary: 'Mark a difference as dealt with',
        body: z.strictObject({ kind: z.string().max(100), reference: z.string().max(100), reason: line(500) }),
        response: answers({ 200: z.object({ object: z.literal('resolution'), resolved: z.int() }) }),
      },
    },
    async (request, reply) =>
      once({ db, vault }, request, reply, async (tx) => {
        const { kind, reference, reason } = request.body;
        const resolved = await closeDifferences(
          tx,
          and(eq(differences.kind, kind), eq(differences.reference, reference)),
        );
        if (resolved === 0) throw new Problem('not_found', 'There is no such open difference.');
        await audit(tx, {
          actor: callerOf(request).accountId,
          action: 'payments.difference_resolved',
          subjectId: reference,
          detail: { kind, reason },
          requestId: request.id,
        });
        return { status: 200, body: { object: 'resolution' as const, resolved } };
      }),
  );
}
