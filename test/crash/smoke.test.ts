import { afterAll, beforeAll, test } from 'vitest';
import type { Failpoint } from '../../src/platform/failpoints.ts';
import { Cell, type CellPlan } from './cell.ts';
import { halves, nameOf } from './matrix.ts';
import { type CrashStage, openCrashStage } from './stage.ts';

/** A few cells of the crash matrix, for every day; `npm run test:crash` runs all of them. */

let stage: CrashStage;
beforeAll(async () => {
  stage = await openCrashStage();
});
afterAll(() => stage?.close());

const scenarios = Object.values(halves).flat();

/** The first story that comes past the point. */
function plan(point: Failpoint, kind: CellPlan['kind'], replicas: CellPlan['replicas']): CellPlan {
  const scenario = scenarios.find(({ points }) => points.includes(point));
  if (!scenario) throw new Error(`no story comes past ${point}`);
  return { scenario, point, kind, replicas };
}

const plans = [
  plan('workflows.return.after_post', 'throw', 2),
  plan('platform.idempotency.before_commit', 'throw', 2),
  plan('workflows.dispatch.after_call', 'hang', 2),
  plan('payments.converge.after_read', 'hang', 2),
  plan('workflows.start.after_commit', 'kill', 2),
  plan('payments.charge.after_create', 'kill', 1),
  plan('platform.webhooks.after_call', 'kill', 2),
];

// REQ E7.1 E7.3 E8.2
test.each(plans.map((one) => [nameOf(one), one] as const))(
  '%s',
  async (_name, one) => {
    await Cell.run(stage, one);
  },
  240_000,
);
