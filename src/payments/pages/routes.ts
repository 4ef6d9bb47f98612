import { eq } from 'drizzle-orm';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import type { Feed } from '../../platform/delivery/feed.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { page } from '../../platform/http/html.ts';
import { pages } from '../../platform/http/pages.ts';
import { invalidField, Problem } from '../../platform/http/problem.ts';
import type { App } from '../../platform/http/server.ts';
import { STREAM_TIMEOUT_MS } from '../../platform/http/stream.ts';
import { answers, Nothing } from '../../platform/http/wire.ts';
import { METHODS, type Method } from '../capability.ts';
import { intend, liveAttempt, openCharge } from '../purchases/charge.ts';
import { converge } from '../purchases/converge.ts';
import { findByPageToken, type PurchaseView } from '../purchases/read.ts';
import type { ChargeMethod } from '../rails/rail.ts';
import type { PaymentsDeps } from '../routes.ts';
import { charges, purchases } from '../tables.ts';
import { checkoutPage } from './checkout.ts';
import { streamToPage } from './live.ts';
import { sendQr } from './qr.ts';
import { liveScript } from './scripts.ts';

const params = z.strictObject({ token: z.string().regex(/^[\w-]{43}$/) });
const REFRESH_S = 5;
const MAX_ATTEMPTS = 10; // on one link: whoever has it may try again, but not flood the provider
const ANY = answers({ 200: z.string(), 303: Nothing });
const HIDDEN = { hide: true } as const;
const LAST_EVENTS = new Set(
  ['completed', 'failed', 'expired', 'cancelled', 'refunded'].map((state) => `payments.purchase_${state}`),
);

/** The hosted checkout: anybody with the link sees the purchase and can pay it. */
export async function checkoutRoutes(app: App, deps: PaymentsDeps & { feed: Feed }): Promise<void> {
  const { db, rail, capabilities, feed } = deps;
  const find = async (token: string): Promise<PurchaseView> => {
    const view = await findByPageToken(db, token);
    if (!view)
      throw new Problem('not_found', 'The address is not complete, or it was never given out. Ask for the link again.');
    return view;
  };
  const methodsOf = (view: PurchaseView): Exclude<Method, 'card'>[] =>
    view.purchase.method === 'payment_link'
      ? capabilities.methodsFor(view.purchase).filter((method) => method !== 'card')
      : [];
  const show = (reply: FastifyReply, view: PurchaseView) => {
    const isOpen = view.purchase.state === 'pending';
    return page(reply, {
      title: `${view.purchase.packageName} – Farebox`,
      body: checkoutPage({ ...view, methods: methodsOf(view) }),
      ...(isOpen ? { script: liveScript, refreshS: REFRESH_S } : {}),
    });
  };

  await pages(app, (inner) => {
    inner.get(
      '/checkout/:token',
      { config: { access: 'anyone', rate: 'read' }, schema: { ...HIDDEN, params, response: ANY } },
      async (request, reply) => {
        const view = await find(request.params.token);
        const { token } = request.params;
        if (view.purchase.method === 'lightning')
          return reply.code(303).header('Location', `/lightning/${token}`).send(null);
        if (view.requestId === null) return show(reply, view);
        return reply.code(303).header('Location', `/pay/${token}`).send(null);
      },
    );

    inner.get(
      '/checkout/:token/qr',
      {
        config: { access: 'anyone', rate: 'read' },
        schema: { ...HIDDEN, params, response: answers({ 200: z.any() }) },
      },
      async (request, reply) => sendQr(reply, rail, await find(request.params.token)),
    );

    inner.get(
      '/checkout/:token/events',
      {
        config: { access: 'anyone', rate: 'read' },
        exposeHeadRoute: false,
        handlerTimeout: STREAM_TIMEOUT_MS,
        schema: { ...HIDDEN, params, response: ANY },
      },
      async (request, reply) => {
        const { purchase } = await find(request.params.token);
        return streamToPage(request, reply, { feed, page: 'checkout' }, purchase, ({ type }) => LAST_EVENTS.has(type));
      },
    );

    inner.post(
      '/checkout/:token/pay',
      {
        config: { access: 'anyone', rate: 'money', idempotency: 'none' },
        schema: {
          ...HIDDEN,
          params,
          body: z.object({ method: z.string().max(40), phone_number: z.string().max(20).optional() }),
          response: ANY,
        },
      },
      async (request, reply) => {
        const view = await find(request.params.token);
        const method = readMethod(request.body, methodsOf(view));
        await pay(deps, view, method);
        return reply.code(303).header('Location', `/checkout/${request.params.token}`).send(null);
      },
    );

    inner.get(
      '/checkout/:token/return',
      { config: { access: 'anyone', rate: 'money' }, schema: { ...HIDDEN, params, response: ANY } },
      async (request, reply) => {
        const { purchase, attempt } = await find(request.params.token);
        // A hint to look, and nothing more: what is paid, the provider says.
        if (purchase.state === 'pending' && attempt?.chargeId) await converge(deps, attempt.chargeId, 'page');
        const after = await find(request.params.token);
        const back = after.purchase.state === 'completed' ? after.purchase.returnUri : null;
        return reply
          .code(303)
          .header('Location', back ?? `/checkout/${request.params.token}`)
          .send(null);
      },
    );
  });
}

function readMethod(form: { method: string; phone_number?: string | undefined }, offered: Method[]): ChargeMethod {
  const method = METHODS.find((name) => name === form.method);
  if (!method || method === 'card' || !offered.includes(method))
    throw invalidField('/method', 'This way to pay is not available', 'method_unavailable');
  if (method !== 'truemoney') return { type: method };
  const phoneNumber = form.phone_number?.replace(/[\s-]/g, '') ?? '';
  if (!/^0\d{9}$/.test(phoneNumber)) throw invalidField('/phone_number', 'The phone number must be 0 and nine digits');
  return { type: 'truemoney', phoneNumber };
}

/** Opens a charge on a payment link, unless one is open already: then the payer is led to that one. */
async function pay(deps: PaymentsDeps, view: PurchaseView, method: ChargeMethod): Promise<void> {
  const begun = await deps.db.transaction(async (tx) => {
    const [purchase] = await tx.select().from(purchases).where(eq(purchases.id, view.purchase.id)).for('update');
    if (purchase?.state !== 'pending' || (await liveAttempt(tx, purchase.id))) return undefined;
    if ((await tx.$count(charges, eq(charges.purchaseId, purchase.id))) >= MAX_ATTEMPTS) {
      throw new Problem('conflict', 'Too many attempts were made on this link. Start a new purchase.');
    }
    const attempt = await intend(tx, deps, purchase, method.type, 'page');
    await failpoint('payments.page.before_commit');
    return { purchase, attempt };
  });
  if (!begun) return;
  await openCharge(deps, begun.purchase, begun.attempt, method, 'page');
  deps.wakePoller();
}
