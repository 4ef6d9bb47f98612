import { z } from 'zod';
import type { Db } from '../platform/database/clients.ts';
import { callerOf } from '../platform/http/access.ts';
import { keyOf } from '../platform/http/idempotency.ts';
import { type Cursors, listOf, PageQuery } from '../platform/http/lists.ts';
import { Problem } from '../platform/http/problem.ts';
import type { App } from '../platform/http/server.ts';
import { answers, idIn, idParam } from '../platform/http/wire.ts';
import { type Capabilities, METHODS } from './capability.ts';
import { feeRoutes } from './fees/routes.ts';
import { buyByInvoice } from './lightning/buy.ts';
import { cancelInvoice } from './lightning/cancel.ts';
import { LightningPriceOut, lightningPricesOf, renderMsat } from './lightning/prices.ts';
import { type Price, PriceOut, pricesOf, renderPrices } from './package-prices.ts';
import { findPackage, listPackages, type Package, PackageOut, renderPackage } from './packages.ts';
import { sendQr } from './pages/qr.ts';
import { cancelPurchase } from './purchases/cancel.ts';
import type { ConvergeDeps } from './purchases/converge.ts';
import { findPurchase, listPurchases, PurchaseOut, type PurchaseView, renderPurchase } from './purchases/read.ts';
import { type PurchaseOrder, type StartDeps, startPurchase } from './purchases/start.ts';
import { type QuoteRouteDeps, quoteRoutes } from './quotes/routes.ts';
import type { EvmRail } from './rails/evm/evm.ts';
import type { LightningRail } from './rails/lightning/lightning.ts';
import type { Rail } from './rails/rail.ts';
import { buyOnChain } from './requests/buy.ts';
import { cancelBuying } from './requests/cancel.ts';

export interface PaymentsDeps extends StartDeps, ConvergeDeps, QuoteRouteDeps {
  db: Db;
  cursors: Cursors;
  rail: Rail;
  evm: EvmRail;
  /** `null`: no wallet is connected. */
  lightning: LightningRail | null;
  capabilities: Capabilities;
  /** Of fee structures, by one account. */
  evaluationsPerMinute: number;
  /** A charge was made that may be paid already. */
  wakePoller(): void;
}

const Method = z
  .discriminatedUnion('type', [
    z.strictObject({ type: z.literal('promptpay') }),
    z.strictObject({ type: z.literal('payment_link') }),
    z.strictObject({
      type: z.literal('card'),
      token: z.string().regex(/^tokn_(test_)?[a-z0-9]{8,40}$/, 'must be a card token (tokn_…), made in the browser'),
    }),
    z.strictObject({
      type: z.literal('truemoney'),
      phone_number: z.string().regex(/^0\d{9}$/, 'must be a Thai phone number, 0 and nine digits'),
    }),
    ...(['scb', 'kbank', 'bay', 'bbl', 'ktb'] as const).map((bank) =>
      z.strictObject({ type: z.literal(`mobile_banking_${bank}`) }),
    ),
    z.strictObject({
      type: z.literal('crypto'),
      asset: z.string().max(100).describe('CAIP-19; one of `crypto_prices` of the package'),
      payer: z
        .string()
        .min(1)
        .max(1000)
        .nullable()
        .default(null)
        .describe('a DID of the account; the oldest by default'),
    }),
    z.strictObject({ type: z.literal('lightning') }),
  ])
  .meta({ id: 'PaymentMethod' });

type OfOthers = Extract<z.infer<typeof Method>, { type: 'crypto' | 'lightning' }>;

const methodOf = (method: Exclude<z.infer<typeof Method>, OfOthers>): PurchaseOrder['method'] =>
  method.type === 'truemoney' ? { type: 'truemoney', phoneNumber: method.phone_number } : method;

const OfferedPackageOut = PackageOut.extend({
  methods: z.array(z.enum([...METHODS, 'payment_link', 'crypto', 'lightning'])),
  crypto_prices: z.array(PriceOut).describe('for the method `crypto`'),
  lightning_price: LightningPriceOut.nullable().describe('for the method `lightning`'),
}).meta({ id: 'OfferedPackage' });

/** Packages, purchases, what payments cost, and what an exchange's fees mean. */
export function paymentsRoutes(app: App, deps: PaymentsDeps): void {
  packageRoutes(app, deps);
  startRoute(app, deps);
  purchaseRoutes(app, deps);
  feeRoutes(app, deps);
  quoteRoutes(app, deps);
}

