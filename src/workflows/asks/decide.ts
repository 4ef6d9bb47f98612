import type { AskState } from './tables.ts';

/** What becomes of money that comes for an ask. Pure: the whole rule of short, exact, surplus and late is here. */

export interface Facts {
  state: AskState;
  amount: bigint;
  /** Set aside for it before. */
  received: bigint;
  underpay: 'reject' | 'accumulate';
  /** What has come, and whether it came while the price held. */
  credits: bigint;
  isInTime: boolean;
}

export interface Verdict {
  /** Stays set aside for the ask. */
  keep: bigint;
  /** Goes to the account's credits. */
  release: bigint;
  state: AskState;
  what: 'paid' | 'part_paid' | 'underpaid' | 'surplus';
}

/** A debt that was written off can be paid for ever; any other ask only while its price holds. */
export const isWanted = (state: AskState): boolean => isWaiting(state) || state === 'written_off';
export const isWaiting = (state: AskState): boolean => state === 'open' || state === 'part_paid';

export function decideSettlement({ state, amount, received, underpay, credits, isInTime }: Facts): Verdict {
  const due = amount - received;
  if (!isWanted(state) || !isInTime) return { keep: 0n, release: credits, state, what: 'surplus' };
  if (credits >= due) return { keep: due, release: credits - due, state: 'paid', what: 'paid' };
  if (underpay === 'reject') return { keep: 0n, release: credits, state, what: 'underpaid' };
  return { keep: credits, release: 0n, state: state === 'open' ? 'part_paid' : state, what: 'part_paid' };
}
