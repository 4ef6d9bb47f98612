import { z } from 'zod';
import type { ServiceDid } from '../../identity/index.ts';
import type { Db } from '../../platform/database/clients.ts';
import type { Feed } from '../../platform/delivery/feed.ts';
import { callerOf } from '../../platform/http/access.ts';
import { Problem } from '../../platform/http/problem.ts';
import type { App } from '../../platform/http/server.ts';
import { answers, JsonObject, line } from '../../platform/http/wire.ts';
import type { Vault } from '../../platform/secrets.ts';
import { payUriOf, statusUrl } from './addresses.ts';
import { seconds } from './claim.ts';
import { createOrder, openOrderFor } from './create.ts';
import { type Bounds, Moment, OrderIn, orderParams, proposalOf, Span, sessionId, Terms } from './proposal.ts';
import {
  boughtBefore,
  claimTokenOf,
  findOpenTo,
  findOwnOrder,
  isProven,
  isRevoked,
  type SeenOrder,
  wasProven,
} from './read.ts';
import { moveSession } from './sessions.ts';
import { CODE_PARAMETER, createVisitors } from './visitors.ts';
import { untilChanged } from './wait.ts';

export interface OrderDeps extends Bounds {
  db: Db;
  vault: Vault;
  feed: Feed;
  serviceDid: ServiceDid;
  publicUrl: string;
}

const tags = ['orders'];
const MAX_WAIT_MS = 60_000;
const waitQuery = z
  .string()
  .regex(/^\d{1,5}$/, 'must be a whole number')
  .transform(Number)
  .pipe(z.number().max(MAX_WAIT_MS, `must be at most ${MAX_WAIT_MS}`))
  .optional()
  .describe('milliseconds to wait for something new');

const UnpaidOut = z.object({
  order_status: z.literal('unpaid'),
  taler_pay_uri: z.string().describe('opens a wallet; its scheme is farebox'),
  order_status_url: z.string(),
  already_paid_order_id: z.string().optional(),
  already_paid_fulfillment_url: z.string().optional(),
  creation_time: Moment,
  pay_deadline: Moment,
  summary: z.string(),
  total_amount: z.string(),
});
const ClaimedOut = z.object({
  order_status: z
    .literal('claimed')
    .describe('also of one that is paid, but not open to the session that was asked about'),
  contract_terms: JsonObject,
  order_status_url: z.string(),
});
const PaidOut = z.object({
  order_status: z.literal('paid'),
  refunded: z.boolean(),
  refund_pending: z.boolean(),
  refund_amount: z.string(),
  refund_details: z.array(JsonObject),
  wired: z.boolean(),
  deposit_total: z.string(),
  contract_terms: JsonObject,
  order_status_url: z.string(),
});
const StatusOut = z.union([UnpaidOut, ClaimedOut, PaidOut]);

const EntitlementOut = z
  .object({
    entitled: z.boolean(),
    order_id: z.string().describe('the order that opens it, or that would'),
    version: z.int().describe('changes with everything that changes who may read it'),
    refunded: z.boolean(),
    order_status_url: z.string(),
    taler_pay_uri: z.string().nullable(),
    expires_at: Moment.nullable(),
  })
  .meta({ id: 'Entitlement' });

