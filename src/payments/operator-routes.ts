import { z } from 'zod';
import { audit } from '../platform/audit-log.ts';
import { callerOf } from '../platform/http/access.ts';
import { once } from '../platform/http/idempotency.ts';
import { listOf, PageQuery } from '../platform/http/lists.ts';
import { Problem } from '../platform/http/problem.ts';
import type { App } from '../platform/http/server.ts';
import { amountIn, answers, idParam, line } from '../platform/http/wire.ts';
import { LightningPriceOut, MsatIn, renderMsat, setPrice } from './lightning/prices.ts';
import { PriceOut, renderPrices, setPrices } from './package-prices.ts';
import { changePackage, createPackage, findPackage, listPackages, PackageOut, renderPackage } from './packages.ts';
import { purchasesOperatorRoutes } from './purchases/operator-routes.ts';
import { reconcileOperatorRoutes } from './reconcile/operator-routes.ts';
import { requestsOperatorRoutes } from './requests/operator-routes.ts';
import type { PaymentsDeps } from './routes.ts';

const tags = ['operator'];

const PricesOut = z
  .object({ object: z.literal('package_prices'), prices: z.array(PriceOut) })
  .meta({ id: 'PackagePrices' });

/** Packages, purchases in question, and the provider's books against ours. */
export function paymentsOperatorRoutes(app: App, deps: PaymentsDeps): void {
  packageRoutes(app, deps);
  purchasesOperatorRoutes(app, deps);
  requestsOperatorRoutes(app, deps);
  reconcileOperatorRoutes(app, deps);
}

function packageRoutes(app: App, { db, evm, vault, cursors, currency }: PaymentsDeps): void {
  app.put(
    '/v1/admin/packages/:id/crypto-prices',
    {
      config: { access: 'operator', rate: 'money' },
      schema: {
        tags,
        summary:
          'What a package costs on chain, in each asset that it can be bought with; replaces what was set before',
        params: idParam('package'),
        body: z.strictObject({
          prices: z.array(z.strictObject({ asset: z.string().max(100), amount: z.string().max(78) })).max(50),
        }),
        response: answers({ 200: PricesOut }),
      },
    },
    async (request) =>
      db.transaction(async (tx) => {
        const { id } = request.params;
        if (!(await findPackage(tx, id))) throw new Problem('not_found');
        const prices = await setPrices(tx, evm, id, request.body.prices);
        await audit(tx, {
          actor: callerOf(request).accountId,
          action: 'payments.package_priced',
          subjectId: id,
          detail: { prices: request.body.prices },
          requestId: request.id,
        });
        return { object: 'package_prices' as const, prices: renderPrices(evm, prices) };
      }),
  );

  app.put(
    '/v1/admin/packages/:id/lightning-price',
    {
      config: { access: 'operator', rate: 'money' },
      schema: {
        tags,
        summary: 'What a package costs in Lightning; null: it is not sold so',
        params: idParam('package'),
        body: z.strictObject({ amount_msat: MsatIn.nullable() }),
        response: answers({
          200: z
            .object({ object: z.literal('lightning_price'), price: LightningPriceOut.nullable() })
            .meta({ id: 'PackageLightningPrice' }),
        }),
      },
    },
    async (request) =>
      db.transaction(async (tx) => {
        const { id } = request.params;
        const { amount_msat: msat } = request.body;
        if (!(await findPackage(tx, id))) throw new Problem('not_found');
        await setPrice(tx, id, msat);
        await audit(tx, {
          actor: callerOf(request).accountId,
          action: 'payments.package_priced',
          subjectId: id,
          detail: { lightning_msat: msat?.toString() ?? null },
          requestId: request.id,
        });
        return { object: 'lightning_price' as const, price: msat === null ? null : renderMsat(msat) };
      }),
  );

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
