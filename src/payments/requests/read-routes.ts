import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { ServiceDid, VerifierDeps } from '../../identity/index.ts';
import { callerOf } from '../../platform/http/access.ts';
import { type Cursors, listOf, pageQuery } from '../../platform/http/lists.ts';
import { Problem } from '../../platform/http/problem.ts';
import type { App } from '../../platform/http/server.ts';
import { answers, idParam } from '../../platform/http/wire.ts';
import type { Vault } from '../../platform/secrets.ts';
import type { EvmRail } from '../rails/evm/evm.ts';
import { findRequest, listRequests, PaymentRequestOut, type RequestView, renderRequest } from './read.ts';
import { ReceiptOut, receiptOf } from './receipt.ts';

export interface RequestDeps extends VerifierDeps {
  evm: EvmRail;
  vault: Vault;
  cursors: Cursors;
  serviceDid: ServiceDid;
  /** A transaction was submitted. */
  wakeChecker(): void;
}

export const tags = ['payment requests'];
export const params = idParam('paymentRequest');

/** A request of the merchant who made it, or of the payer; a 404 for everybody else. */
export async function own({ db }: RequestDeps, request: FastifyRequest, id: string): Promise<RequestView> {
  const view = await findRequest(db, callerOf(request).accountId, id);
  if (!view) throw new Problem('not_found');
  return view;
}

/** What both see of payment requests. */
export function readRoutes(app: App, deps: RequestDeps): void {
  const { db, cursors, publicUrl } = deps;
  const render = (view: RequestView) => renderRequest(view, publicUrl);

  app.get(
    '/v1/payment-requests',
    {
      config: { access: 'read', rate: 'read' },
      schema: {
        tags,
        summary: 'Requests that the account has made, or is asked to pay',
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

  app.get(
    '/v1/payment-requests/:id/receipt',
    {
      config: { access: 'read', rate: 'read' },
      schema: {
        tags,
        summary: 'The receipt of a request that is completed, signed by our DID',
        params,
        response: answers({ 200: ReceiptOut }),
      },
    },
    async (request) => receiptOf(deps, (await own(deps, request, request.params.id)).request),
  );
}
