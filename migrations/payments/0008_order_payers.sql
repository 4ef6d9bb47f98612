-- Whoever takes an order that somebody else has given up pays by a purchase of their own, and not by the one that is left.
drop index payments.purchases_order;
create unique index purchases_order on payments.purchases (order_id, account_id)
  where state = 'pending' and order_id is not null;
-- To and fro between two browsers is moving about, too.
alter table payments.order_sessions
  add column moves integer default 1 not null,
  add constraint order_sessions_moves check (moves > 0);
