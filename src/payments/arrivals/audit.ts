import type { Check, Walk } from '../../platform/audit/check.ts';

/** What must hold of money that arrived for something. */

const arrivals: Walk = {
  name: 'arrivals',
  table: 'payments.arrivals',
  as: 'v',
  key: [
    ['rail', 'text'],
    ['key', 'text'],
  ],
};

export const arrivalsChecks: Check[] = [
  {
    id: 'P40',
    rule: 'What arrived for something was set aside for that, on the account of whoever paid',
    over: arrivals,
    broken: `v.held > 0 and (select (h.amount, h.for_type, h.for_id) = (v.held, v.for_type, v.for_id)
      from credits.holds h where h.account_id = v.account_id and h.id = v.id) is not true`,
    money: true,
  },
  {
    id: 'P41',
    rule: 'What arrived was credited once: by itself, or by the purchase that it names',
    over: arrivals,
    broken: `(select t.amount from credits.transfers t where t.account_id = v.account_id and t.ref_type = 'arrival' and t.ref_id = v.id and t.kind = 'purchase')
        is distinct from case when v.purchase_id is null then v.credits end
      or v.purchase_id is not null and (select (p.account_id, p.credits, p.for_type, p.for_id) = (v.account_id, v.credits, v.for_type, v.for_id)
        from payments.purchases p where p.id = v.purchase_id) is not true`,
    money: true,
  },
];
