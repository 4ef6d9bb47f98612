import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decide, type Facts } from '../../src/payments/requests/decide.ts';

const END = new Date('2026-11-22T12:00:00Z');
const [BEFORE, AFTER] = [new Date(END.getTime() - 1_000), new Date(END.getTime() + 1_000)];
const facts = (more: Partial<Facts> = {}): Facts => ({
  ...{
    amount: 10n,
    expiresAt: END,
    isAuthorized: true,
    isCancelled: false,
    takesLate: false,
    settled: [],
    givenBack: 0n,
    isWaiting: false,
    now: BEFORE,
  },
  ...more,
});
const paid = (amount: bigint, more: Partial<Facts['settled'][number]> = {}) => ({
  ...{ amount, at: BEFORE, isFinal: true },
  ...more,
});

test.each([
  ['nobody has agreed', { isAuthorized: false }, 'pending'],
  ['agreed to', {}, 'authenticated'],
  ['a transaction is on its way', { isWaiting: true }, 'submitted'],
  ['… still on its way after the end', { isWaiting: true, now: AFTER }, 'submitted'],
  ['not all of it', { settled: [paid(9n)] }, 'underpaid'],
  ['not all of it, and more on its way', { settled: [paid(9n)], isWaiting: true }, 'submitted'],
  ['not all of it by the end', { settled: [paid(9n)], now: AFTER }, 'expired'],
  ['all of it', { settled: [paid(10n)] }, 'completed'],
  ['in parts', { settled: [paid(4n), paid(6n)] }, 'completed'],
  ['more than all', { settled: [paid(99n)] }, 'completed'],
  ['at the very end', { settled: [paid(10n, { at: END })], now: AFTER }, 'completed'],
  ['all of it, and a part is not final', { settled: [paid(4n), paid(6n, { isFinal: false })] }, 'confirming'],
  ['in time, seen late', { settled: [paid(10n)], now: AFTER }, 'completed'],
  ['too late', { settled: [paid(10n, { at: AFTER })], now: AFTER }, 'late'],
  ['a part in time, the rest too late', { settled: [paid(4n), paid(6n, { at: AFTER })], now: AFTER }, 'late'],
  ['withdrawn', { isCancelled: true }, 'cancelled'],
  ['withdrawn, and paid in time all the same', { isCancelled: true, settled: [paid(10n)] }, 'completed'],
  ['nothing by the end', { now: AFTER }, 'expired'],
] as const)('%s', (_what, more, state) => {
  expect(decide(facts(more as Partial<Facts>))).toBe(state);
});

test('the order in which payments are learnt of decides nothing, and credits need the whole amount in time and final', () => {
  const part = fc.record({
    amount: fc.bigInt(1n, 12n),
    at: fc.constantFrom(BEFORE, END, AFTER),
    isFinal: fc.boolean(),
  });
  const any = fc.record({
    settled: fc.array(part, { maxLength: 5 }),
    isAuthorized: fc.boolean(),
    isCancelled: fc.boolean(),
    isWaiting: fc.boolean(),
    now: fc.constantFrom(BEFORE, AFTER),
  });
  fc.assert(
    fc.property(any, (one) => {
      const state = decide(facts(one));
      expect(decide(facts({ ...one, settled: one.settled.toReversed() }))).toBe(state);
      const inTime = one.settled.filter(({ at }) => at <= END);
      const isWhole = inTime.reduce((total, { amount }) => total + amount, 0n) >= 10n;
      expect(state === 'completed').toBe(isWhole && inTime.every(({ isFinal }) => isFinal));
    }),
  );
});
