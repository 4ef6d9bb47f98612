import { z } from 'zod';
import type { Db } from '../../platform/database/clients.ts';
import { callerOf } from '../../platform/http/access.ts';
import { invalidField } from '../../platform/http/problem.ts';
import type { App } from '../../platform/http/server.ts';
import { amountIn, answers, idIn } from '../../platform/http/wire.ts';
import { lightningPricesOf } from '../lightning/prices.ts';
import { pricesOf } from '../package-prices.ts';
import { findPackage } from '../packages.ts';
import { readAmount } from '../rails/evm/terms.ts';
import { type Payment, type PricedRun, paymentOfRun, type QuoteDeps, QuoteOut, quote } from './quote.ts';

const PaymentIn = z
  .discriminatedUnion('type', [
    z.strictObject({ type: z.literal('package'), package_id: idIn('package') }),
    z.strictObject({
      type: z.literal('money'),
      amount: amountIn.describe('minor units'),
      currency: z.string().regex(/^[A-Z]{3}$/, 'must be an ISO 4217 code'),
    }),
    z.strictObject({
      type: z.literal('asset'),
      asset: z.string().max(100).describe('CAIP-19'),
      amount: z.string().max(78).describe('base units, a decimal string'),
    }),
    z.strictObject({ type: z.literal('credits'), credits: amountIn }),
    z.strictObject({
      type: z.literal('run'),
      workflow_id: idIn('workflow'),
      payment: z.enum(['upfront', 'after']).optional().describe('how it is wished to be paid'),
    }),
  ])
  .meta({ id: 'PaymentToQuote' });

export interface QuoteRouteDeps extends QuoteDeps {
  db: Db;
  /** What a run of a workflow would cost, by whoever runs them; 403 or 404 when it is not the account's. */
  priceRun(accountId: string, workflowId: string, wished: 'upfront' | 'after' | undefined): Promise<PricedRun>;
}

/** What a payment costs, by each rail that is set up here. */
export function quoteRoutes(app: App, deps: QuoteRouteDeps): void {
  app.post(
    '/v1/quotes',
    {
      config: { access: 'read', rate: 'read', idempotency: 'none' },
      schema: {
        tags: ['fees'],
        summary: 'What a payment costs, by each way to make it',
        description: 'Informs only: nothing is reserved, and what a charge really costs is known when it is paid.',
        body: z.strictObject({ payment: PaymentIn }),
        response: answers({ 200: QuoteOut }),
      },
    },
    async (request) => quote(deps, await paymentOf(deps, callerOf(request).accountId, request.body.payment)),
  );
}

/** A 422 for a package that is not sold, or an asset that is not taken here. */
async function paymentOf(
  { db, evm, priceRun }: QuoteRouteDeps,
  accountId: string,
  asked: z.output<typeof PaymentIn>,
): Promise<Payment> {
  switch (asked.type) {
    case 'package': {
      const one = await findPackage(db, asked.package_id);
      if (!one?.active) throw invalidField('/payment/package_id', 'is not on sale', 'package_unavailable');
      const { price, currency, credits } = one;
      const msat = (await lightningPricesOf(db, [one.id])).get(one.id);
      return { type: 'package', price, currency, credits, onChain: await pricesOf(db, [one.id]), msat };
    }
    case 'money':
      return { type: 'money', price: asked.amount, currency: asked.currency };
    case 'asset':
      if (evm.assets.length > 0 && !evm.assets.some(({ id }) => id === asked.asset))
        throw invalidField('/payment/asset', 'is not taken here', 'asset_unsupported');
      if (readAmount(asked.amount) === undefined)
        throw invalidField('/payment/amount', 'is not a positive number of base units', 'amount_invalid');
      return { type: 'asset', onChain: [{ asset: asked.asset, amount: asked.amount }] };
    case 'credits':
      return { type: 'credits', credits: asked.credits };
    case 'run':
      return paymentOfRun(await priceRun(accountId, asked.workflow_id, asked.payment));
  }
}
