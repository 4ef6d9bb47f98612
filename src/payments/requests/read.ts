import { and, asc, desc, eq, inArray, isNull, or, type SQL, sql } from 'drizzle-orm';
import { z } from 'zod';
import { listDids } from '../../identity/index.ts';
import type { Db, Tx } from '../../platform/database/clients.ts';
import { amount, amountOut, idOut, JsonObject, time, timeOrNull, timeOut } from '../../platform/http/wire.ts';
import { toWire } from '../../platform/ids.ts';
import { displayAmount, paymentUri } from '../rails/evm/terms.ts';
import type { PaymentRequest } from './history.ts';
import { excessOf } from './refund.ts';
import { paymentRequests, type RequestState, requestTransactions, settlements } from './tables.ts';

const units = z.string().describe('base units, a decimal string');

const TransactionOut = z
  .object({
    tx_hash: z.string(),
    outcome: z
      .string()
      .describe(
        'tx_pending, tx_not_found, tx_reverted, no_matching_transfer, wrong_payer, tx_already_used, counted, reorged',
      ),
    amount: units.nullable(),
    confirmations: z.int(),
    final: z.boolean(),
    submitted_at: timeOut,
  })
  .meta({ id: 'RequestTransaction' });

export const PaymentRequestOut = z
  .object({
    object: z.literal('payment_request'),
    id: idOut('paymentRequest'),
    created_at: timeOut,
    status: z.enum([
      ...['pending', 'authenticated', 'submitted', 'confirming', 'underpaid', 'completed'],
      ...['late', 'expired', 'cancelled'],
    ] as [string, ...string[]]),
    payer: z.string().describe('DID'),
    chain: z.string().describe('CAIP-2'),
    asset: z.string().describe('CAIP-19'),
    recipient: z.string().describe('CAIP-10'),
    amount: units,
    received: units,
    remaining: units,
    excess: units.describe('arrived beyond the amount, too late or too short, and not given back; refundable'),
    display: z.string().describe('for people, such as "12.5 USDC"'),
    purpose: z.discriminatedUnion('type', [
      z.object({ type: z.literal('credits'), credits: amountOut }),
      z.object({ type: z.literal('invoice'), reference: z.string() }),
    ]),
    description: z.string(),
    late: z.enum(['accepted', 'refundable']).describe('what becomes of a payment after the end'),
    purchase_id: idOut('purchase').nullable().describe('of a purchase that is paid by it'),
    terms: JsonObject.describe('what the payer agrees to'),
    terms_hash: z.string().describe('SHA-256 in hex of `terms` in canonical form (RFC 8785)'),
    payment_uri: z.string().nullable().describe('EIP-681, for what is still missing; what a wallet opens'),
    page_url: z.string().describe('page that shows the request; whoever has the link can see it'),
    transactions: z.array(TransactionOut),
    expires_at: timeOut,
    authorized_at: timeOut.nullable(),
    completed_at: timeOut.nullable(),
  })
  .meta({ id: 'PaymentRequest' });

/** EIP-681 for what is still missing; `null` while there is nothing to pay. */
export function paymentUriOf(request: PaymentRequest): string | null {
  if (request.state !== 'authenticated' && request.state !== 'underpaid') return null;
  return paymentUri({ ...request, amount: (BigInt(request.amount) - BigInt(request.received)).toString() });
}

/** A request with the transactions that were submitted for it. */
export interface RequestView {
  request: PaymentRequest;
  transactions: (typeof requestTransactions.$inferSelect & { amount: string | null })[];
}

export function renderRequest(
  { request, transactions }: RequestView,
  publicUrl: string,
): z.infer<typeof PaymentRequestOut> {
  const [due, received] = [BigInt(request.amount), BigInt(request.received)];
  const remaining = due > received ? due - received : 0n;
  return {
    ...{ object: 'payment_request', id: toWire('paymentRequest', request.id), created_at: time(request.createdAt) },
    ...{ status: request.state, payer: request.payerDid },
    ...{ chain: request.chain, asset: request.asset, recipient: request.recipient },
    ...{ amount: request.amount, received: request.received, remaining: remaining.toString() },
    excess: excessOf(request).toString(),
    display: `${displayAmount(request.amount, request.decimals)} ${request.symbol}`,
    purpose:
      request.purpose === 'credits'
        ? { type: 'credits', credits: amount(request.credits ?? 0n) }
        : { type: 'invoice', reference: request.reference ?? '' },
    ...{ description: request.description, late: request.late },
    purchase_id: request.purchaseId === null ? null : toWire('purchase', request.purchaseId),
    ...{ terms: JSON.parse(request.terms), terms_hash: request.termsHash },
    payment_uri: paymentUriOf(request),
    page_url: `${publicUrl}/pay/${request.pageToken}`,
    transactions: transactions.map((one) => ({
      ...{ tx_hash: one.txHash, outcome: one.outcome, amount: one.amount, confirmations: one.confirmations },
      ...{ final: one.isFinal, submitted_at: time(one.submittedAt) },
    })),
    expires_at: time(request.expiresAt),
    authorized_at: timeOrNull(request.authorizedAt),
    completed_at: timeOrNull(request.completedAt),
  };
}

