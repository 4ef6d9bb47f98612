import { and, eq, sql } from 'drizzle-orm';
import type { Tx } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { type Keyed, rememberKey, takeKey } from '../../platform/http/idempotency.ts';
import { invalidField, Problem, retryLater } from '../../platform/http/problem.ts';
import { newId } from '../../platform/ids.ts';
import { newToken, type Vault } from '../../platform/secrets.ts';
import type { Capabilities } from '../capability.ts';
import { findPackage, type Package } from '../packages.ts';
import type { ChargeMethod } from '../rails/rail.ts';
import { purchases } from '../tables.ts';
import type { Attempt } from './apply.ts';
import { type ChargeDeps, intend, liveAttempt, openCharge } from './charge.ts';
import { note, type Purchase, tellPurchase } from './history.ts';

export interface StartDeps extends ChargeDeps {
  vault: Vault;
  capabilities: Capabilities;
  livemode: boolean;
  maxPending: number;
  /** Origins that a purchase may lead back to. */
  returnOrigins: string[];
}

export interface PurchaseOrder {
  accountId: string;
  packageId: string;
  method: ChargeMethod | { type: 'payment_link' };
  returnUri: string | null;
}

/** An unpaid purchase is given up after a day; what has a charge at the provider lives as long as that. */
const EXPIRES_AFTER_S = 86_400;

/**
 * Starts a purchase: recorded as pending before the provider hears of it. The same key again finds the purchase, and
 * goes on with whatever was left unfinished.
 */
export async function startPurchase(
  deps: StartDeps,
  keyed: Keyed,
  order: PurchaseOrder,
): Promise<{ purchaseId: string; replayed: boolean }> {
  checkReturnUri(deps, order.returnUri);
  const { db } = deps;
  const begun = await db.transaction(async (tx) => {
    const before = await takeKey(tx, deps.vault, keyed);
    if (before?.resourceId) return { ...(await resume(tx, deps, before.resourceId, order)), replayed: true };
    const purchase = await record(tx, deps, order);
    await rememberKey(tx, deps.vault, keyed, { resourceId: purchase.id });
    const attempt = await intendFirst(tx, deps, purchase, order);
    await failpoint('payments.start.before_commit');
    return { purchase, attempt, replayed: false };
  });
  await failpoint('payments.start.after_commit');
  const { purchase, attempt, replayed } = begun;
  if (attempt && order.method.type !== 'payment_link')
    await openCharge(deps, purchase, attempt, order.method, 'request');
  return { purchaseId: purchase.id, replayed };
}

async function record(tx: Tx, deps: StartDeps, order: PurchaseOrder): Promise<Purchase> {
  const { type } = order.method;
  const check = (one: Package) => {
    if (type !== 'payment_link' && !(deps.capabilities.methodsFor(one) as string[]).includes(type))
      throw invalidField('/method/type', 'is not available for this package', 'method_unavailable');
  };
  return recordPurchase(tx, deps, { ...order, method: type, expiresInS: EXPIRES_AFTER_S, check });
}

/** Records a pending purchase of a package that is on offer, with its trail and its event. Money has not moved yet. */
export async function recordPurchase(
  tx: Tx,
  deps: Pick<StartDeps, 'maxPending' | 'livemode'>,
  order: {
    accountId: string;
    packageId: string;
    method: string;
    returnUri: string | null;
    expiresInS: number;
    check?(one: Package): void;
  },
): Promise<Purchase> {
  const one = await findPackage(tx, order.packageId);
  if (!one?.active) throw invalidField('/package_id', 'is not a package that is on offer', 'package_unavailable');
  order.check?.(one);
  const { id: packageId, name: packageName, credits, price, currency } = one;
  const { accountId, method, returnUri, expiresInS } = order;
  const what = { packageId, packageName, credits, price, currency };
  return insertPurchase(tx, deps, { accountId, method, returnUri, expiresInS, ...what });
}

