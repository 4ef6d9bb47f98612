import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

/** Parts that are built: each of their requirements must be proved by a test that names it. */
const BUILT = ['E', 'O', 'P', 'V', 'X'];

test('every requirement of a part that is built has at least one test', () => {
  const rows = [...readFileSync('docs/requirements.md', 'utf8').matchAll(/^\| ([A-Z][\d.]+) \| [^|]* \| (.*)\|$/gm)];
  const built = rows.filter(([, id = '']) => BUILT.includes(id[0] ?? ''));
  expect(built.length).toBe(86);
  const unproved = built.filter(([, , tests = '']) => !/\]\(\.\.\/(test|features)\//.test(tests)).map(([, id]) => id);
  expect(unproved).toEqual([]);
});

const upTo = (letters: string, n: number) => Array.from({ length: n }, (_, at) => `${letters}${at + 1}`);

/** What session-bound orders are asked to do: steps, addresses, pages, scenarios, requirements, and what had to be put right. */
const BEHAVIOURS = [
  ...[...upTo('SF', 9), ...upTo('BU', 4), 'SP1', ...upTo('SP2.', 3), ...upTo('SP3.', 2)],
  ...[...upTo('SC', 2), ...upTo('R', 5), ...upTo('A', 18)],
];

test('every behaviour of orders has a test that carries its name in its title', () => {
  const named = new Set(
    readdirSync('test', { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.test.ts'))
      .flatMap((file) => [...readFileSync(join('test', file), 'utf8').matchAll(/['`"]((?:[A-Z]+[\d.]+ ?)+): /g)])
      .flatMap(([, ids = '']) => ids.split(' ')),
  );
  expect(BEHAVIOURS.filter((id) => !named.has(id))).toEqual([]);
});
