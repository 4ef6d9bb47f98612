import type { Charge } from '../rails/rail.ts';

/** What a charge means for the purchase that it is meant to pay. Pure: the whole credit rule is here. */
export type Decision =
  | { verdict: 'credit' }
  | { verdict: 'pending' }
  | { verdict: 'ended'; state: 'failed' | 'expired' | 'reversed'; code: string; message: string | null }
  /** Money moved, or may have, but not as agreed: a person has to look. */
  | { verdict: 'review'; reason: ReviewReason };

export type ReviewReason =
  | 'wrong_mode'
  | 'wrong_currency'
  | 'wrong_amount'
  | 'partial_capture'
  | 'refunded'
  | 'voided'
  | 'disputed'
  | 'inconsistent';

/** The agreement: minor units, ISO 4217 upper case. */
export interface Expected {
  price: bigint;
  currency: string;
  livemode: boolean;
}

/** `charge` must have been read back from the provider, and belong to the purchase by its stored id or secret attempt id. */
export function decide(charge: Charge, expected: Expected): Decision {
  if (charge.livemode !== expected.livemode) return { verdict: 'review', reason: 'wrong_mode' };
  const isOver = charge.status !== 'pending' && charge.status !== 'successful';
  if (isOver && charge.paid) return { verdict: 'review', reason: 'inconsistent' };
  switch (charge.status) {
    case 'pending':
      return { verdict: 'pending' };
    case 'failed':
      return {
        verdict: 'ended',
        state: 'failed',
        code: charge.failureCode ?? 'payment_failed',
        message: charge.failureMessage,
      };
    case 'expired':
      return {
        verdict: 'ended',
        state: 'expired',
        code: 'payment_expired',
        message: 'The payment was not made in time.',
      };
    case 'reversed':
      return { verdict: 'ended', state: 'reversed', code: 'payment_reversed', message: 'The payment was reversed.' };
    case 'successful':
      return decideSuccess(charge, expected);
  }
}

/** `successful` alone is not enough: it stays so after a partial capture, a void, a refund, and in a dispute. */
function decideSuccess(charge: Charge, expected: Expected): Decision {
  const review = (reason: ReviewReason): Decision => ({ verdict: 'review', reason });
  if (charge.currency !== expected.currency.toUpperCase()) return review('wrong_currency');
  if (charge.amount !== expected.price) return review('wrong_amount');
  if (charge.capturedAmount !== null && charge.capturedAmount !== expected.price) return review('partial_capture');
  if (charge.voided) return review('voided');
  if (charge.refundedAmount !== 0n) return review('refunded');
  if (charge.hasOpenDispute) return review('disputed');
  if (!charge.paid || charge.reversed) return review('inconsistent');
  return { verdict: 'credit' };
}
