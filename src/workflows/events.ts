import type { EventTypes } from '../platform/delivery/event-types.ts';

/** What this context tells accounts of. */
export const workflowsEvents = {
  'workflows.run_queued': 'run',
  'workflows.run_dispatched': 'run',
  'workflows.run_requeued': 'run',
  'workflows.run_progressed': 'run',
  'workflows.run_part_added': 'run',
  'workflows.run_succeeded': 'run',
  'workflows.run_failed': 'run',
  'workflows.run_cancelled': 'run',
  'workflows.run_refunded': 'run',
  'workflows.workflow_repriced': 'workflow',
} as const satisfies EventTypes;