/** A pending purchase of so many credits: of a package, or for something that costs so many. */
export async function insertPurchase(
  tx: Tx,
  deps: Pick<StartDeps, 'maxPending' | 'livemode'>,
  {
    expiresInS,
    ...order
  }: Pick<
    Purchase,
    'accountId' | 'packageId' | 'packageName' | 'credits' | 'price' | 'currency' | 'method' | 'returnUri'
  > &
    Partial<Pick<Purchase, 'orderId' | 'orderSession' | 'forType' | 'forId'>> & { expiresInS: number },
): Promise<Purchase> {
  await checkPending(tx, deps, order);
  const [purchase] = await tx
    .insert(purchases)
    .values({
      ...{ id: newId(), livemode: deps.livemode, pageToken: newToken(), ...order },
      expiresAt: sql`now() + make_interval(secs => ${expiresInS})`,
    })
    .returning();
  if (!purchase) throw new Error('no purchase was made');
  const { credits, price, currency, method } = purchase;
  await note(tx, purchase.id, {
    actor: `account:${order.accountId}`,
    what: 'purchase_started',
    detail: { price: Number(price), currency, credits: Number(credits), method },
  });
  await tellPurchase(tx, purchase);
  return purchase;
}

/**
 * Whoever starts many purchases at once waits for the account's lock, so that the limit holds. Invoices that are made for
 * something are counted by themselves: what was asked for over Nostr has one unasked, and shall not keep anybody from buying.
 */
async function checkPending(
  tx: Tx,
  { maxPending }: Pick<StartDeps, 'maxPending'>,
  { accountId, method, forId }: Pick<Purchase, 'accountId' | 'method'> & Partial<Pick<Purchase, 'forId'>>,
): Promise<void> {
  await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${`payments.pending ${accountId}`}, 0))`);
  const isInvoice = method === 'lightning' && forId !== undefined && forId !== null;
  const isAlike = sql`(${purchases.method} = 'lightning' and ${purchases.forId} is not null) = ${isInvoice}`;
  const isPending = and(eq(purchases.accountId, accountId), eq(purchases.state, 'pending'), isAlike);
  if ((await tx.$count(purchases, isPending)) >= maxPending)
    throw new Problem('too_many_pending', `An account may have ${maxPending} unpaid purchases.`);
}

async function intendFirst(
  tx: Tx,
  deps: StartDeps,
  purchase: Purchase,
  order: PurchaseOrder,
): Promise<Attempt | undefined> {
  const { type } = order.method;
  return type === 'payment_link' ? undefined : intend(tx, deps, purchase, type, 'request');
}

/** Another request with the same key: the purchase, and a new attempt where the last one came to nothing. */
async function resume(
  tx: Tx,
  deps: StartDeps,
  purchaseId: string,
  order: PurchaseOrder,
): Promise<{ purchase: Purchase; attempt: Attempt | undefined }> {
  const [purchase] = await tx.select().from(purchases).where(eq(purchases.id, purchaseId)).for('update');
  if (!purchase) throw new Error('a key that names no purchase');
  if (purchase.state !== 'pending' || order.method.type === 'payment_link') return { purchase, attempt: undefined };
  const live = await liveAttempt(tx, purchase.id);
  if (live?.state === 'creating' && live.nextCheckAt && live.checks === 0 && live.nextCheckAt > new Date()) {
    throw retryLater('request_in_flight', 2);
  }
  return { purchase, attempt: live ? undefined : await intend(tx, deps, purchase, order.method.type, 'request') };
}

/** Refuses to lead back to where the operator has not allowed. */
export function checkReturnUri({ returnOrigins }: Pick<StartDeps, 'returnOrigins'>, returnUri: string | null): void {
  if (returnUri === null) return;
  const url = URL.canParse(returnUri) ? new URL(returnUri) : undefined;
  // `\` and control characters are read differently by different parsers; an honest address has none.
  const isHonest = url && url.username === '' && url.password === '' && !/[\\\s\p{Cc}]/u.test(returnUri);
  if (!isHonest || !returnOrigins.includes(url.origin)) {
    throw invalidField('/return_uri', 'must lie on an origin that the operator has allowed', 'return_uri_refused');
  }
}
