import {
  type BuyDeps,
  buyFor,
  type ChainTerms,
  ensureInvoice,
  type Invoice,
  type InvoiceDeps,
  type Price,
  type Purchase,
} from '../../payments/index.ts';
import type { Tx } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { invalidField, Problem } from '../../platform/http/problem.ts';
import { isWanted } from './decide.ts';
import { fits, msatPerCredit, type RailTerms } from './policy.ts';
import { type Ask, dueOf, findAsk, paymentRequired } from './read.ts';
import { type Asked, absorb, lockAsk, payFromCredits, purposeOf, putDown } from './settle.ts';

/** A customer pays an ask: with credits at once, or by buying exactly the credits that are missing on another rail. */

/** Again is a replay; never twice. 402 when the credits do not suffice, 410 when it is too late: then nothing has changed. */
export async function payAsk(tx: Tx, accountId: string, id: string, hasWallet: boolean): Promise<Asked> {
  const asked = await openFor(tx, accountId, id, 'credits');
  if (asked.ask.state === 'paid') return asked;
  const paid = await payFromCredits(tx, asked);
  if ('available' in paid)
    throw await paymentRequired(tx, 'payment_required', viewOf(asked), paid.available, hasWallet);
  await failpoint('workflows.ask.before_pay_commit');
  return paid;
}

/** By a rail of the policy; `chain`: where the asset is paid, or why it cannot be. */
export type Buying = {
  /** Own credits are set aside for it first, and only the rest is bought. */
  usesCredits: boolean;
  returnUri: string | null;
} & (
  | { rail: 'omise' }
  | { rail: 'lightning' }
  | { rail: 'evm'; asset: string; payer: string | null; chain: ChainTerms | Problem }
);

/** Opens the purchase that brings what is missing; its arrival pays the ask. The same again leads to the same purchase. */
export async function buyForAsk(
  tx: Tx,
  deps: BuyDeps,
  accountId: string,
  id: string,
  buying: Buying,
): Promise<{ asked: Asked; purchase: Purchase | null }> {
  const found = await openFor(tx, accountId, id, buying.rail);
  const asked = buying.usesCredits && found.ask.state !== 'paid' ? await putDown(tx, found) : found;
  if (asked.ask.state === 'paid') return { asked, purchase: null };
  const credits = dueOf(asked.ask);
  const purchase = await buyFor(tx, deps, {
    ...{ accountId, purpose: purposeOf(asked.ask), credits, returnUri: buying.returnUri },
    name: `Run, payment ${asked.ask.seq}`,
    price: priceOf(asked, buying, credits),
  });
  await failpoint('workflows.ask.before_buy_commit');
  return { asked, purchase };
}

function priceOf({ run, ask }: Asked, buying: Buying, credits: bigint): Price {
  for (const terms of run.quote.rails.filter((one) => fits(one, credits))) {
    if (terms.rail === 'omise' && buying.rail === 'omise')
      return { rail: 'omise', amount: credits * BigInt(terms.price_per_credit), currency: terms.currency };
    if (terms.rail === 'lightning' && buying.rail === 'lightning')
      return { rail: 'lightning', expiresInS: lifeOfInvoice(ask) };
    if (terms.rail === 'evm' && buying.rail === 'evm' && terms.asset === buying.asset) {
      const amount = String(credits * BigInt(terms.price_per_credit));
      const { asset, payer, chain } = buying;
      return { rail: 'evm', asset, amount, payer, terms: chain instanceof Problem ? chain : { ...chain, amount } };
    }
  }
  throw invalidField('/rail', 'takes no such payment for this service', 'method_unavailable');
}

/** The invoice of a purchase that was opened for an ask; `undefined` when there is nothing to pay any more. */
export async function invoiceForAsk(
  deps: InvoiceDeps,
  accountId: string,
  id: string,
  purchaseId: string,
): Promise<Invoice | undefined> {
  const { lightning } = deps;
  const view = await findAsk(deps.db, accountId, id);
  if (!view || dueOf(view.ask) === 0n) return undefined;
  const perCredit = msatPerCredit(view);
  return lightning && perCredit !== null ? ensureInvoice({ ...deps, lightning }, purchaseId, perCredit) : undefined;
}

const LONGEST_S = 86_400; // the wallet is asked about it all the time
const OLD_DEBT_S = 3_600; // of a debt that has no end

/** An invoice can be paid as long as its ask holds. */
function lifeOfInvoice({ expiresAt }: Ask): number {
  const left = Math.ceil((expiresAt.getTime() - Date.now()) / 1000);
  return left > 0 ? Math.min(LONGEST_S, left) : OLD_DEBT_S;
}

/** Locks an ask that can be paid, or is paid, with all that came for it looked at. */
async function openFor(tx: Tx, accountId: string, id: string, rail: RailTerms['rail']): Promise<Asked> {
  const found = await lockAsk(tx, id, accountId);
  if (!found) throw new Problem('not_found');
  const asked = await absorb(tx, found);
  const { state, kind } = asked.ask;
  if (state === 'paid') return asked;
  if (state === 'expired' || (asked.isLate && kind !== 'result' && isWanted(state))) throw new Problem('ask_expired');
  if (state === 'released') throw new Problem('conflict', 'The run has ended, and nothing is asked for it.');
  if (!asked.run.quote.rails.some((terms) => terms.rail === rail))
    throw invalidField('/rail', 'is not taken for this service', 'method_unavailable');
  return asked;
}

const viewOf = ({ run, ask }: Asked) => ({ ask, rails: run.quote.rails });
