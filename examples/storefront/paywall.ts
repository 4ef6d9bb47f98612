import type { FastifyReply, FastifyRequest, preHandlerAsyncHookHandler } from 'fastify';
import { keepEntitlements } from './entitlements.ts';
import { type Answer, askFarebox, type Farebox, NoAnswer } from './farebox.ts';
import { html, POLICY, pageOf } from './page.ts';
import { cookieValues, createSessions } from './sessions.ts';

/**
 * A paywall for routes of Fastify: `{ preHandler: paywall({ resource, price, summary }) }`. The handler runs only for
 * browser sessions whose order for exactly this resource is paid, and not given back.
 */

export interface Shop {
  farebox: Farebox;
  /** Origin of the shop; its own word, never taken from a request. Farebox must allow it (`RETURN_ORIGINS`). */
  url: string;
  /** Signs the session cookies; at least 32 characters. */
  cookieKey: string;
  /** How long an entitlement is believed without asking again: see `entitlements.ts`. */
  cacheMs?: number;
  /** The clock, for tests. */
  now?: () => number;
}

/** A value, or how to get it from a request. */
type Of<T> = T | ((request: FastifyRequest) => T);

export type RailPrice =
  /** `amount` in minor units: 2000 are ฿20.00. */
  | { rail: 'omise'; amount: number; currency: string }
  /** `asset` by its CAIP-19 name, `amount` in base units. */
  | { rail: 'evm'; asset: string; amount: string };

export interface Guard {
  /** What is sold: one name for each address without its query. `undefined` when there is no such thing: 404. */
  resource: Of<string | undefined>;
  /** In credits. */
  price: Of<number>;
  /** What those credits cost people who have none: one price for each rail that Farebox takes. */
  prices?: Of<RailPrice[]>;
  /** What people and wallets are shown. */
  summary: Of<string>;
  /** Browsers that may read it at the same time; 1 unless told. */
  maxSessions?: number;
  /** Whether a refund of a part ends the access, too. */
  refundPolicy?: 'revoke_on_any' | 'revoke_on_full';
}

const CACHE_MS = 10_000;
const HINT = 'farebox_order';
/** What Farebox leads a browser back with that had no session of ours when it paid. */
const CODE = 'farebox_code';
const AGAIN = 'again';

export function openPaywall(shop: Shop): (guard: Guard) => preHandlerAsyncHookHandler {
  const { origin, protocol } = new URL(shop.url);
  const sessions = createSessions(shop.cookieKey, { isHttps: protocol === 'https:' });
  const entitlements = keepEntitlements(shop.cacheMs ?? CACHE_MS, shop.now);

  return (guard) => async (request, reply) => {
    const resource = toldBy(guard.resource, request);
    if (resource === undefined) return reply.callNotFound();
    const session = sessions.of(request.headers.cookie);
    if (session.setCookie !== undefined) reply.header('Set-Cookie', session.setCookie);
    // Paid or not, it is this browser's alone.
    reply.header('Cache-Control', 'private, no-store').header('Vary', 'Cookie, Accept');
    if (entitlements.has(session.publicId, resource)) return undefined;
    const visit = visitOf(request, origin);
    const answer = await askFarebox(shop.farebox, {
      ...{ session_id: session.publicId, resource, order: termsOf(guard, request, visit.address) },
      ...(visit.hint === undefined ? {} : { order_id: visit.hint }),
      ...(visit.code === undefined ? {} : { code: visit.code }),
      ...(visit.isAgain ? { again: true } : {}),
    }).catch((fault: unknown) => {
      if (fault instanceof NoAnswer) return fault;
      throw fault;
    });
    if (answer instanceof NoAnswer) return sendAway(request, reply, answer);
    entitlements.learn(session.publicId, resource, answer);
    if (answer.entitled) {
      rememberOrder(reply, visit, answer.orderId);
      // What stands in the address was for this one visit.
      if (visit.code !== undefined || visit.isAgain) return reply.redirect(visit.path, 303);
      return undefined;
    }
    return answer.refunded ? tellRefund(request, reply, visit, answer) : askToPay(request, reply, answer);
  };
}

interface Visit {
  /** Of what is sold, on the shop's own origin, without a query. */
  address: string;
  path: string;
  /** The order that this browser had here, or that the link names. It opens nothing by itself. */
  hint: string | undefined;
  /** Good once, to open an order that was paid before this browser had a session. */
  code: string | undefined;
  /** A new order is wanted, also where there is one. */
  isAgain: boolean;
}

