import { creditsEvents } from './credits/index.ts';
import { paymentsEvents } from './payments/index.ts';
import { type EventTypes, platformEvents } from './platform/delivery/event-types.ts';
import { refundsEvents } from './refunds/index.ts';
import { workflowsEvents } from './workflows/index.ts';

/** Everything that an account can be told of, as each context says it. */
export const allEvents: EventTypes = {
  ...creditsEvents,
  ...paymentsEvents,
  ...workflowsEvents,
  ...refundsEvents,
  ...platformEvents,
};
