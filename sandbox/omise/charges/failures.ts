/** Failure codes and what the vendor says beside them; a code that is not here is its own message. */
export const FAILURES: Record<string, string> = {
  insufficient_fund: 'insufficient funds in the account or the card has reached the credit limit',
  insufficient_balance: 'insufficient funds in the account',
  stolen_or_lost_card: 'card is stolen or lost',
  failed_processing: 'the payment processing failed',
  payment_rejected: 'payment was rejected by the issuer or the acquirer with no specific reason',
  payment_cancelled: 'payment was cancelled by payer',
  failed_fraud_check: 'failed fraud check',
  invalid_account_number: 'no valid account found for payment method',
  invalid_security_code: 'the security code is invalid or card did not pass preauthorization',
  expired_card: 'the card has expired',
  confirmed_amount_mismatch: 'the final amount from payment channel mismatches with original amount',
  timeout: 'payer did not take action before the charge expiration',
};
