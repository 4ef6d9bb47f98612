import type { EventTypes } from '../platform/delivery/event-types.ts';

/** What this context tells accounts of. */
export const refundsEvents = {
  'refunds.refund_requested': 'refund',
  'refunds.refund_awaiting_approval': 'refund',
  'refunds.refund_reserved': 'refund',
  'refunds.refund_sending': 'refund',
  'refunds.refund_completed': 'refund',
  'refunds.refund_rejected': 'refund',
  'refunds.refund_failed': 'refund',
  'refunds.purchase_clawed_back': 'purchase',
  'refunds.purchase_restored': 'purchase',
} as const satisfies EventTypes;
