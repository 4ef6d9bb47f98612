/** Why a zap receipt is not taken for a payment. Each rule has codes of its own; the numbers are those of docs/lightning.md. */
export const RECEIPT_CODES = {
  malformed: { rule: 1, at: '', detail: 'It is not shaped as an event, or it is too large.' },
  wrong_kind: { rule: 1, at: '/kind', detail: 'It is not of kind 9735.' },
  signer_not_provider: { rule: 2, at: '/pubkey', detail: 'No provider that is trusted here signed it.' },
  bad_signature: { rule: 3, at: '/sig', detail: 'Its id or its signature is wrong.' },
  tag_count: { rule: 4, at: '/tags', detail: 'A tag is missing, or is there twice.' },
  wrong_recipient: { rule: 5, at: '/tags', detail: 'It is about a payment to somebody else.' },
  request_wrong_recipient: { rule: 5, at: '/tags', detail: 'The zap request is for somebody else.' },
  bad_description: { rule: 6, at: '/tags', detail: 'The description is no event.' },
  not_a_zap_request: { rule: 6, at: '/tags', detail: 'The description is not of kind 9734.' },
  bad_request_signature: { rule: 6, at: '/tags', detail: 'The id or the signature of the zap request is wrong.' },
  request_e_count: { rule: 7, at: '/tags', detail: 'The zap request does not name exactly one event.' },
  request_for_other_event: {
    rule: 7,
    at: '/tags',
    detail: 'The zap request names an event that asks for nothing here.',
  },
  receipt_e_differs: { rule: 7, at: '/tags', detail: 'The receipt names another event than its zap request.' },
  payer_mismatch: { rule: 8, at: '/tags', detail: 'The payer that it names is not the signer of the zap request.' },
  other_payer: { rule: 8, at: '/tags', detail: 'Somebody else was to pay.' },
  bad_invoice: { rule: 9, at: '/tags', detail: 'The invoice cannot be read.' },
  wrong_network: { rule: 9, at: '/tags', detail: 'The invoice is of another network than this installation.' },
  amountless_invoice: { rule: 9, at: '/tags', detail: 'The invoice names no amount.' },
  amount_differs: { rule: 10, at: '/tags', detail: 'An amount is not that of the invoice.' },
  description_hash_mismatch: { rule: 11, at: '/tags', detail: 'The invoice does not commit to this zap request.' },
  future: { rule: 13, at: '/created_at', detail: 'It is of a time that is still to come.' },
  too_old: { rule: 13, at: '/created_at', detail: 'It, or its invoice, is older than what was asked.' },
  replayed_payment: { rule: 14, at: '/tags', detail: 'This payment was counted before.' },
  other_lnurl: { rule: 16, at: '/tags', detail: 'The zap request was made for another address.' },
} as const satisfies Record<string, { rule: number; at: string; detail: string }>;

export type ReceiptCode = keyof typeof RECEIPT_CODES;

/** Whoever sent one that fails by these alone may really have paid: an operator gets to see it. */
export const QUARANTINED: ReadonlySet<ReceiptCode> = new Set([
  ...(['signer_not_provider', 'bad_invoice', 'description_hash_mismatch', 'future', 'too_old'] as const),
]);
