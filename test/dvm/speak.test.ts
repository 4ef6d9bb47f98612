import { expect, test } from 'vitest';
import { type Standing, speak } from '../../src/workflows/dvm/speak.ts';

/** What is said of a job, where it hangs on a moment that no test over relays meets for certain. */

const run = {
  state: 'awaiting_payment',
  output: null,
  failureMessage: null,
  returned: 0n,
  paid: 0n,
  attempt: 0,
} as const;
const ask = { id: 'ask', kind: 'start', state: 'open', amount: 30n, received: 0n, underpay: 'reject' } as const;
const before = { isProcessing: false, asked: 'ask 30', parts: 0 };
const said = (more: Partial<NonNullable<Standing['ask']>>) =>
  speak({ run: { ...run, quote: null }, ask: { ...ask, surplus: 30n, isLate: false, ...more }, parts: [] }, before);

test('money that came too late is not told to be too little: that its time is over is told when it has ended', () => {
  expect(said({ isLate: true })).toMatchObject({ words: [], isOver: false, cancels: false });
  const [word] = said({ surplus: 20n }).words;
  expect(word).toMatchObject({
    status: 'error',
    info: expect.stringMatching(/^Insufficient payment: 20 of 30 credits/),
  });
});
