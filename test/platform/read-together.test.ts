import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { readTogether } from '../../src/platform/database/read-together.ts';

/** A reader whose statements end when the test says so. */
function gated() {
  const statements: { keys: string[]; end(): void; fail(fault: Error): void }[] = [];
  const find = readTogether(
    (keys) =>
      new Promise<Map<string, string>>((resolve, reject) => {
        const rows = new Map(keys.filter((key) => key !== 'nobody').map((key) => [key, `row of ${key}`]));
        statements.push({ keys, end: () => resolve(rows), fail: reject });
      }),
  );
  return { find, statements };
}
const turn = () => sleep(1);

test('look-ups of one turn share a statement, and each gets its own row, or nothing', async () => {
  const { find, statements } = gated();
  const rows = Promise.all(['a', 'b', 'nobody', 'a'].map(find));
  await turn();
  expect(statements.map(({ keys }) => keys)).toEqual([['a', 'b', 'nobody']]);
  statements[0]?.end();
  expect(await rows).toEqual(['row of a', 'row of b', undefined, 'row of a']);
});

test('a look-up never joins a statement that is under way: it could have read before the last write', async () => {
  const { find, statements } = gated();
  const early = find('a');
  await turn();
  const late = find('a');
  await turn();
  expect(statements.map(({ keys }) => keys)).toEqual([['a'], ['a']]);
  let isLateDone = false;
  void late.then(() => {
    isLateDone = true;
  });
  statements[0]?.end();
  expect(await early).toBe('row of a');
  await turn();
  expect(isLateDone).toBe(false);
  statements[1]?.end();
  expect(await late).toBe('row of a');
});

test('two statements at a time; what comes meanwhile goes together, sixty-four at most', async () => {
  const { find, statements } = gated();
  const all: Promise<unknown>[] = [];
  for (const first of ['x', 'y']) {
    all.push(find(first));
    await turn();
  }
  for (let n = 0; n < 100; n += 1) all.push(find(`k${n}`));
  await turn();
  expect(statements.map(({ keys }) => keys.length)).toEqual([1, 1]);
  for (let n = 0; n < 4; n += 1) {
    statements[n]?.end();
    await turn();
  }
  expect(statements.map(({ keys }) => keys.length)).toEqual([1, 1, 64, 36]);
  expect(await Promise.all(all)).toHaveLength(102);
});

test('a statement that fails fails those who shared it, and nobody else', async () => {
  const { find, statements } = gated();
  const unlucky = ['a', 'b'].map((key) => find(key).catch((fault: Error) => fault.message));
  await turn();
  const lucky = find('a');
  await turn();
  statements[0]?.fail(new Error('gone'));
  statements[1]?.end();
  expect(await Promise.all(unlucky)).toEqual(['gone', 'gone']);
  expect(await lucky).toBe('row of a');
});
