import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import {
  type Challenge,
  ChallengeOut,
  makeChallenge,
  Proof,
  parseDid,
  renderChallenge,
  signaturesOf,
  type VerifierDeps,
  verifyAnswer,
} from '../identity/index.ts';
import { callerOf } from '../platform/http/access.ts';
import { keyOf } from '../platform/http/idempotency.ts';
import { type Cursors, listOf, pageQuery } from '../platform/http/lists.ts';
import { invalidField, Problem } from '../platform/http/problem.ts';
import type { App } from '../platform/http/server.ts';
import { answers, idIn, idParam, line, MAX_AMOUNT } from '../platform/http/wire.ts';
import { toWire } from '../platform/ids.ts';
import type { Vault } from '../platform/secrets.ts';
import { type DriveDeps, driveOn } from './drive.ts';
import { lockPaidRequest } from './of-request.ts';
import { orderRefundRoutes } from './order-routes.ts';
import { findRefund, listRefunds, RefundOut, renderRefund } from './read.ts';
import { refundOfKey, requestRefund } from './request.ts';
import type { Order } from './subjects.ts';

export interface RefundsDeps extends DriveDeps, VerifierDeps {
  vault: Vault;
  cursors: Cursors;
}

const tags = ['refunds'];

const SubjectIn = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('purchase'), id: idIn('purchase') }),
  z.strictObject({
    type: z.literal('payment_request'),
    id: idIn('paymentRequest'),
    part: z
      .enum(['whole', 'excess'])
      .optional()
      .describe('excess: what arrived beyond the amount, or too late; whole: credits that were not used'),
  }),
  z.strictObject({ type: z.literal('run'), id: idIn('run') }),
]);

const RefundIn = z.strictObject({
  subject: SubjectIn,
  amount: z
    .union([
      z.int().min(1).max(MAX_AMOUNT),
      z.string().regex(/^[1-9]\d{0,77}$/, 'must be a positive whole number of base units'),
    ])
    .optional()
    .describe('credits; of an excess base units, as a string. Absent: all that can be given back'),
  target: z
    .enum(['credits', 'original'])
    .optional()
    .describe('an excess becomes credits unless `original` is asked for'),
  reason: line(500),
  proof: z
    .strictObject({ challenge_id: idIn('challenge'), answer: Proof })
    .optional()
    .describe('of a payment request: an answer to a challenge of `POST /v1/refunds/challenges`'),
});

/** Asking for money or credits back, and seeing what becomes of it. */
export function refundsRoutes(app: App, deps: RefundsDeps): void {
  askRoutes(app, deps);
  readRoutes(app, deps);
  orderRefundRoutes(app, deps);
}

function askRoutes(app: App, deps: RefundsDeps): void {
  const { db, vault, publicUrl } = deps;

  app.post(
    '/v1/refunds',
    {
      config: { access: 'refunds:write', rate: 'money', idempotency: 'required' },
      schema: {
        tags,
        summary: 'Ask for something back',
        description:
          'Credits of a purchase that were not used, for their money; what arrived in excess on chain; the credits of a run. ' +
          'Large ones wait for an operator. A refund that could not be made gives back what was set aside for it.',
        body: RefundIn,
        response: answers({ 201: RefundOut }),
      },
    },
    async (request, reply) => {
      const keyed = keyOf(request);
      if (!keyed) throw new Problem('idempotency_key_required');
      const known = await refundOfKey(db, vault, keyed);
      const asked = known
        ? { refundId: known, replayed: true }
        : await requestRefund(deps, keyed, orderOf(request, request.body), await proofOf(deps, request, request.body));
      if (asked.replayed) reply.header('Idempotent-Replayed', 'true');
      await driveOn(deps, asked.refundId);
      const refund = await findRefund(db, asked.refundId);
      if (!refund) throw new Error('a refund that vanished');
      return reply
        .code(201)
        .header('Location', `/v1/refunds/${toWire('refund', refund.id)}`)
        .send(renderRefund(refund));
    },
  );

  app.post(
    '/v1/refunds/challenges',
    {
      config: { access: 'refunds:write', rate: 'auth', idempotency: 'none' },
      schema: {
        tags,
        summary: 'What whoever paid on chain is to sign, to get something back',
        body: z.strictObject({ payment_request_id: idIn('paymentRequest') }),
        response: answers({ 201: ChallengeOut }),
      },
    },
    async (request, reply) => {
      const id = request.body.payment_request_id;
      const { accountId } = callerOf(request);
      const challenge = await db.transaction(async (tx) => {
        const { request: paid } = await lockPaidRequest(tx, accountId, id);
        return makeChallenge(tx, {
          ...{ did: parseDid(paid.payerDid), purpose: 'refund' },
          statement: `Refund of the payment request ${toWire('paymentRequest', id)}, to its account or the wallet that paid.`,
          subject: { type: 'paymentRequest', id, termsHash: paid.termsHash },
        });
      });
      return reply.code(201).send(renderChallenge(challenge, publicUrl));
    },
  );
}

function orderOf(request: FastifyRequest, body: z.infer<typeof RefundIn>): Order & { reason: string } {
  const { subject, amount, target, reason } = body;
  const part = 'part' in subject ? (subject.part ?? null) : null;
  const isUnits = typeof amount === 'string';
  if (amount !== undefined && isUnits !== (part === 'excess'))
    throw invalidField(
      '/amount',
      'must be base units as a string with the part `excess`, and credits as a number else',
    );
  return {
    accountId: callerOf(request).accountId,
    subject: { type: subject.type, id: subject.id, part },
    amount: amount === undefined ? null : BigInt(amount),
    target: target ?? null,
    reason,
  };
}

/** The answered challenge of whoever paid on chain; nobody else needs one, or may send one. */
async function proofOf(
  deps: RefundsDeps,
  request: FastifyRequest,
  { subject, proof }: z.infer<typeof RefundIn>,
): Promise<Challenge | null> {
  if (subject.type !== 'payment_request') {
    if (proof) throw invalidField('/proof', 'is only for payment requests');
    return null;
  }
  const { accountId } = callerOf(request);
  await deps.db.transaction((tx) => lockPaidRequest(tx, accountId, subject.id));
  if (!proof) throw invalidField('/proof', 'is needed for a payment request');
  const wanted = { challengeId: proof.challenge_id, purpose: 'refund', subjectId: subject.id } as const;
  return verifyAnswer(deps, wanted, signaturesOf(proof.answer), request.id);
}

function readRoutes(app: App, { db, cursors }: RefundsDeps): void {
  app.get(
    '/v1/refunds',
    {
      config: { access: 'read', rate: 'read' },
      schema: {
        tags,
        summary: 'Own refunds',
        querystring: z.strictObject({ ...pageQuery, status: RefundOut.shape.status.optional() }),
        response: answers({ 200: listOf(RefundOut) }),
      },
    },
    async (request) => {
      const { accountId } = callerOf(request);
      const { status: state, limit } = request.query;
      const list = `refunds ${state ?? ''}`;
      const after = cursors.read(list, accountId, request.query);
      const rows = await listRefunds(db, { accountId, state }, after, limit + 1);
      return cursors.page(list, accountId, request.query, rows, ({ id }) => id, renderRefund);
    },
  );

  app.get(
    '/v1/refunds/:id',
    {
      config: { access: 'read', rate: 'read' },
      schema: { tags, summary: 'One refund', params: idParam('refund'), response: answers({ 200: RefundOut }) },
    },
    async (request) => {
      const refund = await findRefund(db, request.params.id, callerOf(request).accountId);
      if (!refund) throw new Problem('not_found');
      return renderRefund(refund);
    },
  );
}
