import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

/** Parts that are built: each of their requirements must be proved by a test that names it. */
const BUILT = ['E', 'P', 'V', 'X'];

test('every requirement of a part that is built has at least one test', () => {
  const rows = [...readFileSync('docs/requirements.md', 'utf8').matchAll(/^\| ([A-Z][\d.]+) \| [^|]* \| (.*)\|$/gm)];
  const built = rows.filter(([, id = '']) => BUILT.includes(id[0] ?? ''));
  expect(built.length).toBe(71);
  const unproved = built.filter(([, , tests = '']) => !/\]\(\.\.\/(test|features)\//.test(tests)).map(([, id]) => id);
  expect(unproved).toEqual([]);
});
