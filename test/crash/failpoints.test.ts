import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { settingsTable } from '../../src/platform/config.ts';
import { FAILPOINTS, failpoint } from '../../src/platform/failpoints.ts';
import { expectEveryPoint } from './matrix.ts';

const sources = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts') && path !== 'platform/failpoints.ts')
  .map((path) => readFileSync(`src/${path}`, 'utf8'));
const called = sources.flatMap((text) => [...text.matchAll(/\bfailpoint\('([^']+)'\)/g)].map(([, name]) => name));

describe('failpoints', () => {
  test('each declared name is called at one place, and each call names a declared one', () => {
    expect(called.toSorted()).toEqual([...FAILPOINTS].toSorted());
  });

  test('each has its cells in the crash matrix', expectEveryPoint);

  test('are nothing when nobody has set a trap', () => {
    for (const name of FAILPOINTS) expect(failpoint(name)).toBeUndefined();
  });

  test('cannot be armed by the product: no setting speaks of them, and no source sets a trap', () => {
    expect(settingsTable().filter(({ name }) => /fail.?point|trap|crash/i.test(name))).toEqual([]);
    expect(sources.filter((text) => /setTrap/.test(text))).toEqual([]);
  });
});