/** What a shop calls, with its API key: orders, and whether a browser session may read. */
export function shopRoutes(app: App, deps: OrderDeps): void {
  const { db, vault, feed, publicUrl } = deps;
  const key = vault.derive('order-claims');
  const visitors = createVisitors(deps);
  const targetOf = (order: SeenOrder, session: string | null) => ({
    ...{ orderId: order.orderId, sessionId: session },
    ...{ token: claimTokenOf(key, order), hContract: order.hContract },
  });

  /** What makes no sense, or comes a second time, changes nothing. */
  const redeem = async (code: string, shop: { merchantId: string; resource: string; session: string }) => {
    const told = visitors.readCode(code);
    const order = told && (await findOwnOrder(db, shop.merchantId, told.orderId));
    if (!told || order?.resource !== shop.resource) return;
    await db.transaction((tx) => moveSession(tx, order.id, { from: told.sessionId, to: shop.session }));
  };

  app.post(
    '/private/orders',
    {
      config: { access: 'orders:write', rate: 'money', idempotency: 'accepted' },
      schema: {
        tags,
        summary: 'Make an order',
        description:
          'With an `order_id` the same again finds the order. The reply has no address: that is of a session.',
        body: z.strictObject({
          order: OrderIn,
          refund_delay: Span.optional(),
          session_id: sessionId.optional(),
          create_token: z.boolean().default(true),
        }),
        response: answers({ 200: z.object({ order_id: z.string(), token: z.string().optional() }) }),
      },
    },
    async (request) => {
      const { order, session_id, create_token, refund_delay } = request.body;
      const merchantId = requireShop(request);
      const proposal = proposalOf(deps, merchantId, order, { session_id, create_token, refund_delay });
      const made = await db.transaction((tx) => createOrder(tx, proposal));
      const token = claimTokenOf(key, made.order);
      return { order_id: made.order.orderId, ...(token === null ? {} : { token }) };
    },
  );

  app.get(
    '/private/orders/:id',
    {
      config: { access: 'read', rate: 'read' },
      handlerTimeout: MAX_WAIT_MS + 10_000,
      schema: {
        tags,
        summary: 'Where an order stands, for a browser session when one is named',
        params: orderParams,
        querystring: z.strictObject({ session_id: sessionId.optional(), timeout_ms: waitQuery }),
        response: answers({ 200: StatusOut }),
      },
    },
    async (request) => {
      const merchantId = requireShop(request);
      const { session_id: session, timeout_ms: waitMs = 0 } = request.query;
      const find = async () => {
        const order = await findOwnOrder(db, merchantId, request.params.id);
        if (!order) throw new Problem('not_found');
        const isOpen = order.state === 'paid' && (session === undefined || (await isProven(db, order, session)));
        return { order, isOpen };
      };
      const { order, isOpen } = await untilChanged(feed, request.raw, waitMs, find, (seen) => !seen.isOpen);
      const target = targetOf(order, session ?? null);
      const order_status_url = statusUrl(publicUrl, target);
      if (order.state === 'unpaid') {
        const before = await boughtBefore(db, order, session ?? null);
        return {
          ...{ order_status: 'unpaid' as const, taler_pay_uri: payUriOf(publicUrl, target), order_status_url },
          ...(before ? { already_paid_order_id: before.orderId } : {}),
          ...(before?.fulfillmentUrl ? { already_paid_fulfillment_url: before.fulfillmentUrl } : {}),
          ...{ creation_time: seconds(order.createdAt), pay_deadline: seconds(order.payDeadline) },
          ...{ summary: order.summary, total_amount: `CREDITS:${order.price}` },
        };
      }
      const contract_terms = JSON.parse(order.contract ?? '{}') as Record<string, unknown>;
      if (!isOpen && !isRevoked(order)) return { order_status: 'claimed' as const, contract_terms, order_status_url };
      return {
        ...{ order_status: 'paid' as const, refunded: isRevoked(order) },
        refund_pending: order.refundCredits > order.refundedCredits,
        ...{ refund_amount: `CREDITS:${order.refundedCredits}`, refund_details: [], wired: false },
        ...{ deposit_total: `CREDITS:${order.price}`, contract_terms, order_status_url },
      };
    },
  );

  app.post(
    '/private/entitlements/check',
    {
      config: { access: 'orders:write', rate: 'money', idempotency: 'accepted' },
      schema: {
        tags,
        summary: 'May this session read this resource? Else: the order that would open it',
        description: 'One round trip for a shop. The same session and resource again get the same open order.',
        body: z.strictObject({
          session_id: sessionId,
          resource: line(200),
          order: z.strictObject(Terms).omit({ resource: true }),
          order_id: z
            .string()
            .max(100)
            .optional()
            .describe('a hint from a link or a cookie; it opens nothing by itself'),
          code: z
            .string()
            .max(400)
            .optional()
            .describe(`\`${CODE_PARAMETER}\` of an address that this browser was led to; good once`),
          again: z
            .boolean()
            .default(false)
            .describe('a new order, also where one is open that somebody else has taken'),
        }),
        response: answers({ 200: EntitlementOut }),
      },
    },
    async (request) => {
      const merchantId = requireShop(request);
      const { session_id: session, resource, order: terms, order_id: hint, code, again } = request.body;
      const render = (order: SeenOrder, entitled: boolean) => {
        const target = targetOf(order, session);
        return {
          ...{ entitled, order_id: order.orderId, version: order.version, refunded: isRevoked(order) },
          order_status_url: statusUrl(publicUrl, target),
          taler_pay_uri: entitled || order.state === 'paid' ? null : payUriOf(publicUrl, target),
          expires_at: order.state === 'paid' ? null : seconds(order.payDeadline),
        };
      };
      if (code !== undefined) await redeem(code, { merchantId, resource, session });
      const open = await findOpenTo(db, session, { merchantId, resource });
      if (open) return render({ ...open, isExpired: false }, true);
      const hinted = hint === undefined ? undefined : await findOwnOrder(db, merchantId, hint);
      // An order pays for its own resource only, whatever address it stands in.
      if (hinted?.resource === resource && hinted.state === 'paid') {
        if (isRevoked(hinted) && (await wasProven(db, hinted, session))) return render(hinted, false);
      }
      const proposal = proposalOf(
        deps,
        merchantId,
        { ...terms, resource },
        { session_id: session, create_token: true },
      );
      const isStillGood = (order: SeenOrder) => !order.isExpired && !(again && order.state === 'claimed');
      return render(
        await db.transaction((tx) => openOrderFor(tx, { ...proposal, sessionId: session }, isStillGood)),
        false,
      );
    },
  );
}

function requireShop(request: Parameters<typeof callerOf>[0]): string {
  const { accountId, role } = callerOf(request);
  if (role === 'user') throw new Problem('forbidden');
  return accountId;
}
