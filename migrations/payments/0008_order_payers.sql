-- Whoever takes an order that somebody else has given up pays by a purchase of their own, and not by the one that is left.
drop index payments.purchases_order;
create unique index purchases_order on payments.purchases (order_id, account_id)
  where state = 'pending' and order_id is not null;
