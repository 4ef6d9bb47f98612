import { afterAll, beforeAll, describe, test } from 'vitest';
import { Cell } from './cell.ts';
import { cellsOf, expectEveryPoint, halves, hasRelays, nameOf } from './matrix.ts';
import { type CrashStage, openCrashStage } from './stage.ts';

/**
 * Every named place of every saga × {killed, failing, standing still} × {one, two replicas}: the story goes on to its end,
 * the books are right, and outside of Farebox everything has happened exactly once. `ONLY=…` runs the cells whose name
 * holds that text.
 */

const only = process.env['ONLY'] ?? '';
const plans = Object.entries(halves).map(([half, scenarios]) => ({
  half,
  cells: cellsOf(scenarios).filter((plan) => nameOf(plan).includes(only)),
}));
const passed = new Map<string, number>();

test('every failpoint has its cells', expectEveryPoint);

for (const { half, cells } of plans.filter((one) => one.cells.length > 0)) {
  describe.concurrent(half, () => {
    let stage: CrashStage | undefined;
    beforeAll(async () => {
      stage = await openCrashStage({ hasRelays: hasRelays(half) });
    });
    afterAll(async () => {
      await stage?.close();
      console.log(`crash matrix, ${half}: ${passed.get(half) ?? 0} of ${cells.length} cells green`);
    });
    // REQ E7.1 E7.2 E7.3 E8.2
    describe('whatever dies', { concurrent: false }, () => {
      test.each(cells.map((plan) => [nameOf(plan), plan] as const))('%s', async (_name, plan) => {
        if (stage) await Cell.run(stage, plan);
        passed.set(half, (passed.get(half) ?? 0) + 1);
      });
    });
  });
}

afterAll(() => {
  const all = plans.reduce((sum, { cells }) => sum + cells.length, 0);
  const green = [...passed.values()].reduce((sum, n) => sum + n, 0);
  console.log(`crash matrix: ${green} of ${all} cells green`);
});
