import { z } from 'zod';
import type { Balances } from '../../credits/index.ts';
import {
  type BuyDeps,
  chainTerms,
  checkReturnUri,
  type InvoiceDeps,
  InvoiceOut,
  type Purchase,
  renderInvoice,
} from '../../payments/index.ts';
import { callerOf } from '../../platform/http/access.ts';
import { type Answer, once } from '../../platform/http/idempotency.ts';
import { listOf, pageQuery } from '../../platform/http/lists.ts';
import { Problem } from '../../platform/http/problem.ts';
import type { App } from '../../platform/http/server.ts';
import { answers, idIn, idOut, idParam } from '../../platform/http/wire.ts';
import { fromWire, toWire } from '../../platform/ids.ts';
import type { WorkflowsDeps } from '../routes.ts';
import { type Buying, buyForAsk, invoiceForAsk, payAsk } from './pay.ts';
import {
  AskOut,
  type AskView,
  findAsk,
  listAsks,
  renderAsk,
  renderSettlement,
  SettlementOut,
  settlementsOf,
} from './read.ts';
import type { Asked } from './settle.ts';

/** What asks need beside what runs need. */
export interface AskDeps extends BuyDeps, InvoiceDeps {
  lightning: InvoiceDeps['lightning'];
  returnOrigins: string[];
  balanceOf(accountId: string): Promise<Balances>;
}

const tags = ['asks'];

/** What the caller's runs ask to be paid. */
export function askRoutes(app: App, deps: WorkflowsDeps): void {
  readRoutes(app, deps);
  payRoute(app, deps);
}

function readRoutes(app: App, { db, cursors, hasWallet }: WorkflowsDeps): void {
  const render = (view: AskView) => renderAsk(view, hasWallet);
  app.get(
    '/v1/asks',
    {
      config: { access: 'read', rate: 'read' },
      schema: {
        tags,
        summary: 'What own runs ask to be paid',
        querystring: z.strictObject({
          ...pageQuery,
          run_id: idIn('run').optional(),
          state: AskOut.shape.state.optional(),
        }),
        response: answers({ 200: listOf(AskOut) }),
      },
    },
    async (request) => {
      const { accountId } = callerOf(request);
      const { run_id: runId, state } = request.query;
      const list = `asks ${runId ?? ''} ${state ?? ''}`;
      const after = cursors.read(list, accountId, request.query);
      const rows = await listAsks(db, accountId, { runId, state }, after, request.query.limit + 1);
      return cursors.page(list, accountId, request.query, rows, ({ ask }) => ask.id, render);
    },
  );

  app.get(
    '/v1/asks/:id',
    {
      config: { access: 'read', rate: 'read' },
      schema: {
        tags,
        summary: 'One ask, and what has come for it',
        params: idParam('ask'),
        response: answers({ 200: AskOut.extend({ settlements: z.array(SettlementOut) }).meta({ id: 'AskInFull' }) }),
      },
    },
    async (request) => {
      const view = await findAsk(db, callerOf(request).accountId, request.params.id);
      if (!view) throw new Problem('not_found');
      return { ...render(view), settlements: (await settlementsOf(db, view.ask)).map(renderSettlement) };
    },
  );
}

const returnUri = z.string().max(2000).nullable().default(null);
const usesCredits = z.boolean().default(true).describe('set own credits aside first, and buy only the rest');

const PayIn = z.discriminatedUnion('rail', [
  z.strictObject({ rail: z.literal('credits') }),
  z.strictObject({ rail: z.literal('omise'), use_credits: usesCredits, return_uri: returnUri }),
  z.strictObject({
    rail: z.literal('evm'),
    asset: z.string().max(100).describe('CAIP-19; one of those in `pay_with`'),
    payer: z.string().min(1).max(1000).nullable().default(null).describe('a DID of the account; the oldest by default'),
    use_credits: usesCredits,
    return_uri: returnUri,
  }),
  z.strictObject({ rail: z.literal('lightning'), use_credits: usesCredits, return_uri: returnUri }),
]);

const OpenedOut = AskOut.extend({
  purchase_id: idOut('purchase'),
  status_url: z.string().describe('where it is paid; whoever has the link can pay'),
  lightning: InvoiceOut.optional().describe('by `lightning`: what is paid, while it can be'),
}).meta({ id: 'AskWithPurchase' });

function payRoute(app: App, deps: WorkflowsDeps): void {
  const { db, vault, asks, hasWallet } = deps;
  const render = ({ ask, run }: Asked) => renderAsk({ ask, rails: run.quote.rails }, hasWallet);
  app.post(
    '/v1/asks/:id/pay',
    {
      config: { access: 'runs:write', rate: 'money', idempotency: 'required' },
      schema: {
        tags,
        summary: 'Pay an ask with credits at once, or open a payment by another rail',
        description:
          'By `omise`, `evm` and `lightning` exactly the missing credits are bought, at `status_url`, and pay the ask as soon as they come. An ask that is paid is answered as it is, and nothing is charged. 503: the wallet makes no invoice now; the same key asks it again.',
        params: idParam('ask'),
        body: PayIn,
        response: answers({ 200: AskOut, 202: OpenedOut }),
      },
    },
    async (request, reply) => {
      const { accountId } = callerOf(request);
      const [{ id }, body] = [request.params, request.body];
      const buying = body.rail === 'credits' ? null : await buyingOf(asks, body);
      const answer = await once(
        { db, vault },
        request,
        reply,
        async (tx): Promise<Answer<z.infer<typeof AskOut> | z.infer<typeof OpenedOut>>> => {
          if (!buying) return { status: 200, body: render(await payAsk(tx, accountId, id, hasWallet)) };
          const { asked, purchase } = await buyForAsk(tx, asks, accountId, id, buying);
          if (!purchase) return { status: 200, body: render(asked) };
          return { status: 202, body: { ...render(asked), ...linkTo(asks, purchase) } };
        },
      );
      deps.feed.wake();
      deps.wakeDispatcher();
      if (body.rail !== 'lightning' || !('purchase_id' in answer)) return answer;
      // The wallet is asked when the intent is there for good; a repeat asks again where it was in vain.
      const invoice = await invoiceForAsk(asks, accountId, id, fromWire('purchase', answer.purchase_id));
      return invoice ? { ...answer, lightning: renderInvoice(invoice) } : answer;
    },
  );
}

/** Where a purchase by this method is paid. */
const PAGE: Record<string, string> = { crypto: 'pay', lightning: 'lightning' };

const linkTo = ({ publicUrl }: AskDeps, { id, method, pageToken }: Purchase) => ({
  purchase_id: toWire('purchase', id),
  status_url: `${publicUrl}/${PAGE[method] ?? 'checkout'}/${pageToken}`,
});

/** The chain is asked before the transaction, and only whether it takes the asset. */
async function buyingOf(deps: AskDeps, body: Exclude<z.output<typeof PayIn>, { rail: 'credits' }>): Promise<Buying> {
  const { return_uri: returnUri, use_credits: usesCredits } = body;
  checkReturnUri(deps, returnUri);
  if (body.rail !== 'evm') return { rail: body.rail, usesCredits, returnUri };
  const { rail, asset, payer } = body;
  return { rail, asset, payer, usesCredits, returnUri, chain: await chainTerms(deps.evm, { asset, amount: '1' }) };
}
