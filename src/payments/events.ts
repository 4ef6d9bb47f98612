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
  'payments.purchase_partially_refunded': 'purchase',
  'payments.purchase_refunded': 'purchase',
  'payments.payment_request_created': 'paymentRequest',
  'payments.payment_request_authentication_failed': 'paymentRequest',
  'payments.payment_request_authenticated': 'paymentRequest',
  'payments.payment_request_submitted': 'paymentRequest',
  'payments.payment_request_transaction_refused': 'paymentRequest',
  'payments.payment_request_underpaid': 'paymentRequest',
  'payments.payment_request_confirming': 'paymentRequest',
  'payments.payment_request_completed': 'paymentRequest',
  'payments.payment_request_reorged': 'paymentRequest',
  'payments.payment_request_late': 'paymentRequest',
  'payments.payment_request_expired': 'paymentRequest',
  'payments.payment_request_cancelled': 'paymentRequest',
} as const satisfies EventTypes;
