import { availableOf } from '../credits/index.ts';
import { claimOfRequest, lockRefundable, noteRefunded, type RefundableRequest } from '../payments/index.ts';
import type { Tx } from '../platform/database/clients.ts';
import { Problem } from '../platform/http/problem.ts';
import { least } from '../platform/least.ts';
import { giveCredits } from './give.ts';
import { nothingLeft, tooLarge, wrongTarget } from './refusals.ts';
import type { Order, Part, Quote, Subject } from './subjects.ts';

/** A payment request: what arrived in excess (or too late), or credits that were not used, for what they cost. */

/** Locks a request that the account has agreed to pay; 404 for all others. */
export async function lockPaidRequest(tx: Tx, accountId: string, id: string): Promise<RefundableRequest> {
  const found = await lockRefundable(tx, id);
  if (found?.request.payerAccountId !== accountId) throw new Problem('not_found');
  return found;
}

async function quote(tx: Tx, order: Order): Promise<Quote> {
  const found = await lockPaidRequest(tx, order.accountId, order.subject.id);
  const part = order.subject.part ?? (found.excess > 0n ? 'excess' : 'whole');
  return part === 'excess' ? ofExcess(found, order) : ofCredits(tx, found, order);
}

/** To credits by default, at the rate of the request; to the payer's wallet when that is wanted. No credits are touched. */
function ofExcess({ request, excess, payer }: RefundableRequest, { amount: wanted, target }: Order): Quote {
  if (excess === 0n) throw nothingLeft('Nothing has arrived in excess, or it was given back.');
  const amount = wanted ?? excess;
  if (amount > excess) throw tooLarge(excess.toString());
  const worth = request.credits === null ? null : (amount * request.credits) / BigInt(request.amount);
  const common = { part: 'excess', amount, unit: request.asset, worth } as const;
  const isToCredits = target === 'credits' || (target === null && worth !== null);
  if (!isToCredits) return { ...common, ...toWallet(payer), credits: 0n };
  if (worth === null) throw wrongTarget('An invoice has no price in credits.');
  if (worth === 0n) throw nothingLeft('So little is worth no credit.');
  return { ...common, rail: 'credits', credits: worth, destination: null, needsApproval: false };
}

async function ofCredits(
  tx: Tx,
  { request, credits: left, payer }: RefundableRequest,
  { accountId, amount: wanted, target }: Order,
): Promise<Quote> {
  if (target === 'credits') throw wrongTarget('The credits of the request are on the account already.');
  const available = await availableOf(tx, accountId);
  const refundable = least(left, available);
  if (refundable === 0n) throw nothingLeft('Nothing has arrived in excess, and no credits of the request are left.');
  const credits = wanted ?? refundable;
  if (credits > refundable) throw tooLarge(Number(refundable));
  const amount = (BigInt(request.amount) * credits) / (request.credits ?? 1n);
  if (amount === 0n) throw nothingLeft('So few credits are worth nothing on the chain.');
  return { part: 'whole', amount, unit: request.asset, worth: credits, ...toWallet(payer), credits };
}

/** There is no key here that could pay: an operator does, from a wallet of their own, and the chain is read. */
function toWallet(payer: string | null) {
  if (payer === null) throw wrongTarget('The wallet that paid is not linked to the DID any more.');
  return { rail: 'evm', destination: payer, needsApproval: true } as const;
}

const spokenFor = ({ part, credits, amount }: Part) =>
  part === 'excess' ? { excess: BigInt(amount), credits: 0n } : { excess: 0n, credits };
const negative = ({ excess, credits }: { excess: bigint; credits: bigint }) => ({
  excess: -excess,
  credits: -credits,
});

export const requestSubject: Subject = {
  lock: async (tx, { subjectId }) => {
    await lockRefundable(tx, subjectId);
  },
  quote,
  claim: (tx, part) => claimOfRequest(tx, part.subjectId, spokenFor(part)),
  drop: (tx, part) => claimOfRequest(tx, part.subjectId, negative(spokenFor(part))),
  left: async (tx, refund) => {
    const found = await lockRefundable(tx, refund.subjectId);
    return (found?.credits ?? 0n) + refund.credits; // its own are spoken for by itself
  },
  settle: async (tx, refund) => {
    const { part, amount, credits, rail } = refund;
    if (rail === 'credits') await giveCredits(tx, refund, 'refund of an excess');
    await noteRefunded(tx, refund.subjectId, { refund_id: refund.id, part, amount, credits: Number(credits), rail });
  },
};
