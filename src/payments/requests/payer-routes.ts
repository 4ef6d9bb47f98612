import { z } from 'zod';
import { ChallengeOut, consumeChallenge, Proof, renderChallenge } from '../../identity/index.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { callerOf } from '../../platform/http/access.ts';
import { Problem } from '../../platform/http/problem.ts';
import type { App } from '../../platform/http/server.ts';
import { answers, idIn } from '../../platform/http/wire.ts';
import { toWire } from '../../platform/ids.ts';
import { askPayer, authorize } from './authorize.ts';
import { provePayer } from './prove.ts';
import { findAnyRequest, findAnyView, PaymentRequestOut, renderRequest } from './read.ts';
import { own, params, type RequestDeps, tags } from './read-routes.ts';
import { submitTransaction } from './submit.ts';

const Answer = z.strictObject({ challenge_id: idIn('challenge'), proof: Proof });

/** What a payer does: agree, pay, and ask how it stands. */
export function payerRoutes(app: App, deps: RequestDeps): void {
  const { db, publicUrl } = deps;

  app.post(
    '/v1/payment-requests/:id/challenges',
    {
      config: { access: 'anyone', rate: 'auth', idempotency: 'none' },
      schema: {
        tags,
        summary: 'What the payer is to sign: to agree to the terms, or to be shown how it stands',
        params,
        body: z.strictObject({ purpose: z.enum(['payment', 'status']).default('payment') }).nullish(),
        response: answers({ 201: ChallengeOut }),
      },
    },
    async (request, reply) => {
      const asked = await findAnyRequest(db, request.params.id);
      if (!asked) throw new Problem('not_found');
      return reply
        .code(201)
        .send(renderChallenge(await askPayer(db, asked, request.body?.purpose ?? 'payment'), publicUrl));
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
        body: Answer,
        response: answers({ 200: PaymentRequestOut }),
      },
    },
    async (request) => {
      const { id } = request.params;
      const challenge = await provePayer(deps, { requestId: id, purpose: 'payment' }, request.body, request.id);
      const authorized = await db.transaction((tx) => authorize(tx, id, challenge, request.id));
      await failpoint('payments.request.after_authorize');
      return renderRequest({ request: authorized, transactions: [] }, publicUrl);
    },
  );

  app.post(
    '/v1/payment-requests/:id/status',
    {
      config: { access: 'anyone', rate: 'auth', idempotency: 'none' },
      schema: {
        tags,
        summary: 'How it stands, for the holder of the DID, by an answer to a challenge of purpose `status`',
        params,
        body: Answer,
        response: answers({ 200: PaymentRequestOut }),
      },
    },
    async (request) => {
      const { id } = request.params;
      const challenge = await provePayer(deps, { requestId: id, purpose: 'status' }, request.body, request.id);
      await db.transaction((tx) => consumeChallenge(tx, challenge));
      const view = await findAnyView(db, id);
      if (!view) throw new Problem('not_found');
      return renderRequest(view, publicUrl);
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
      await failpoint('payments.request.after_submit');
      deps.wakeChecker();
      const view = await own(deps, request, request.params.id);
      reply.code(202).header('Location', `/v1/payment-requests/${toWire('paymentRequest', request.params.id)}`);
      return renderRequest(view, publicUrl);
    },
  );
}