function packageRoutes(app: App, { db, evm, lightning, cursors, capabilities }: PaymentsDeps): void {
  const render = (one: Package, prices: Price[], msats: Map<string, bigint>): z.infer<typeof OfferedPackageOut> => {
    const msat = lightning ? msats.get(one.id) : undefined;
    const crypto = renderPrices(
      evm,
      prices.filter(({ packageId }) => packageId === one.id),
    );
    return {
      ...renderPackage(one),
      methods: [
        ...[...capabilities.methodsFor(one), 'payment_link' as const],
        ...(crypto.length > 0 ? (['crypto'] as const) : []),
        ...(msat === undefined ? [] : (['lightning'] as const)),
      ],
      crypto_prices: crypto,
      lightning_price: msat === undefined ? null : renderMsat(msat),
    };
  };

  app.get(
    '/v1/packages',
    {
      config: { access: 'anyone', rate: 'read' },
      schema: {
        tags: ['credits'],
        summary: 'Credits on offer',
        querystring: PageQuery,
        response: answers({ 200: listOf(OfferedPackageOut) }),
      },
    },
    async (request) => {
      const after = cursors.read('packages', 'everybody', request.query);
      const rows = await listPackages(db, true, after, request.query.limit + 1);
      const ids = rows.map(({ id }) => id);
      const [prices, msats] = [await pricesOf(db, ids), await lightningPricesOf(db, ids)];
      const renderOne = (one: Package) => render(one, prices, msats);
      return cursors.page('packages', 'everybody', request.query, rows, (one) => one.id, renderOne);
    },
  );

  app.get(
    '/v1/packages/:id',
    {
      config: { access: 'anyone', rate: 'read' },
      schema: {
        tags: ['credits'],
        summary: 'One package',
        params: idParam('package'),
        response: answers({ 200: OfferedPackageOut }),
      },
    },
    async (request) => {
      const one = await findPackage(db, request.params.id);
      if (!one?.active) throw new Problem('not_found');
      return render(one, await pricesOf(db, [one.id]), await lightningPricesOf(db, [one.id]));
    },
  );
}

function startRoute(app: App, deps: PaymentsDeps): void {
  app.post(
    '/v1/purchases',
    {
      config: { access: 'purchases:write', rate: 'money', idempotency: 'required' },
      schema: {
        tags: ['purchases'],
        summary: 'Buy a package',
        description:
          'Cards are named by a token that the browser made; a card number is refused. `payment_link` gives a page on which anybody with the link can pay; `crypto` gives a payment request, to be agreed to and paid on chain; `lightning` an invoice.',
        body: z.strictObject({
          package_id: idIn('package'),
          method: Method,
          return_uri: z.string().max(2000).nullable().default(null),
        }),
        response: answers({ 201: PurchaseOut }),
      },
    },
    async (request, reply) => {
      const keyed = keyOf(request);
      if (!keyed) throw new Problem('idempotency_key_required');
      const { package_id: packageId, method, return_uri: returnUri } = request.body;
      const order = { accountId: keyed.accountId, packageId, returnUri };
      const { purchaseId, replayed } =
        method.type === 'crypto'
          ? await buyOnChain(deps, keyed, { ...order, asset: method.asset, payer: method.payer })
          : method.type === 'lightning'
            ? await buyByInvoice(deps, keyed, order)
            : await startPurchase(deps, keyed, { ...order, method: methodOf(method) });
      deps.wakePoller();
      const view = await findPurchase(deps.db, keyed.accountId, purchaseId);
      if (!view) throw new Error('a purchase that vanished');
      const body = renderPurchase(view, deps.publicUrl);
      if (replayed) reply.header('Idempotent-Replayed', 'true');
      reply.code(201).header('Location', `/v1/purchases/${body.id}`);
      return body;
    },
  );
}

function purchaseRoutes(app: App, deps: PaymentsDeps): void {
  const { db, cursors, publicUrl } = deps;
  const tags = ['purchases'];
  const params = idParam('purchase');
  const render = (view: PurchaseView) => renderPurchase(view, publicUrl);
  const own = async (accountId: string, id: string): Promise<PurchaseView> => {
    const view = await findPurchase(db, accountId, id);
    if (!view) throw new Problem('not_found');
    return view;
  };

  app.get(
    '/v1/purchases',
    {
      config: { access: 'read', rate: 'read' },
      schema: {
        tags,
        summary: 'Own purchases',
        querystring: PageQuery,
        response: answers({ 200: listOf(PurchaseOut) }),
      },
    },
    async (request) => {
      const { accountId } = callerOf(request);
      const after = cursors.read('purchases', accountId, request.query);
      const rows = await listPurchases(db, { accountId }, after, request.query.limit + 1);
      return cursors.page('purchases', accountId, request.query, rows, ({ purchase }) => purchase.id, render);
    },
  );

  app.get(
    '/v1/purchases/:id',
    {
      config: { access: 'read', rate: 'read' },
      schema: { tags, summary: 'One purchase', params, response: answers({ 200: PurchaseOut }) },
    },
    async (request) => render(await own(callerOf(request).accountId, request.params.id)),
  );

  app.get(
    '/v1/purchases/:id/qr',
    {
      config: { access: 'read', rate: 'read' },
      schema: {
        tags,
        summary: 'The QR code, as an image',
        params,
        response: answers({ 200: z.any().describe('image/png or image/svg+xml') }),
      },
    },
    async (request, reply) => sendQr(reply, deps.rail, await own(callerOf(request).accountId, request.params.id)),
  );

  app.post(
    '/v1/purchases/:id/cancel',
    {
      config: { access: 'purchases:write', rate: 'money', idempotency: 'accepted' },
      schema: {
        tags,
        summary: 'Cancel an unpaid purchase',
        description:
          'A purchase that was paid a moment before is completed instead (409). A second cancellation changes nothing.',
        params,
        response: answers({ 200: PurchaseOut }),
      },
    },
    async (request) => {
      const { accountId } = callerOf(request);
      const { purchase } = await own(accountId, request.params.id);
      if (purchase.method === 'crypto') await db.transaction((tx) => cancelBuying(tx, purchase.id, accountId));
      else if (purchase.method === 'lightning') await cancelInvoice(deps, purchase);
      else await cancelPurchase(deps, purchase);
      return render(await own(accountId, request.params.id));
    },
  );
}
