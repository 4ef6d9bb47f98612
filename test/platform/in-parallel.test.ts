import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { inParallel } from '../../src/platform/delivery/in-parallel.ts';
import { eventually } from '../harness/client.ts';

/** A list that a few hands work through. */

const items = Array.from({ length: 20 }, (_, n) => n);

test('a list is done once each, by as many hands as there are and no more', async () => {
  for (const hands of [1, 3, 50]) {
    const done: number[] = [];
    let atWork = 0;
    let most = 0;
    await inParallel(items, hands, async (item) => {
      atWork += 1;
      most = Math.max(most, atWork);
      await sleep(item % 3);
      atWork -= 1;
      done.push(item);
    });
    expect(most).toBe(Math.min(hands, items.length));
    expect(done.toSorted((a, b) => a - b)).toEqual(items);
  }
  await inParallel([], 3, () => Promise.reject(new Error('there is nothing')));
});

test('an item that takes long holds up its own hand only', async () => {
  const end = Promise.withResolvers<void>();
  const done: number[] = [];
  const all = inParallel(items, 2, async (item) => {
    if (item === 0) await end.promise;
    done.push(item);
  });
  await eventually(
    async () => done.length,
    (n) => n === items.length - 1,
  );
  end.resolve();
  await all;
  expect(done.at(-1)).toBe(0);
});

// One that was thrown before the first await used to end everything at once, with the others still at work.
test.each([
  ['later', async (item: number) => sleep(1).then(() => Promise.reject(new Error(`item ${item}`)))],
  [
    'at once',
    (item: number): Promise<void> => {
      throw new Error(`item ${item}`);
    },
  ],
])('a fault of some, thrown %s, stops none of the others, and the first is thrown at the end', async (_, fail) => {
  const done: number[] = [];
  const faulty = inParallel(items, 3, (item) =>
    item % 5 === 1
      ? fail(item)
      : sleep(2).then(() => {
          done.push(item);
        }),
  );
  await expect(faulty).rejects.toThrow('item 1');
  expect(done.toSorted((a, b) => a - b)).toEqual(items.filter((item) => item % 5 !== 1));
});

test('an item may be nothing', async () => {
  const done: unknown[] = [];
  await inParallel([1, undefined, null, 0, 2], 1, async (item) => void done.push(item));
  expect(done).toEqual([1, undefined, null, 0, 2]);
});
