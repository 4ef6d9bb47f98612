import { claimOfOrder, lockPaidOrder, noteOrderRefunded } from '../payments/index.ts';
import type { Tx } from '../platform/database/clients.ts';
import { Problem } from '../platform/http/problem.ts';
import { giveCredits } from './give.ts';
import { nothingLeft, tooLarge, wrongTarget } from './refusals.ts';
import type { Order, Quote, Subject } from './subjects.ts';

/** An order: the credits that it took go back to the account that paid it; what it opens is closed in the same transaction. */

async function quote(tx: Tx, { accountId, subject, amount: wanted, target }: Order): Promise<Quote> {
  const order = await lockPaidOrder(tx, subject.id);
  if (order?.payerId !== accountId) throw new Problem('not_found');
  if (subject.part === 'excess') throw nothingLeft('An order has no excess.');
  if (target === 'original')
    throw wrongTarget('The credits go back first; then the purchase that brought them can be asked back.');
  const left = order.price - order.refundCredits;
  if (left === 0n) throw nothingLeft('All of the order was given back.');
  const amount = wanted ?? left;
  if (amount > left) throw tooLarge(Number(left));
  const common = { part: 'whole', rail: 'credits', unit: 'credit', destination: null } as const;
  return { ...common, credits: amount, amount, worth: amount, needsApproval: false };
}

export const orderSubject: Subject = {
  lock: async (tx, { subjectId }) => {
    await lockPaidOrder(tx, subjectId);
  },
  quote,
  claim: (tx, { subjectId, credits }) => claimOfOrder(tx, subjectId, credits),
  drop: (tx, { subjectId, credits }) => claimOfOrder(tx, subjectId, -credits),
  left: async () => 0n,
  settle: async (tx, refund) => {
    await giveCredits(tx, refund, 'refund of an order');
    await noteOrderRefunded(tx, refund.subjectId, refund.credits);
  },
};
