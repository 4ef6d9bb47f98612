import { asc, eq } from 'drizzle-orm';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { callerOf } from '../platform/http/access.ts';
import { once } from '../platform/http/idempotency.ts';
import { listOf, pageQuery } from '../platform/http/lists.ts';
import { Problem } from '../platform/http/problem.ts';
import type { App } from '../platform/http/server.ts';
import { answers, idIn, idOut, idParam, line, time, timeOut } from '../platform/http/wire.ts';
import { toWire } from '../platform/ids.ts';
import { approve, type Decision, type Payout, recordPayout, reject } from './decide.ts';
import { driveOn } from './drive.ts';
import { type Refund, trailOf } from './history.ts';
import { findRefund, listRefunds, RefundOut, renderRefund } from './read.ts';
import type { RefundsDeps } from './routes.ts';
import { attempts } from './tables.ts';

const tags = ['operator'];
const params = idParam('refund');

const OperatorRefundOut = RefundOut.extend({
  account_id: idOut('account'),
  decided_by: idOut('account').nullable(),
}).meta({ id: 'OperatorRefund' });

const TrailOut = OperatorRefundOut.extend({
  attempts: z.array(
    z.object({
      number: z.int(),
      target: z.string().describe('the charge, or the transaction'),
      outcome: z.string(),
      detail: z.string().nullable(),
      started_at: timeOut,
    }),
  ),
  history: z.array(
    z.object({ at: timeOut, actor: z.string(), what: z.string(), detail: z.record(z.string(), z.unknown()) }),
  ),
}).meta({ id: 'RefundTrail' });

const render = (refund: Refund): z.infer<typeof OperatorRefundOut> => ({
  ...renderRefund(refund),
  account_id: toWire('account', refund.accountId),
  decided_by: refund.decidedBy === null ? null : toWire('account', refund.decidedBy),
});

/** Accounts by the id that the API knows them by. */
const actorOut = (actor: string) => actor.replace(/(?<=^account:).+/, (id) => toWire('account', id));

/** Refunds, as operators see and decide them. Internal listener only. */
export function refundsOperatorRoutes(app: App, deps: RefundsDeps): void {
  lookRoutes(app, deps);
  decideRoutes(app, deps);
}

function lookRoutes(app: App, { db, cursors }: RefundsDeps): void {
  app.get(
    '/v1/admin/refunds',
    {
      config: { access: 'operator', rate: 'read' },
      schema: {
        tags,
        summary: 'All refunds; those of status `awaiting_approval` wait for a decision, `reserved` ones for a payout',
        querystring: z.strictObject({
          ...pageQuery,
          account_id: idIn('account').optional(),
          status: RefundOut.shape.status.optional(),
        }),
        response: answers({ 200: listOf(OperatorRefundOut) }),
      },
    },
    async (request) => {
      const { account_id: accountId, status: state, limit } = request.query;
      const list = `refunds ${accountId ?? ''} ${state ?? ''}`;
      const after = cursors.read(list, 'operator', request.query);
      const rows = await listRefunds(db, { accountId, state }, after, limit + 1);
      return cursors.page(list, 'operator', request.query, rows, ({ id }) => id, render);
    },
  );

  app.get(
    '/v1/admin/refunds/:id',
    {
      config: { access: 'operator', rate: 'read' },
      schema: {
        tags,
        summary: 'One refund, with its attempts and its whole history',
        params,
        response: answers({ 200: TrailOut }),
      },
    },
    async (request) => {
      const refund = await findRefund(db, request.params.id);
      if (!refund) throw new Problem('not_found');
      const tries = await db
        .select()
        .from(attempts)
        .where(eq(attempts.refundId, refund.id))
        .orderBy(asc(attempts.number));
      const steps = await trailOf(db, refund.id);
      return {
        ...render(refund),
        attempts: tries.map((one) => ({
          ...{ number: one.number, target: one.target, outcome: one.outcome, detail: one.detail },
          started_at: time(one.startedAt),
        })),
        history: steps.map((step) => ({
          ...{ at: time(step.at), actor: actorOut(step.actor), what: step.what },
          detail: step.detail as Record<string, unknown>,
        })),
      };
    },
  );
}

function decideRoutes(app: App, deps: RefundsDeps): void {
  const { db, limits } = deps;
  const byOf = (request: FastifyRequest): Decision => ({
    operatorId: callerOf(request).accountId,
    requestId: request.id,
  });
  const known = async (id: string) => {
    if (!(await findRefund(db, id))) throw new Problem('not_found');
  };

  app.post(
    '/v1/admin/refunds/:id/approve',
    {
      config: { access: 'operator', rate: 'money', idempotency: 'required' },
      schema: {
        tags,
        summary: 'Let a refund take its way; never one of your own',
        params,
        body: z.strictObject({ reason: line(500) }),
        response: answers({ 200: OperatorRefundOut }),
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      await known(id);
      const by = { ...byOf(request), reason: request.body.reason };
      const body = await once(deps, request, reply, async (tx) => ({
        status: 200,
        body: render(await approve(tx, limits, id, by)),
      }));
      await driveOn(deps, id);
      return body;
    },
  );

  app.post(
    '/v1/admin/refunds/:id/reject',
    {
      config: { access: 'operator', rate: 'money', idempotency: 'required' },
      schema: {
        tags,
        summary: 'Refuse a refund, or give up one that waits for a payout',
        params,
        body: z.strictObject({ reason: line(500) }),
        response: answers({ 200: OperatorRefundOut }),
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      await known(id);
      const by = { ...byOf(request), reason: request.body.reason };
      return once(deps, request, reply, async (tx) => ({ status: 200, body: render(await reject(tx, id, by)) }));
    },
  );

  app.post(
    '/v1/admin/refunds/:id/payouts',
    {
      config: { access: 'operator', rate: 'money', idempotency: 'required' },
      schema: {
        tags,
        summary: 'Tell how a refund was paid: by which bank transfer, or by which transaction',
        description: 'A transaction is looked at in the chain: asset, amount, recipient and finality must be right.',
        params,
        body: PayoutIn,
        response: answers({ 202: OperatorRefundOut }),
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      await known(id);
      const payout = payoutOf(request.body);
      const body = await once(deps, request, reply, async (tx) => ({
        status: 202,
        body: render(await recordPayout(tx, limits, id, payout, byOf(request))),
      }));
      await driveOn(deps, id);
      return body;
    },
  );
}

const PayoutIn = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('bank_transfer'), reference: line(100) }),
  z.strictObject({
    type: z.literal('transaction'),
    tx_hash: z
      .string()
      .regex(/^0x[0-9a-fA-F]{64}$/, 'must be 0x and 64 hex digits')
      .transform((hash) => hash.toLowerCase()),
  }),
]);

const payoutOf = (payout: z.infer<typeof PayoutIn>): Payout =>
  payout.type === 'bank_transfer' ? payout : { type: 'transaction', txHash: payout.tx_hash };
