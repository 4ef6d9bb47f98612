import { asc, isNull } from 'drizzle-orm';
import { z } from 'zod';
import { callerOf } from '../../platform/http/access.ts';
import { once } from '../../platform/http/idempotency.ts';
import type { App } from '../../platform/http/server.ts';
import { answers, line } from '../../platform/http/wire.ts';
import { DifferenceOut, renderDifference, resolveDifference } from '../differences.ts';
import type { PaymentsDeps } from '../routes.ts';
import { differences } from '../tables.ts';
import { reconcile } from './report.ts';

const tags = ['operator'];

/** The provider's books against ours. */
export function reconcileOperatorRoutes(app: App, deps: PaymentsDeps): void {
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
        const { reason, ...which } = request.body;
        const by = { operatorId: callerOf(request).accountId, requestId: request.id, reason };
        const resolved = await resolveDifference(tx, which, by);
        return { status: 200, body: { object: 'resolution' as const, resolved } };
      }),
  );
}
