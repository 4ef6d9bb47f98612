import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decide } from '../../src/payments/purchases/decide.ts';
import type { Charge } from '../../src/payments/rails/rail.ts';

const agreed = { price: 50_000n, currency: 'THB', livemode: false };

const paid: Charge = {
  id: 'chrg_test_5xuyzuxqhdhw7ysa1l9',
  status: 'successful',
  paid: true,
  reversed: false,
  voided: false,
  livemode: false,
  amount: 50_000n,
  capturedAmount: null,
  refundedAmount: 0n,
  currency: 'THB',
  hasOpenDispute: false,
  refundable: true,
  refunds: [],
  dispute: null,
  attemptId: null,
  authorizeUri: null,
  qrUri: null,
  failureCode: null,
  failureMessage: null,
  expiresAt: null,
  createdAt: new Date(0),
};

const review = (reason: string) => ({ verdict: 'review', reason });

const cases: [string, Partial<Charge>, object][] = [
  ['successful and paid', {}, { verdict: 'credit' }],
  ['successful, the whole captured', { capturedAmount: 50_000n }, { verdict: 'credit' }],
  ['pending', { status: 'pending', paid: false }, { verdict: 'pending' }],
  ['pending although it says paid', { status: 'pending' }, { verdict: 'pending' }],
  ['authorized only', { status: 'pending', paid: false, capturedAmount: 0n }, { verdict: 'pending' }],
  ['failed without a reason', { status: 'failed', paid: false }, { verdict: 'ended', code: 'payment_failed' }],
  [
    'failed with a reason',
    { status: 'failed', paid: false, failureCode: 'insufficient_fund', failureMessage: 'no money' },
    { verdict: 'ended', state: 'failed', code: 'insufficient_fund', message: 'no money' },
  ],
  ['failed although it says paid', { status: 'failed' }, review('inconsistent')],
  ['expired', { status: 'expired', paid: false }, { verdict: 'ended', state: 'expired', code: 'payment_expired' }],
  ['expired although it says paid', { status: 'expired' }, review('inconsistent')],
  [
    'reversed',
    { status: 'reversed', paid: false, reversed: true },
    { verdict: 'ended', state: 'reversed', code: 'payment_reversed' },
  ],
  ['reversed although it says paid', { status: 'reversed' }, review('inconsistent')],
  ['not paid', { paid: false }, review('inconsistent')],
  ['successful and reversed', { reversed: true }, review('inconsistent')],
  ['of the other mode', { livemode: true }, review('wrong_mode')],
  ['pending in the other mode', { livemode: true, status: 'pending' }, review('wrong_mode')],
  ['in another currency', { currency: 'JPY' }, review('wrong_currency')],
  ['one satang less', { amount: 49_999n }, review('wrong_amount')],
  ['one satang more', { amount: 50_001n }, review('wrong_amount')],
  ['captured in part', { capturedAmount: 25_000n }, review('partial_capture')],
  ['captured to nothing', { capturedAmount: 0n }, review('partial_capture')],
  ['captured beyond the amount', { capturedAmount: 50_001n }, review('partial_capture')],
  ['voided', { voided: true }, review('voided')],
  ['refunded in part', { refundedAmount: 1n }, review('refunded')],
  ['refunded whole', { refundedAmount: 50_000n }, review('refunded')],
  ['disputed', { hasOpenDispute: true }, review('disputed')],
];

describe('what a charge means for its purchase', () => {
  test.each(cases)('%s', (_name, change, expected) => {
    expect(decide({ ...paid, ...change }, agreed)).toMatchObject(expected);
  });

  test('the currency of the agreement is compared without regard to case', () => {
    expect(decide(paid, { ...agreed, currency: 'thb' })).toEqual({ verdict: 'credit' });
  });
});

const near = fc.constantFrom(0n, 1n, 49_999n, 50_000n, 50_001n);
const anyCharge = fc.record({
  status: fc.constantFrom<Charge['status']>('pending', 'successful', 'failed', 'expired', 'reversed'),
  paid: fc.boolean(),
  reversed: fc.boolean(),
  voided: fc.boolean(),
  livemode: fc.boolean(),
  amount: near,
  capturedAmount: fc.option(near, { nil: null }),
  refundedAmount: near,
  currency: fc.constantFrom('THB', 'JPY', 'USD'),
  hasOpenDispute: fc.boolean(),
});

/** Nine charges out of ten are of little interest here: most of their conditions hold, so that single faults show. */
const almostGood = fc.tuple(anyCharge, fc.subarray(Object.keys(paid) as (keyof Charge)[], { maxLength: 2 }));

describe('whatever the provider says', () => {
  // REQ E2.5
  test('credits are granted when every single condition holds, and never otherwise', () => {
    const check = (charge: Charge) => {
      const isGood =
        charge.status === 'successful' &&
        charge.paid &&
        !charge.reversed &&
        !charge.voided &&
        !charge.livemode &&
        charge.amount === 50_000n &&
        (charge.capturedAmount === null || charge.capturedAmount === 50_000n) &&
        charge.refundedAmount === 0n &&
        charge.currency === 'THB' &&
        !charge.hasOpenDispute;
      expect(decide(charge, agreed).verdict === 'credit').toBe(isGood);
    };
    fc.assert(
      fc.property(anyCharge, (change) => check({ ...paid, ...change })),
      { numRuns: 2000 },
    );
    fc.assert(
      fc.property(almostGood, ([change, spoiled]) => {
        const faults = Object.entries(change).filter(([name]) => spoiled.includes(name as keyof Charge));
        check({ ...paid, ...Object.fromEntries(faults) });
      }),
      { numRuns: 2000 },
    );
  });

  test('a charge that took money is never called over', () => {
    fc.assert(
      fc.property(anyCharge, (change) => {
        const charge = { ...paid, ...change };
        const { verdict } = decide(charge, agreed);
        if (charge.status === 'successful' || charge.paid) {
          expect(verdict).not.toBe('ended');
        }
      }),
    );
  });
});
