import type { Check, Walk } from '../../platform/audit/check.ts';

/** What must hold of invoices, and between them and what they pay. */

const invoices: Walk = { name: 'invoices', table: 'payments.invoices', as: 'i', key: [['id', 'uuid']] };

export const invoicesChecks: Check[] = [
  {
    id: 'P50',
    rule: 'An invoice that was paid is the claim by which its purchase was credited',
    over: invoices,
    broken: `i.state = 'paid' and (select k.purchase_id = i.purchase_id from payments.claims k
        where k.rail = 'lightning' and k.reference = i.payment_hash) is not true`,
    money: true,
  },
  {
    id: 'P51',
    rule: 'No money is lost: what came otherwise than agreed is written down as a difference',
    over: invoices,
    broken: `(i.state = 'review' or i.state = 'paid' and i.received_msat > i.amount_msat) and (
      select d.kind from payments.differences d where d.reference = i.payment_hash limit 1) is null`,
    money: true,
  },
  {
    id: 'P52',
    rule: 'No invoice that is due was left alone for fifteen minutes',
    over: invoices,
    broken: `coalesce(i.next_check_at < now() - interval '15 minutes', false)`,
    only: 'live',
  },
];
