import type { EventTypes } from '../platform/delivery/event-types.ts';

/** What this context tells accounts of. */
export const paymentsEvents = {
  'payments.charge_opened': 'purchase',
  'payments.charge_ended': 'purchase',
  'payments.purchase_pending': 'purchase',
  'payments.purchase_completed': 'purchase',
  'payments.purchase_failed': 'purchase',
  'payments.purchase_expired': 'purchase',
  'payments.purchase_cancelled': 'purchase',
  'payments.purchase_review': 'purchase',
} as const satisfies EventTypes;
