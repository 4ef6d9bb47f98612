import type { EventTypes } from '../platform/delivery/event-types.ts';

/** What this context tells accounts of. */
export const creditsEvents = {
  'credits.granted': 'grant',
  'credits.adjusted': 'adjustment',
} as const satisfies EventTypes;
