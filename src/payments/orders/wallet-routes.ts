import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import {
  type Authenticator,
  accountIdOf,
  ChallengeOut,
  Proof,
  renderChallenge,
  signaturesOf,
  type VerifierDeps,
  verifyAnswer,
} from '../../identity/index.ts';
import { Problem } from '../../platform/http/problem.ts';
import type { App } from '../../platform/http/server.ts';
import { answers, idIn, idOut, JsonObject, Nothing, time, timeOut } from '../../platform/http/wire.ts';
import { toWire } from '../../platform/ids.ts';
import type { StartDeps } from '../purchases/start.ts';
import { chainTerms } from '../requests/create.ts';
import { findRequestByToken } from '../requests/read.ts';
import { askWallet, claimOrder, type Deed, signContract, signPaid, unclaimOrder } from './claim.ts';
import { openPayment, payWithCredits } from './pay.ts';
import { orderParams, sessionId } from './proposal.ts';
import { findOrder, isRevoked, isSameText, paidByWallet, type SeenOrder, shownOf } from './read.ts';
import { proveOrder } from './sessions.ts';
import type { OrderDeps } from './shop-routes.ts';

export type WalletDeps = OrderDeps & VerifierDeps & StartDeps & { authenticator: Authenticator };

const tags = ['orders'];
const nonce = z.string().regex(/^[A-Za-z0-9_-]{16,128}$/, 'must be 16 to 128 letters, digits, hyphens or underscores');
const hContract = z.string().max(128).describe('hash of the contract terms, from the claim');
const token = z.string().max(64).optional().describe('claim token, from the pay URI');
const did = z.string().min(1).max(1000).describe("the wallet's DID; a fresh did:key for each order is fine");
const rail = z.enum(['credits', 'omise', 'evm']);
const answer = { challenge_id: idIn('challenge'), proof: Proof };

const Wish = z.discriminatedUnion('action', [
  z.strictObject({ action: z.literal('claim'), did, nonce, token }),
  z.strictObject({ action: z.literal('unclaim'), h_contract: hContract }),
  z.strictObject({ action: z.literal('pay'), h_contract: hContract, session_id: sessionId.nullable(), rail }),
  z.strictObject({ action: z.literal('prove'), h_contract: hContract, session_id: sessionId }),
]);

/**
 * What a wallet calls. Each deed is signed by the wallet's DID: first a challenge for exactly that deed, then the answer.
 * Whoever has only seen a page of the order can do none of it.
 */