function visitOf(request: FastifyRequest, origin: string): Visit {
  const [path = '/', query = ''] = request.url.split(/\?(.*)/s, 2);
  const url = new URL(origin);
  url.pathname = path; // keeps the origin, whatever the path looks like
  const asked = new URLSearchParams(query);
  const isAgain = asked.has(AGAIN);
  const hints = isAgain ? [] : [...cookieValues(request.headers.cookie, HINT), asked.get('order_id') ?? ''];
  return {
    ...{ address: url.href, path: url.pathname, isAgain, code: asked.get(CODE)?.slice(0, 400) },
    hint: hints.find((hint) => /^[A-Za-z0-9._-]{1,60}$/.test(hint)),
  };
}

function termsOf(guard: Guard, request: FastifyRequest, address: string): Record<string, unknown> {
  const summary = toldBy(guard.summary, request)
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim();
  return {
    amount: `CREDITS:${toldBy(guard.price, request)}`,
    summary: (summary.slice(0, 200) || 'An article').toWellFormed(),
    prices: guard.prices === undefined ? [] : toldBy(guard.prices, request),
    ...{ fulfillment_url: address, public_reorder_url: `${address}?${AGAIN}` },
    ...{ max_sessions: guard.maxSessions ?? 1, refund_policy: guard.refundPolicy ?? 'revoke_on_any' },
  };
}

const toldBy = <T extends string | number | RailPrice[] | undefined>(value: Of<T>, request: FastifyRequest): T =>
  typeof value === 'function' ? value(request) : value;

/** So that a refund is told as one. Only browsers that have paid keep it, and only for this address. */
function rememberOrder(reply: FastifyReply, { path, hint }: Visit, orderId: string): void {
  if (hint !== orderId && isPlain(path))
    reply.header('Set-Cookie', `${HINT}=${orderId}; Path=${path}; Max-Age=${30 * 86_400}; HttpOnly; SameSite=Lax`);
}

/** Can stand in a cookie as it is. */
const isPlain = (path: string): boolean => /^[\w/%.~-]{1,500}$/.test(path);

/** As Farebox itself decides it: who asks for JSON by name is a program. */
const isProgram = ({ headers }: FastifyRequest): boolean =>
  /\bapplication\/(problem\+)?json\b/.test(headers.accept ?? '') && !/\btext\/html\b/.test(headers.accept ?? '');

function askToPay(request: FastifyRequest, reply: FastifyReply, answer: Answer): FastifyReply {
  reply.header('Referrer-Policy', 'no-referrer');
  if (isProgram(request))
    return problem(reply, 402, 'Payment required', 'Pay the order with a wallet, then ask again.', answer);
  return reply.redirect(answer.statusUrl, request.method === 'GET' || request.method === 'HEAD' ? 302 : 303);
}

function tellRefund(request: FastifyRequest, reply: FastifyReply, { path }: Visit, answer: Answer): FastifyReply {
  if (isProgram(request))
    return problem(reply, 402, 'Given back', 'The money of this order went back; `?again` makes a new one.', answer);
  const body = html`<h1>Your money went back</h1>
<p>What you paid for this was given back, so it is not open to you any more.</p>
<p><a href="${answer.statusUrl}" rel="noreferrer">See the order</a></p>
<p><a href="${path}?${AGAIN}">Buy it again</a></p>`;
  return send(reply, 200, pageOf('Your money went back', body));
}

/** Nobody is let in without an answer, and nobody loses anything by trying again. */
function sendAway(request: FastifyRequest, reply: FastifyReply, { message, retryAfterS }: NoAnswer): FastifyReply {
  request.log.warn({ reason: message }, 'Farebox was asked, and could not tell who may read');
  reply.header('Retry-After', String(retryAfterS));
  if (isProgram(request)) return problem(reply, 503, 'Not available now', 'Try again in a moment.');
  const body = html`<h1>One moment, please</h1>
<p>We cannot see right now whether this is paid. Nothing was charged. Try again in ${retryAfterS} seconds.</p>`;
  return send(reply, 503, pageOf('One moment, please', body));
}

/** RFC 9457. */
function problem(reply: FastifyReply, status: number, title: string, detail: string, answer?: Answer): FastifyReply {
  const order = answer && {
    ...{ order_id: answer.orderId, order_status_url: answer.statusUrl, refunded: answer.refunded },
    ...(answer.payUri === null ? {} : { pay_uri: answer.payUri }),
    ...(answer.expiresAt === null ? {} : { expires_at: new Date(answer.expiresAt * 1000).toISOString() }),
  };
  const body = { type: 'about:blank', title, status, detail, ...order };
  return reply.code(status).type('application/problem+json').send(JSON.stringify(body));
}

const send = (reply: FastifyReply, status: number, page: string): FastifyReply =>
  reply.code(status).header('Content-Security-Policy', POLICY).type('text/html; charset=utf-8').send(page);
