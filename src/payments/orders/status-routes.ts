import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { page } from '../../platform/http/html.ts';
import { Problem } from '../../platform/http/problem.ts';
import type { App } from '../../platform/http/server.ts';
import { answers, Nothing } from '../../platform/http/wire.ts';
import { money } from '../../platform/http/words.ts';
import { orderPage, type WaysToPay } from '../pages/order.ts';
import { qrOf } from '../pages/qr-of.ts';
import { orderScript } from '../pages/scripts.ts';
import { displayAmount } from '../rails/evm/terms.ts';
import { payUriOf, statusUrl } from './addresses.ts';
import { type Outcome, outcomeOf, statusOf } from './outcome.ts';
import { orderParams } from './proposal.ts';
import {
  boughtBefore,
  claimTokenOf,
  findOrder,
  isProven,
  isRevoked,
  type Order,
  type SeenOrder,
  shownOf,
} from './read.ts';
import type { OrderDeps } from './shop-routes.ts';
import type { RailPrice } from './tables.ts';
import { CODE_PARAMETER, createVisitors } from './visitors.ts';
import { untilChanged } from './wait.ts';

const MAX_WAIT_MS = 60_000;
const REFRESH_S = 5;
const SESSION = /^[A-Za-z0-9_-]{8,64}$/;

/** Anything may stand in a link; what makes no sense is as good as nothing. */
const query = z.object({
  token: z.string().max(200).optional(),
  claim_token: z.string().max(200).optional(),
  h_contract: z.string().max(200).optional(),
  session_id: z.string().max(200).optional(),
  timeout_ms: z.string().max(10).optional(),
});

const ToPay = z.object({
  taler_pay_uri: z.string(),
  order_status_url: z.string(),
  fulfillment_url: z.string().optional(),
  already_paid_order_id: z.string().optional(),
});
const Paid = z.object({
  refunded: z.boolean(),
  refund_pending: z.boolean(),
  refund_taken: z.string(),
  refund_amount: z.string(),
  fulfillment_url: z.string().optional(),
});

/** What one visit has come to. */
interface Seen {
  order: SeenOrder;
  outcome: Outcome;
  /** For which it is asked, or that of a browser which came without one. */
  sessionId: string | null;
  /** The session is of a browser that we have named: its shop does not know it yet. */
  isVisitors: boolean;
  before: Order | undefined;
}

