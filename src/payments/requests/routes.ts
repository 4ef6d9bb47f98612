import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import {
  ChallengeOut,
  Proof,
  parseDid,
  renderChallenge,
  signaturesOf,
  type VerifierDeps,
  verifyAnswer,
} from '../../identity/index.ts';
import { callerOf } from '../../platform/http/access.ts';
import { once } from '../../platform/http/idempotency.ts';
import { type Cursors, listOf, pageQuery } from '../../platform/http/lists.ts';
import { Problem } from '../../platform/http/problem.ts';
import type { App } from '../../platform/http/server.ts';
import { amountIn, answers, idIn, idParam, line } from '../../platform/http/wire.ts';
import { toWire } from '../../platform/ids.ts';
import type { Vault } from '../../platform/secrets.ts';
import type { EvmRail } from '../rails/evm/evm.ts';
import { askPayer, authorize } from './authorize.ts';
import { cancelRequest } from './cancel.ts';
import { chainTerms, createRequest } from './create.ts';
import {
  findAnyRequest,
  findRequest,
  listRequests,
  PaymentRequestOut,
  type RequestView,
  renderRequest,
} from './read.ts';
import { submitTransaction } from './submit.ts';

export interface RequestDeps extends VerifierDeps {
  evm: EvmRail;
  vault: Vault;
  cursors: Cursors;
  /** A transaction was submitted. */
  wakeChecker(): void;
}

const tags = ['payment requests'];
const params = idParam('paymentRequest');
const MAX_EXPIRY_S = 2_592_000;
const DEFAULT_EXPIRY_S = 3_600;

const Purpose = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('credits'), credits: amountIn }),
  z.strictObject({ type: z.literal('invoice'), reference: line(100) }),
]);

/** Payment requests: made by a merchant, agreed to by the holder of a DID, paid on chain. */
export function requestRoutes(app: App, deps: RequestDeps): void {
  merchantRoutes(app, deps);
  readRoutes(app, deps);
  payerRoutes(app, deps);
}

function merchantRoutes(app: App, deps: RequestDeps): void {
  const { db, evm, publicUrl } = deps;

  app.post(
    '/v1/payment-requests',
    {
      config: { access: 'payment_requests:write', rate: 'money', idempotency: 'required' },
      schema: {
        tags,
        summary: 'Ask the holder of a DID for an amount of an asset',
        body: z.strictObject({
          payer: z.string().min(1).max(1000).describe('DID'),
          asset: z.string().max(100).describe('CAIP-19'),
          amount: z.string().max(78).describe('base units, a decimal string'),
          purpose: Purpose,
          description: line(200),
          expires_in_s: z.int().min(60).max(MAX_EXPIRY_S).default(DEFAULT_EXPIRY_S),
        }),
        response: answers({ 201: PaymentRequestOut }),
      },
    },
    async (request, reply) => {
      const { accountId, role } = callerOf(request);
      if (role === 'user') throw new Problem('forbidden');
      const { payer, asset, amount, purpose, description, expires_in_s: expiresInS } = request.body;
      const order = {
        merchantId: accountId,
        payerDid: parseDid(payer).did,
        asset,
        amount,
        purpose,
        description,
        expiresInS,
      };
      const terms = await chainTerms(evm, order);
      return once(deps, request, reply, async (tx) => {
        const made = await createRequest(tx, deps, order, terms);
        const body = renderRequest({ request: made, transactions: [] }, publicUrl);
        return { status: 201, body, headers: { location: `/v1/payment-requests/${body.id}` } };
      });
    },
  );

  app.post(
    '/v1/payment-requests/:id/cancel',
    {
      config: { access: 'payment_requests:write', rate: 'money', idempotency: 'accepted' },
      schema: {
        tags,
        summary: 'Withdraw a request; what arrives afterwards in time still counts',
        params,
        response: answers({ 200: PaymentRequestOut }),
      },
    },
    async (request) => {
      const { accountId } = callerOf(request);
      await db.transaction((tx) => cancelRequest(tx, request.params.id, accountId));
      return renderRequest(await own(deps, request, request.params.id), publicUrl);
    },
  );
}

