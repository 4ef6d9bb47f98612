import type { RequestState } from './tables.ts';

/** All that decides where a payment request stands. Amounts are base units. */
export interface Facts {
  amount: bigint;
  expiresAt: Date;
  isAuthorized: boolean;
  isCancelled: boolean;
  /** What comes after the end pays, too. */
  takesLate: boolean;
  /** Settlements that are in the chain now. */
  settled: { amount: bigint; at: Date; isFinal: boolean }[];
  /** Given back of what had not completed it, or was in excess. */
  givenBack: bigint;
  /** A submitted transaction may still be found in the chain. */
  isWaiting: boolean;
  now: Date;
}

/**
 * Where a payment request stands, from what is known alone: the same facts give the same state, in whatever order they
 * came. A payment counts by the time of its block; what was in time stays in time, however late it is seen or final.
 */
export function decide(facts: Facts): RequestState {
  const { amount, expiresAt, isAuthorized, isCancelled, takesLate, settled, givenBack, isWaiting, now } = facts;
  const inTime = settled.filter(({ at }) => takesLate || at <= expiresAt);
  const isPaid = sum(inTime) >= amount && sum(settled) - givenBack >= amount;
  if (isPaid) return inTime.every(({ isFinal }) => isFinal) ? 'completed' : 'confirming';
  if (isCancelled) return 'cancelled';
  if (settled.length > inTime.length) return 'late';
  if (isWaiting) return 'submitted';
  if (now >= expiresAt) return 'expired';
  if (inTime.length > 0) return 'underpaid';
  return isAuthorized ? 'authenticated' : 'pending';
}

export const sum = (parts: { amount: bigint }[]): bigint => parts.reduce((total, { amount }) => total + amount, 0n);
