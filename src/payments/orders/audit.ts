import { transfers } from '../../credits/index.ts';
import type { Check, Walk } from '../../platform/audit/check.ts';

/** What must hold of orders, and between them and the ledger. */

const orders: Walk = { name: 'orders', table: 'payments.orders', as: 'o', key: [['id', 'uuid']] };

/** Of the order's own hold: what was set aside for it, and taken. */
const moved = (kind: 'hold' | 'capture') => `(
  select sum(t.amount) from credits.transfers t
  where t.account_id = o.payer_id and t.ref_type = 'order' and t.ref_id = o.id and t.kind = '${kind}')`;

export const ordersChecks: Check[] = [
  {
    id: 'P27',
    rule: 'A paid order has taken its price from the account that it names, once',
    over: orders,
    broken: `o.state = 'paid' and (${moved('hold')} is distinct from o.price or ${moved('capture')} is distinct from o.price)`,
    money: true,
  },
  {
    id: 'P28',
    rule: 'Credits that an order took are those of an order that is paid, by that account',
    over: transfers,
    broken: `t.ref_type = 'order' and (
      select o.state = 'paid' and o.payer_id = t.account_id from payments.orders o where o.id = t.ref_id) is not true`,
    money: true,
  },
  {
    id: 'P29',
    rule: 'The contract of an order says what the order says, and was taken by the wallet that it names',
    over: orders,
    broken: `o.contract is not null and (
      o.contract::jsonb ->> 'order_id', o.contract::jsonb ->> 'amount', o.contract::jsonb ->> 'wallet', o.contract::jsonb ->> 'nonce',
      o.contract::jsonb ->> 'resource')
      is distinct from (o.order_id, 'CREDITS:' || o.price, o.claim_did, o.nonce, o.resource)`,
  },
  {
    id: 'P30',
    rule: 'An order is open to no more sessions than its shop allows, and to none before it is paid',
    over: orders,
    broken: `(select count(*) from payments.order_sessions s where s.order_id = o.id and s.evicted_at is null)
      > case o.state when 'paid' then o.max_sessions else 0 end`,
  },
];
