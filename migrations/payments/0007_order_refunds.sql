alter table payments.orders
  add column refund_credits bigint default 0 not null,
  add constraint orders_refund check (refund_credits between refunded_credits and price);