export function walletRoutes(app: App, deps: WalletDeps): void {
  const { db, vault, serviceDid, publicUrl } = deps;
  const key = vault.derive('order-claims');
  const find = async (id: string): Promise<SeenOrder> => {
    const order = await findOrder(db, id);
    if (!order) throw new Problem('not_found');
    return order;
  };
  /** An order that is not shown is not there. */
  const findClaimable = async (id: string, told: string | undefined): Promise<SeenOrder> => {
    const order = await find(id);
    if (shownOf(key, order, { token: told, hContract: undefined }).token !== 'right') throw new Problem('not_found');
    return order;
  };
  const findAgreed = async (id: string, told: string): Promise<SeenOrder> => {
    const order = await find(id);
    if (order.hContract === null || !isSameText(told, order.hContract))
      throw new Problem('forbidden', 'The hash is not that of the contract.');
    return order;
  };
  const verify = (
    request: FastifyRequest,
    order: SeenOrder,
    told: { challenge_id: string; proof: z.infer<typeof Proof> },
  ) =>
    verifyAnswer(
      deps,
      { challengeId: told.challenge_id, purpose: 'order', subjectId: order.id },
      signaturesOf(told.proof),
      request.id,
    );

  refundRoute(app, findAgreed);

  app.post(
    '/orders/:id/challenges',
    {
      config: { access: 'anyone', rate: 'money', idempotency: 'accepted' },
      schema: {
        tags,
        summary: 'Ask for what the wallet is to sign: to claim, pay, prove or give up an order',
        params: orderParams,
        body: Wish,
        response: answers({ 201: ChallengeOut }),
      },
    },
    async (request, reply) => {
      const wish = request.body;
      const order =
        wish.action === 'claim'
          ? await findClaimable(request.params.id, wish.token)
          : await findAgreed(request.params.id, wish.h_contract);
      const holder = wish.action === 'claim' ? wish.did : (order.claimDid ?? '');
      const challenge = await askWallet(db, order, holder, deedOf(wish));
      return reply.code(201).send(renderChallenge(challenge, publicUrl));
    },
  );

  app.post(
    '/orders/:id/claim',
    {
      config: { access: 'anyone', rate: 'money', idempotency: 'none' },
      schema: {
        tags,
        summary: 'Take an order: freezes what is agreed to. The same wallet and nonce again get the same',
        params: orderParams,
        body: z.strictObject({ did, nonce, token, ...answer }),
        response: answers({
          200: z.object({
            contract_terms: JsonObject,
            h_contract: z.string(),
            sig: z.string().describe('our signature over the hash, a JWS by our DID'),
            already_paid_order_id: z
              .string()
              .optional()
              .describe('this wallet has paid for the same address: prove that one'),
            already_paid_h_contract: z.string().optional(),
          }),
        }),
      },
    },
    async (request) => {
      const order = await findClaimable(request.params.id, request.body.token);
      const challenge = await verify(request, order, request.body);
      const wanted = { orderUuid: order.id, nonce: request.body.nonce };
      const claimed = await db.transaction((tx) => claimOrder(tx, publicUrl, wanted, challenge));
      const before = claimed.state === 'paid' ? undefined : await paidByWallet(db, claimed, challenge.did);
      return {
        contract_terms: JSON.parse(claimed.contract ?? '{}') as Record<string, unknown>,
        ...{ h_contract: claimed.hContract ?? '', sig: await signContract(serviceDid, claimed) },
        ...(before ? { already_paid_order_id: before.orderId, already_paid_h_contract: before.hContract ?? '' } : {}),
      };
    },
  );

  app.post(
    '/orders/:id/unclaim',
    {
      config: { access: 'anyone', rate: 'money', idempotency: 'accepted' },
      schema: {
        tags,
        summary: 'Give an order up that is not paid, so that another wallet can take it',
        params: orderParams,
        body: z.strictObject({ h_contract: hContract, ...answer }),
        response: answers({ 204: Nothing }),
      },
    },
    async (request, reply) => {
      const order = await findAgreed(request.params.id, request.body.h_contract);
      const challenge = await verify(request, order, request.body);
      await db.transaction((tx) => unclaimOrder(tx, order.id, challenge));
      return reply.code(204).send(null);
    },
  );

  app.post(
    '/orders/:id/pay',
    {
      config: { access: 'anyone', rate: 'money', idempotency: 'none' },
      schema: {
        tags,
        summary: 'Pay with credits at once, or open a payment by another rail',
        description:
          'Credits are those of the account that the DID opens, or of the one that is logged in. By `omise` and `evm` exactly the order’s credits are bought, at `status_url`, and pay it as soon as they come. Another rail ends what was begun by the one before.',
        params: orderParams,
        body: z.strictObject({ h_contract: hContract, session_id: sessionId.nullable(), rail, ...answer }),
        response: answers({
          202: z.object({
            purchase_id: idOut('purchase'),
            status_url: z.string().describe('where it is paid'),
            expires_at: timeOut,
            payment_request: z
              .object({ id: idOut('paymentRequest'), terms: JsonObject })
              .nullable()
              .describe('`evm`: what the wallet agrees to, and then pays'),
            fulfillment_url: z.string().nullable(),
          }),
          200: z.object({
            sig: z.string().describe('the receipt: a JWS by our DID'),
            fulfillment_url: z.string().nullable(),
          }),
        }),
      },
    },
    async (request, reply) => {
      const { h_contract, session_id: session, rail: by } = request.body;
      const order = await findAgreed(request.params.id, h_contract);
      const account = await payerOf(deps, request);
      const challenge = await verify(request, order, request.body);
      if (by !== 'credits') {
        const onChain = by === 'evm' ? order.prices.find((one) => one.rail === 'evm') : undefined;
        const terms = onChain && (await chainTerms(deps.evm, onChain));
        const paying = { orderUuid: order.id, sessionId: session, rail: by, terms, requestId: request.id };
        const purchase = await openPayment(deps, paying, challenge);
        const asked = by === 'evm' ? await findRequestByToken(db, purchase.pageToken) : undefined;
        return reply.code(202).send({
          purchase_id: toWire('purchase', purchase.id),
          status_url: `${publicUrl}/${by === 'evm' ? 'pay' : 'checkout'}/${purchase.pageToken}`,
          expires_at: time(purchase.expiresAt),
          payment_request: asked
            ? { id: toWire('paymentRequest', asked.request.id), terms: JSON.parse(asked.request.terms) }
            : null,
          fulfillment_url: order.fulfillmentUrl,
        });
      }
      if (account === undefined && (await accountIdOf(db, challenge.did)) === undefined)
        throw new Problem('unauthenticated', 'This DID opens no account. Log in, or link it to one.');
      const paid = await db.transaction((tx) =>
        payWithCredits(
          tx,
          { orderUuid: order.id, accountId: account, sessionId: session, requestId: request.id },
          challenge,
        ),
      );
      return { sig: await signPaid(serviceDid, paid), fulfillment_url: paid.fulfillmentUrl };
    },
  );

  app.post(
    '/orders/:id/paid',
    {
      config: { access: 'anyone', rate: 'money', idempotency: 'none' },
      schema: {
        tags,
        summary: 'Show for a browser session that the order was paid by this wallet; nothing is charged',
        params: orderParams,
        body: z.strictObject({ h_contract: hContract, session_id: sessionId, ...answer }),
        response: answers({ 200: z.object({ refunded: z.boolean(), fulfillment_url: z.string().nullable() }) }),
      },
    },
    async (request) => {
      const { h_contract, session_id: session } = request.body;
      const order = await findAgreed(request.params.id, h_contract);
      if (order.state !== 'paid') throw new Problem('order_not_paid');
      const challenge = await verify(request, order, request.body);
      const proven = await db.transaction((tx) =>
        proveOrder(tx, { orderUuid: order.id, sessionId: session }, challenge),
      );
      return { refunded: isRevoked(proven), fulfillment_url: proven.fulfillmentUrl };
    },
  );
}

