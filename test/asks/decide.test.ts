import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decideSettlement, type Facts } from '../../src/workflows/asks/decide.ts';

const facts: fc.Arbitrary<Facts> = fc
  .record({
    state: fc.constantFrom('open', 'part_paid', 'paid', 'expired', 'written_off', 'released'),
    amount: fc.bigInt({ min: 1n, max: 1_000n }),
    part: fc.double({ min: 0, max: 0.999, noNaN: true }),
    underpay: fc.constantFrom('reject', 'accumulate'),
    credits: fc.bigInt({ min: 1n, max: 2_000n }),
    isInTime: fc.boolean(),
  })
  .map(({ part, ...more }) => {
    const some = BigInt(Math.floor(Number(more.amount) * part));
    const received =
      more.state === 'paid' ? more.amount : more.state === 'part_paid' || more.state === 'written_off' ? some : 0n;
    return { ...more, received };
  });

// REQ V5
test('whatever comes, and whenever: nothing of it is lost, nothing beyond the price is kept, and only all of it pays', () => {
  fc.assert(
    fc.property(facts, (given) => {
      const { keep, release, state, what } = decideSettlement(given);
      const wanted = ['open', 'part_paid', 'written_off'].includes(given.state) && given.isInTime;
      expect(keep + release).toBe(given.credits);
      expect(keep >= 0n && release >= 0n).toBe(true);
      expect(given.received + keep <= given.amount).toBe(true);
      expect(what === 'paid').toBe(wanted && given.received + given.credits >= given.amount);
      expect(state === 'paid').toBe(what === 'paid' || given.state === 'paid');
      if (!wanted) expect({ keep, state }).toEqual({ keep: 0n, state: given.state });
      if (given.underpay === 'reject' && what !== 'paid') expect(keep).toBe(0n);
      if (state === 'open') expect(given.received + keep).toBe(0n);
    }),
  );
});
