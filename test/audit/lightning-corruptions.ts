import type { Corruption } from './ledger-corruptions.ts';

const paid = "(select id from payments.invoices where state = 'paid' limit 1)";

export const lightningCorruptions: Corruption[] = [
  [
    'an invoice that was paid by hand',
    `update payments.invoices set state = 'paid', received_msat = amount_msat, settled_at = now() where state = 'open'`,
    ['P50'],
  ],
  ['a claim of an invoice that vanished', "delete from payments.claims where rail = 'lightning'", ['P06', 'P50']],
  [
    'an invoice that paid another purchase',
    `update payments.invoices set purchase_id = (select id from payments.purchases where method = 'promptpay' limit 1) where id = ${paid}`,
    ['P06', 'P50'],
  ],
  [
    'a surplus that is written down nowhere',
    `update payments.invoices set received_msat = amount_msat + 1 where id = ${paid}`,
    ['P51'],
  ],
  [
    'an invoice that nobody looks at any more',
    "update payments.invoices set next_check_at = now() - interval '16 minutes' where state = 'open'",
    ['P52'],
  ],
];
