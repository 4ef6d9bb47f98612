alter table payments.orders add column prices jsonb default '[]' not null;
alter table payments.purchases
  alter column package_id drop not null,
  add column order_id uuid,
  add column order_session text,
  add constraint purchases_order_id_orders_id_fk foreign key (order_id) references payments.orders (id),
  add constraint purchases_of_what check ((package_id is null) = (order_id is not null)),
  add constraint purchases_order_session check (order_session is null or order_id is not null and length(order_session) <= 64);
create unique index purchases_order on payments.purchases (order_id) where state = 'pending' and order_id is not null;

-- What was offered stays as it was offered, and what was paid as it was agreed to.
create function payments.keep_orders() returns trigger language plpgsql
  set search_path = pg_catalog, pg_temp as $$
begin
  if (new.id, new.order_id, new.merchant_id, new.resource, new.summary, new.price, new.prices, new.max_sessions,
      new.refund_policy, new.has_token, new.proposal_hash, new.created_at, new.pay_deadline, new.refund_deadline)
    is distinct from
     (old.id, old.order_id, old.merchant_id, old.resource, old.summary, old.price, old.prices, old.max_sessions,
      old.refund_policy, old.has_token, old.proposal_hash, old.created_at, old.pay_deadline, old.refund_deadline)
    or (new.fulfillment_url, new.fulfillment_message, new.public_reorder_url, new.extra, new.session_id)
    is distinct from (old.fulfillment_url, old.fulfillment_message, old.public_reorder_url, old.extra, old.session_id)
    or old.state = 'paid' and (new.state, new.claim_did, new.nonce, new.contract, new.h_contract, new.paid_at, new.payer_id)
    is distinct from (old.state, old.claim_did, old.nonce, old.contract, old.h_contract, old.paid_at, old.payer_id)
    or old.state = 'claimed' and new.state = 'claimed' and (new.claim_did, new.nonce, new.contract, new.h_contract)
    is distinct from (old.claim_did, old.nonce, old.contract, old.h_contract)
  then
    raise exception 'an order does not change what was agreed' using errcode = 'integrity_constraint_violation';
  end if;
  return new;
end
$$;
create trigger orders_frozen before update on payments.orders
  for each row execute function payments.keep_orders();
