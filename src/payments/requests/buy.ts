import { listDids, parseDid } from '../../identity/index.ts';
import type { Tx } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { type Keyed, rememberKey, takeKey } from '../../platform/http/idempotency.ts';
import { invalidField } from '../../platform/http/problem.ts';
import { pricesOf } from '../package-prices.ts';
import type { Purchase } from '../purchases/history.ts';
import { checkReturnUri, recordPurchase, type StartDeps } from '../purchases/start.ts';
import type { EvmRail } from '../rails/evm/evm.ts';
import { chainTerms, createRequest } from './create.ts';

export interface ChainOrder {
  accountId: string;
  packageId: string;
  /** CAIP-19. */
  asset: string;
  /** Which DID of the account pays; the oldest one where none is named. */
  payer: string | null;
  returnUri: string | null;
}

/** The payer has an hour; what comes later is kept for a refund, because the price was of then. */
const EXPIRES_IN_S = 3_600;

/**
 * Buys a package on chain: the purchase and the payment request that pays it, in one transaction. From then on the
 * request is agreed to, paid and seen like any other. The same key again finds the purchase.
 */
export async function buyOnChain(
  deps: StartDeps & { evm: EvmRail },
  keyed: Keyed,
  order: ChainOrder,
): Promise<{ purchaseId: string; replayed: boolean }> {
  const { db, evm, vault, publicUrl } = deps;
  checkReturnUri(deps, order.returnUri);
  const price = (await pricesOf(db, [order.packageId])).find(({ asset }) => asset === order.asset);
  const terms = await chainTerms(evm, { asset: order.asset, amount: price?.amount ?? '1' });
  const bought = await db.transaction(async (tx) => {
    const before = await takeKey(tx, vault, keyed);
    if (before?.resourceId) return { purchaseId: before.resourceId, replayed: true };
    if (!price) throw invalidField('/method/asset', 'has no price for this package', 'method_unavailable');
    const payerDid = await payerOf(tx, order, '/method/payer');
    const purchase = await recordPurchase(tx, deps, { ...order, method: 'crypto', expiresInS: EXPIRES_IN_S });
    await createRequest(tx, { evm, publicUrl }, requestFor(purchase, payerDid, price), terms);
    await rememberKey(tx, vault, keyed, { resourceId: purchase.id });
    await failpoint('payments.buy.before_commit');
    return { purchaseId: purchase.id, replayed: false };
  });
  await failpoint('payments.buy.after_commit');
  return bought;
}

const requestFor = (purchase: Purchase, payerDid: string, { asset, amount }: { asset: string; amount: string }) => ({
  ...{ merchantId: null, purchaseId: purchase.id, pageToken: purchase.pageToken, payerDid, asset, amount },
  purpose: { type: 'credits', credits: purchase.credits } as const,
  ...{ description: purchase.packageName, late: 'refundable' as const, expiresInS: EXPIRES_IN_S },
});

/** What is paid on chain is agreed to by a DID of the account. */
export async function payerOf(
  tx: Tx,
  { accountId, payer }: Pick<ChainOrder, 'accountId' | 'payer'>,
  pointer: string,
): Promise<string> {
  const own = (await listDids(tx, accountId)).map(({ did }) => did);
  const wanted = payer === null ? own[0] : parseDid(payer).did;
  if (wanted === undefined || !own.includes(wanted))
    throw invalidField(pointer, 'must be a DID of this account; link one first', 'did_required');
  return wanted;
}
