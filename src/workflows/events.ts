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
  'workflows.run_awaiting_payment': 'run',
  'workflows.run_paused': 'run',
  'workflows.run_paid': 'run',
  'workflows.run_written_off': 'run',
  'workflows.run_expired': 'run',
  'workflows.ask_opened': 'ask',
  'workflows.ask_part_paid': 'ask',
  'workflows.ask_underpaid': 'ask',
  'workflows.ask_paid': 'ask',
  'workflows.ask_surplus': 'ask',
  'workflows.ask_expired': 'ask',
  'workflows.ask_released': 'ask',
  'workflows.ask_written_off': 'ask',
  'workflows.workflow_repriced': 'workflow',
  'workflows.nostr_key_linked': 'account',
} as const satisfies EventTypes;