/** Of the merchant who made it, or of the payer who has agreed to it. */
async function own({ db }: RequestDeps, request: FastifyRequest, id: string): Promise<RequestView> {
  const view = await findRequest(db, callerOf(request).accountId, id);
  if (!view) throw new Problem('not_found');
  return view;
}

function readRoutes(app: App, deps: RequestDeps): void {
  const { db, cursors, publicUrl } = deps;
  const render = (view: RequestView) => renderRequest(view, publicUrl);

  app.get(
    '/v1/payment-requests',
    {
      config: { access: 'read', rate: 'read' },
      schema: {
        tags,
        summary: 'Requests that the account has made, or has agreed to pay',
        querystring: z.strictObject({ ...pageQuery, as: z.enum(['merchant', 'payer']).default('merchant') }),
        response: answers({ 200: listOf(PaymentRequestOut) }),
      },
    },
    async (request) => {
      const { accountId } = callerOf(request);
      const { as, limit } = request.query;
      const list = `payment requests ${as}`;
      const after = cursors.read(list, accountId, request.query);
      const rows = await listRequests(db, accountId, as, after, limit + 1);
      return cursors.page(list, accountId, request.query, rows, (view) => view.request.id, render);
    },
  );

  app.get(
    '/v1/payment-requests/:id',
    {
      config: { access: 'read', rate: 'read' },
      schema: { tags, summary: 'One request', params, response: answers({ 200: PaymentRequestOut }) },
    },
    async (request) => render(await own(deps, request, request.params.id)),
  );
}

function payerRoutes(app: App, deps: RequestDeps): void {
  const { db, publicUrl } = deps;

  app.post(
    '/v1/payment-requests/:id/challenges',
    {
      config: { access: 'anyone', rate: 'auth', idempotency: 'none' },
      schema: {
        tags,
        summary: 'What the payer is to sign, to agree to the terms',
        params,
        response: answers({ 201: ChallengeOut }),
      },
    },
    async (request, reply) => {
      const asked = await findAnyRequest(db, request.params.id);
      if (!asked) throw new Problem('not_found');
      return reply.code(201).send(renderChallenge(await askPayer(db, asked), publicUrl));
    },
  );

  app.post(
    '/v1/payment-requests/:id/authorizations',
    {
      config: { access: 'anyone', rate: 'auth', idempotency: 'none' },
      schema: {
        tags,
        summary: 'Agree to the terms, by an answer to such a challenge',
        description: 'A wrong answer leaves the request as it is; the fifth voids the challenge.',
        params,
        body: z.strictObject({ challenge_id: idIn('challenge'), proof: Proof }),
        response: answers({ 200: PaymentRequestOut }),
      },
    },
    async (request) => {
      const { challenge_id: challengeId, proof } = request.body;
      const { id } = request.params;
      const wanted = { challengeId, purpose: 'payment', subjectId: id } as const;
      const challenge = await verifyAnswer(deps, wanted, signaturesOf(proof), request.id);
      const authorized = await db.transaction((tx) => authorize(tx, id, challenge));
      return renderRequest({ request: authorized, transactions: [] }, publicUrl);
    },
  );

  app.post(
    '/v1/payment-requests/:id/transactions',
    {
      config: { access: 'purchases:write', rate: 'money', idempotency: 'accepted' },
      schema: {
        tags,
        summary: 'Say by which transaction it was paid',
        description: 'The chain decides what it is worth. The same hash again changes nothing.',
        params,
        body: z.strictObject({
          tx_hash: z
            .string()
            .regex(/^0x[0-9a-fA-F]{64}$/, 'must be 0x and 64 hex digits')
            .transform((hash) => hash.toLowerCase()),
        }),
        response: answers({ 202: PaymentRequestOut }),
      },
    },
    async (request, reply) => {
      const { accountId } = callerOf(request);
      await own(deps, request, request.params.id);
      await db.transaction((tx) => submitTransaction(tx, request.params.id, accountId, request.body.tx_hash));
      deps.wakeChecker();
      const view = await own(deps, request, request.params.id);
      reply.code(202).header('Location', `/v1/payment-requests/${toWire('paymentRequest', request.params.id)}`);
      return renderRequest(view, publicUrl);
    },
  );
}
