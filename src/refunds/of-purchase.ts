import { availableOf } from '../credits/index.ts';
import { claimShare, dropShare, lockPaidPurchase, moneyFor, settleShare } from '../payments/index.ts';
import type { Tx } from '../platform/database/clients.ts';
import { least } from '../platform/least.ts';
import { nothingLeft, tooLarge, wrongTarget } from './refusals.ts';
import type { Order, Part, Quote, Subject } from './subjects.ts';

/** What was asked for in millisatoshi has no price in money (ISO 4217). */
const NO_CURRENCY = 'XXX';

/** A purchase: credits that were not used, for the money that they cost. */

async function quote(tx: Tx, { accountId, subject, amount: wanted, target }: Order): Promise<Quote> {
  const { purchase, chargeId, left } = await lockPaidPurchase(tx, subject.id, accountId);
  if (subject.part === 'excess') throw nothingLeft('A purchase has no excess.');
  if (purchase.method === 'crypto') throw nothingLeft('It was paid on chain: ask for its payment request.');
  if (purchase.currency === NO_CURRENCY)
    throw nothingLeft('It was paid by Lightning, and there is no way back: what it brought stays credits.');
  if (target === 'credits') throw wrongTarget('The credits of a purchase are on the account already.');
  const available = await availableOf(tx, accountId);
  const refundable = least(left.credits, available);
  if (refundable === 0n) throw nothingLeft('All credits of the purchase are spent, or given back.');
  const credits = wanted ?? refundable;
  if (credits > refundable) throw tooLarge(Number(refundable));
  const amount = least(moneyFor(purchase, credits), left.amount); // a claw-back may have taken more money than credits
  if (amount === 0n) throw nothingLeft('So few credits are worth no money.');
  return {
    ...{ part: 'whole', credits, amount, unit: purchase.currency, worth: credits, destination: null },
    // Whether the provider can give it back is seen when it is asked.
    ...{ rail: chargeId === null ? 'bank' : 'omise', needsApproval: chargeId === null },
  };
}

const shareOf = ({ credits, amount }: Part) => ({ credits, amount: BigInt(amount) });

export const purchaseSubject: Subject = {
  lock: async (tx, { subjectId }) => {
    await lockPaidPurchase(tx, subjectId);
  },
  quote,
  claim: async (tx, part) => {
    if (!(await claimShare(tx, part.subjectId, shareOf(part)))) throw nothingLeft('Nothing of the purchase is left.');
  },
  drop: (tx, part) => dropShare(tx, part.subjectId, shareOf(part)),
  left: async (tx, refund) => {
    const { left } = await lockPaidPurchase(tx, refund.subjectId);
    return left.credits + refund.credits; // its own are spoken for by itself
  },
  settle: async (tx, refund) => {
    await settleShare(tx, refund.subjectId, shareOf(refund));
  },
};
