import { sql } from 'drizzle-orm';
import type { Tx } from '../../platform/database/clients.ts';
import { invalidField, Problem, retryLater } from '../../platform/http/problem.ts';
import { newId } from '../../platform/ids.ts';
import { newToken } from '../../platform/secrets.ts';
import type { EvmRail } from '../rails/evm/evm.ts';
import type { Terms as ChainTerms } from '../rails/evm/terms.ts';
import { note, type PaymentRequest, tellRequest } from './history.ts';
import { type Late, paymentRequests } from './tables.ts';
import { freezeTerms } from './terms.ts';

export interface RequestOrder {
  /** `null`: the house asks, for a purchase. */
  merchantId: string | null;
  purchaseId?: string;
  /** Of the purchase, which has the same page. */
  pageToken?: string;
  /** In its canonical spelling. */
  payerDid: string;
  asset: string;
  amount: string;
  purpose: { type: 'credits'; credits: bigint } | { type: 'invoice'; reference: string };
  description: string;
  late: Late;
  expiresInS: number;
}

/**
 * Terms on the chain for an order, or why there are none: 422 for what is not taken here, 503 while the chain has not
 * confirmed the asset. Not thrown: a repeat of what was done already needs no chain.
 */
export async function chainTerms(
  evm: EvmRail,
  { asset, amount }: { asset: string; amount: string },
): Promise<ChainTerms | Problem> {
  const frozen = await evm.freeze(asset, amount);
  if (frozen.outcome === 'ok') return frozen.value;
  if (frozen.outcome !== 'rejected') return retryLater('chain_unavailable', 10);
  const isAmount = frozen.code === 'amount_invalid';
  return invalidField(
    isAmount ? '/amount' : '/asset',
    frozen.message,
    isAmount ? 'amount_invalid' : 'asset_unsupported',
  );
}

/** Makes a request: its terms are frozen, and the merchant is told. */
export async function createRequest(
  tx: Tx,
  { evm, publicUrl }: { evm: EvmRail; publicUrl: string },
  order: RequestOrder,
  terms: ChainTerms | Problem,
): Promise<PaymentRequest> {
  if (terms instanceof Problem) throw terms;
  const { merchantId, purchaseId = null, payerDid, purpose, description, late, expiresInS } = order;
  const id = newId();
  const asset = evm.assets.find((one) => one.id === terms.asset);
  if (!asset) throw new Error('terms in an asset that is not configured');
  const expiresAt = await inSeconds(tx, expiresInS);
  const [request] = await tx
    .insert(paymentRequests)
    .values({
      ...{ id, merchantId, purchaseId, payerDid, description, late, expiresAt, ...terms },
      ...{ symbol: asset.symbol, decimals: asset.decimals, purpose: purpose.type },
      credits: purpose.type === 'credits' ? purpose.credits : null,
      reference: purpose.type === 'invoice' ? purpose.reference : null,
      ...freezeTerms(id, publicUrl, { ...terms, payer: payerDid, description, late, expiresAt }),
      pageToken: order.pageToken ?? newToken(),
    })
    .returning();
  if (!request) throw new Error('no payment request was made');
  const actor = merchantId === null ? 'house' : (`account:${merchantId}` as const);
  await note(tx, id, { actor, what: 'created', detail: { terms_hash: request.termsHash } });
  await tellRequest(tx, request, 'created');
  return request;
}

/** By the database's clock, which judges it; to the second, as it is signed. */
async function inSeconds(tx: Tx, seconds: number): Promise<Date> {
  const [row] = await tx.execute<{ at: string }>(
    sql`select to_char(date_trunc('second', now() + make_interval(secs => ${seconds})) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as at`,
  );
  return new Date(row?.at ?? Number.NaN);
}
