import { expect } from 'vitest';
import { FAILPOINTS } from '../../src/platform/failpoints.ts';
import type { Kind } from '../harness/failpoints-in-child.ts';
import { askScenarios } from './ask-scenarios.ts';
import type { CellPlan } from './cell.ts';
import { dvmScenarios } from './dvm-scenarios.ts';
import { identityScenarios } from './identity-scenarios.ts';
import { lightningScenarios } from './lightning-scenarios.ts';
import { orderScenarios } from './order-scenarios.ts';
import { paymentScenarios } from './payment-scenarios.ts';
import { platformScenarios } from './platform-scenarios.ts';
import { purchaseScenarios } from './purchase-scenarios.ts';
import { refundScenarios } from './refund-scenarios.ts';
import { requestScenarios, requestScenariosHere } from './request-scenarios.ts';
import { runScenarios } from './run-scenarios.ts';
import { webhookScenarios } from './webhook-scenarios.ts';

const KINDS: Kind[] = ['kill', 'throw', 'hang'];

/** Two halves of about the same length, and what comes over relays, each with a stage of its own, side by side. */
export const halves = {
  'what is bought': [...purchaseScenarios, ...paymentScenarios, ...refundScenarios, ...requestScenariosHere],
  'what is run': [
    ...runScenarios,
    ...platformScenarios,
    ...identityScenarios,
    ...webhookScenarios,
    ...orderScenarios,
    ...askScenarios,
    ...lightningScenarios,
  ],
  'what is asked for over relays': dvmScenarios,
};

/** Only where they are needed: whoever has relays listens to them all the time. */
export const hasRelays = (half: string): boolean => half === 'what is asked for over relays';

/** Every point of every scenario, by every fault, with one replica and with two: those with one come first. */
export const cellsOf = (scenarios: CellPlan['scenario'][]): CellPlan[] =>
  ([1, 2] as const).flatMap((replicas) =>
    scenarios.flatMap((scenario) =>
      scenario.points.flatMap((point) => KINDS.map((kind) => ({ scenario, point, kind, replicas }))),
    ),
  );

export const nameOf = ({ scenario, point, kind, replicas }: CellPlan): string =>
  `${scenario.name}: ${kind} at ${point}, ${replicas === 1 ? 'one replica' : 'two replicas'}`;

/** No name without a story that comes past it. */
export function expectEveryPoint(): void {
  const all = [...Object.values(halves).flat(), ...requestScenarios];
  const reached = new Set(all.flatMap(({ points }) => [...points]));
  expect(FAILPOINTS.filter((name) => !reached.has(name))).toEqual([]);
}
