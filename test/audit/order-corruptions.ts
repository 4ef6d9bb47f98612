import type { Corruption } from './ledger-corruptions.ts';

const paid = "(select id from payments.orders where state = 'paid' limit 1)";
export const orderCorruptions: Corruption[] = [
  [
    'an order that was paid by hand',
    `update payments.orders set state = 'paid', paid_at = now(), payer_id = gen_random_uuid() where state = 'claimed'`,
    ['P27'],
  ],
  [
    'an order that was paid by somebody else',
    `update payments.orders set payer_id = gen_random_uuid() where id = ${paid}`,
    ['P27', 'P28'],
  ],
  [
    'an order whose price was changed',
    `update payments.orders set price = price + 1 where id = ${paid}`,
    ['P27', 'P29'],
  ],
  [
    'a contract that says something else',
    `update payments.orders set contract = replace(contract, '"nonce":"', '"nonce":"x') where id = ${paid}`,
    ['P29'],
  ],
  [
    'an order that was given back by hand',
    `update payments.orders set refund_credits = 1, refunded_credits = 1 where id = ${paid}`,
    ['R14'],
  ],
  [
    'a session that was let in by hand',
    `insert into payments.order_sessions (order_id, session_id) values (${paid}, 'somebody-else')`,
    ['P30'],
  ],
];