/** What went back of an order: the credits are pushed, so that there is nothing to be collected. */
function refundRoute(app: App, findAgreed: (id: string, told: string) => Promise<SeenOrder>): void {
  app.post(
    '/orders/:id/refund',
    {
      config: { access: 'anyone', rate: 'read', idempotency: 'accepted' },
      schema: {
        tags,
        summary: 'What was given back of an order; it lies on the account that paid',
        params: orderParams,
        body: z.strictObject({ h_contract: hContract }),
        response: answers({
          200: z.object({ refund_amount: z.string(), refund_pending: z.boolean(), refunds: z.array(JsonObject) }),
          204: Nothing,
        }),
      },
    },
    async (request, reply) => {
      const { refundCredits, refundedCredits } = await findAgreed(request.params.id, request.body.h_contract);
      if (refundCredits === 0n) return reply.code(204).send(null);
      const told = { refund_amount: `CREDITS:${refundedCredits}`, refund_pending: refundCredits > refundedCredits };
      return reply.code(200).send({ ...told, refunds: [] });
    },
  );
}

function deedOf(wish: z.infer<typeof Wish>): Deed {
  switch (wish.action) {
    case 'claim':
      return { action: 'claim', nonce: wish.nonce };
    case 'unclaim':
      return { action: 'unclaim' };
    case 'pay':
      return { action: 'pay', rail: wish.rail, sessionId: wish.session_id };
    case 'prove':
      return { action: 'prove', sessionId: wish.session_id };
  }
}

/** Whoever is logged in pays from that account. An API key is for programs of the account, and spends nothing here. */
async function payerOf({ authenticator }: WalletDeps, request: FastifyRequest): Promise<string | undefined> {
  if (request.headers.authorization === undefined) return undefined;
  const caller = await authenticator.authenticate(request);
  if (caller.scopes !== 'all')
    throw new Problem('insufficient_scope', 'This needs a log-in; an API key is not enough.');
  return caller.accountId;
}