/** The status of an order for whoever has its link: a page for people, JSON for wallets and scripts. */
export function statusRoutes(app: App, deps: OrderDeps): void {
  const { db, vault, feed, publicUrl } = deps;
  const key = vault.derive('order-claims');
  const visitors = createVisitors(deps);

  const look = async (id: string, asked: z.infer<typeof query>, cookies?: string): Promise<Seen | undefined> => {
    const order = await findOrder(db, id);
    if (!order) return undefined;
    const told = SESSION.test(asked.session_id ?? '') ? (asked.session_id ?? null) : null;
    const visitor = visitors.sessionOf(cookies, order.orderId) ?? null;
    const sessionId = told ?? visitor;
    const isOpen = sessionId !== null && (await isProven(db, order, sessionId));
    const before = order.state === 'paid' ? undefined : await boughtBefore(db, order, sessionId);
    const outcome = outcomeOf(
      {
        ...{ state: order.state, isExpired: order.isExpired, isRevoked: isRevoked(order) },
        hasReorderUrl: order.publicReorderUrl !== null,
      },
      {
        ...shownOf(key, order, { token: asked.token ?? asked.claim_token, hContract: asked.h_contract }),
        session: isOpen ? 'proven' : told === null ? 'none' : 'other',
        hasBoughtBefore: before !== undefined,
      },
    );
    return { order, outcome, sessionId, isVisitors: sessionId !== null && sessionId === visitor, before };
  };

  app.get(
    '/orders/:id',
    {
      config: { access: 'anyone', rate: 'read' },
      handlerTimeout: MAX_WAIT_MS + 10_000,
      schema: {
        tags: ['orders'],
        summary: 'Where an order stands, by its link; `Accept: text/html` gets a page',
        params: orderParams,
        querystring: query,
        response: answers({ 200: Paid, 202: z.object({ public_reorder_url: z.string() }), 304: Nothing, 402: ToPay }),
      },
    },
    async (request, reply) => {
      const isPerson = wantsPage(request);
      reply.header('Vary', 'Accept').header('Referrer-Policy', 'no-referrer');
      const lookAgain = () => look(request.params.id, request.query, request.headers.cookie);
      const first = await lookAgain();
      if (!first) return isPerson ? showPage(reply, undefined) : refuse('unknown', undefined);
      const known = request.headers['if-none-match'];
      const waitMs = isPerson ? 0 : waitOf(request.query.timeout_ms);
      const isSettled = ({ outcome }: Seen) => statusOf[outcome] !== 402;
      const seen = await untilChanged(
        ...([feed, request.raw, waitMs] as const),
        async () => (await lookAgain()) ?? first,
        (now) => (known === undefined ? !isSettled(now) : etagOf(now) === known),
      );
      reply.header('ETag', etagOf(seen));
      if (isPerson) return showPage(reply, seen);
      if (known === etagOf(seen)) return reply.code(304).send(null);
      return tell(reply, seen);
    },
  );

  /** For who has been shown to know the order; until it is claimed that is by its token. */
  const targetOf = ({ order, sessionId }: Seen) => ({
    ...{ orderId: order.orderId, sessionId },
    token: order.state === 'unpaid' ? claimTokenOf(key, order) : null,
    hContract: order.hContract,
  });

  function tell(reply: FastifyReply, seen: Seen) {
    const { order, outcome, before } = seen;
    const optional = (name: string, value: string | null | undefined) => (value ? { [name]: value } : {});
    switch (statusOf[outcome]) {
      case 402:
        return reply.code(402).send({
          ...{
            taler_pay_uri: payUriOf(publicUrl, targetOf(seen)),
            order_status_url: statusUrl(publicUrl, targetOf(seen)),
          },
          ...optional('fulfillment_url', before?.fulfillmentUrl ?? order.fulfillmentUrl),
          ...optional('already_paid_order_id', before?.orderId),
        });
      case 202:
        return reply.code(202).send({ public_reorder_url: order.publicReorderUrl ?? '' });
      case 200:
        return reply.code(200).send({
          ...{ refunded: isRevoked(order), refund_pending: order.refundCredits > order.refundedCredits },
          ...{ refund_taken: `CREDITS:${order.refundedCredits}`, refund_amount: `CREDITS:${order.refundedCredits}` },
          ...(outcome === 'paid' ? optional('fulfillment_url', order.fulfillmentUrl) : {}),
        });
      default:
        return refuse(outcome, order);
    }
  }

  async function showPage(reply: FastifyReply, seen: Seen | undefined): Promise<FastifyReply> {
    if (!seen)
      return page(reply, { title: 'No such order – Farebox', body: orderPage({ outcome: 'unknown' }), status: 404 });
    const { order, outcome } = seen;
    const address = leadsTo(seen);
    if (address !== undefined) return reply.redirect(address, 302);
    const isWaiting = statusOf[outcome] === 402;
    const ways = isWaiting ? await waysToPay(reply, seen) : undefined;
    if (ways) reply.header('Link', `<${ways.links.wallet}>; rel="payment"`);
    return page(reply, {
      title: `${outcome === 'forbidden' ? 'Order' : order.summary} – Farebox`,
      body: orderPage(ways ? { outcome, order, ways } : { outcome, order }),
      status: statusOf[outcome],
      // From the claim on the order has an address that stays good when it is paid.
      ...(ways ? { script: orderScript, refreshS: REFRESH_S, refreshTo: ways.links.page } : {}),
    });
  }

  /** A browser that the shop does not know yet takes a code along. */
  function leadsTo({ order, outcome, sessionId, isVisitors, before }: Seen): string | undefined {
    if (outcome === 'elsewhere') return order.publicReorderUrl ?? undefined;
    const opens = outcome === 'paid' ? order : outcome === 'bought_before' ? before : undefined;
    if (!opens?.fulfillmentUrl || !isVisitors || sessionId === null) return opens?.fulfillmentUrl ?? undefined;
    const url = new URL(opens.fulfillmentUrl);
    url.searchParams.set(CODE_PARAMETER, visitors.codeFor(opens.orderId, sessionId));
    return url.href;
  }

  async function waysToPay(reply: FastifyReply, seen: Seen): Promise<WaysToPay> {
    const { order } = seen;
    const newcomer = seen.sessionId === null ? visitors.welcome(order.orderId) : undefined;
    if (newcomer) reply.header('Set-Cookie', newcomer.setCookie);
    const sessionId = seen.sessionId ?? newcomer?.sessionId ?? '';
    const target = { ...targetOf(seen), sessionId };
    const links = { page: statusUrl(publicUrl, target), wallet: payUriOf(publicUrl, target) };
    const price = <R extends RailPrice['rail']>(rail: R) =>
      order.prices.find((one): one is Extract<RailPrice, { rail: R }> => one.rail === rail);
    const [byOmise, onChain] = [price('omise'), price('evm')];
    const asset = deps.evm.assets.find(({ id }) => id === onChain?.asset);
    return {
      ...{ links, qr: await qrOf(links.page), sessionId, token: target.token },
      money: byOmise ? money(BigInt(byOmise.amount), byOmise.currency) : null,
      onChain: onChain && asset ? `${displayAmount(onChain.amount, asset.decimals)} ${asset.symbol}` : null,
    };
  }
}

/** A wallet asks for JSON by name or takes anything; a browser asks for a page. */
const wantsPage = ({ headers }: FastifyRequest): boolean =>
  /\btext\/html\b/.test(headers.accept ?? '') && !/\bapplication\/json\b/.test(headers.accept ?? '');

const waitOf = (text = ''): number => (/^\d{1,6}$/.test(text) ? Math.min(Number(text), MAX_WAIT_MS) : 0);

/** Changes with everything that the visitor would see. */
const etagOf = ({ order, outcome, sessionId, before }: Seen): string =>
  `"${createHash('sha256')
    .update(`${order.version} ${outcome} ${sessionId} ${before?.orderId}`)
    .digest('base64url')
    .slice(0, 22)}"`;

function refuse(outcome: Outcome, order: Order | undefined): never {
  if (outcome === 'forbidden') throw new Problem('forbidden', 'The link does not open this order.');
  if (outcome === 'expired') {
    const extra = order?.publicReorderUrl ? { public_reorder_url: order.publicReorderUrl } : {};
    throw new Problem('order_expired', undefined, { extra });
  }
  throw new Problem('not_found');
}