/** The request, for the merchant who made it and for the payer. */
export async function findRequest(on: Db | Tx, accountId: string, id: string): Promise<RequestView | undefined> {
  const isMerchant = eq(paymentRequests.merchantId, accountId);
  return findOne(on, and(eq(paymentRequests.id, id), or(isMerchant, await isPayer(on, accountId))));
}

/** The account has agreed to pay, or a DID that opens it was asked to. */
async function isPayer(on: Db | Tx, accountId: string) {
  const dids = (await listDids(on, accountId)).map(({ did }) => did);
  return or(
    eq(paymentRequests.payerAccountId, accountId),
    and(isNull(paymentRequests.payerAccountId), inArray(paymentRequests.payerDid, dids)),
  );
}

/** Anybody's request. */
export async function findAnyRequest(db: Db, id: string): Promise<PaymentRequest | undefined> {
  const [request] = await db.select().from(paymentRequests).where(eq(paymentRequests.id, id));
  return request;
}

/** Anybody's request, with its transactions. */
export const findAnyView = (db: Db, id: string): Promise<RequestView | undefined> =>
  findOne(db, eq(paymentRequests.id, id));

/** The request of a page. */
export const findRequestByToken = (db: Db, token: string): Promise<RequestView | undefined> =>
  findOne(db, eq(paymentRequests.pageToken, token));

async function findOne(on: Db | Tx, condition: SQL | undefined): Promise<RequestView | undefined> {
  const [view] = await viewsOf(on, condition);
  return view;
}

/** In one statement, so that a request and its transactions are of the same moment. */
async function viewsOf(on: Db | Tx, condition: SQL | undefined): Promise<RequestView[]> {
  const { submittedAt, requestId, txHash } = requestTransactions;
  const inChain = and(eq(settlements.requestId, requestId), eq(settlements.txHash, txHash), isNull(settlements.goneAt));
  const rows = await on
    .select({
      request: paymentRequests,
      transaction: requestTransactions,
      amount: sql<string | null>`(select sum(${settlements.amount})::text from ${settlements} where ${inChain})`,
    })
    .from(paymentRequests)
    .leftJoin(requestTransactions, eq(requestId, paymentRequests.id))
    .where(condition)
    .orderBy(desc(paymentRequests.createdAt), desc(paymentRequests.id), asc(submittedAt), asc(txHash));
  const views = new Map<string, RequestView>();
  for (const { request, transaction, amount } of rows) {
    const view = views.get(request.id) ?? { request, transactions: [] };
    if (transaction) view.transactions.push({ ...transaction, amount });
    views.set(request.id, view);
  }
  return [...views.values()];
}

/** Newest first; `after` is the id of the last one seen. Those that the account has made, or is to pay. */
export async function listRequests(
  db: Db,
  accountId: string,
  side: 'merchant' | 'payer',
  after: string | null,
  limit: number,
): Promise<RequestView[]> {
  return listWhere(
    db,
    side === 'merchant' ? eq(paymentRequests.merchantId, accountId) : await isPayer(db, accountId),
    after,
    limit,
  );
}

/** Everybody's, in one state or in any, for the operator. */
export const listAllRequests = (
  db: Db,
  state: string | undefined,
  after: string | null,
  limit: number,
): Promise<RequestView[]> =>
  listWhere(db, state === undefined ? undefined : eq(paymentRequests.state, state as RequestState), after, limit);

function listWhere(db: Db, which: SQL | undefined, after: string | null, limit: number): Promise<RequestView[]> {
  const before =
    after === null
      ? undefined
      : sql`(${paymentRequests.createdAt}, ${paymentRequests.id}) < (select created_at, id from ${paymentRequests} where id = ${after}::uuid)`;
  const page = db
    .select({ id: paymentRequests.id })
    .from(paymentRequests)
    .where(and(which, before))
    .orderBy(desc(paymentRequests.createdAt), desc(paymentRequests.id))
    .limit(limit);
  return viewsOf(db, inArray(paymentRequests.id, page));
}
