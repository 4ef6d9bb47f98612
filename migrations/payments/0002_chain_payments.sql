create table payments.chain_cursors (
  chain text primary key,
  next_block bigint not null
);
create table payments.package_prices (
  package_id uuid not null references payments.packages (id),
  asset text not null,
  amount numeric(78, 0) not null,
  constraint package_prices_pkey primary key (package_id,asset)
);
alter table payments.payment_requests alter column merchant_id drop not null;
alter table payments.payment_requests
  add column purchase_id uuid references payments.purchases (id),
  add column late text default 'refundable' not null;
create unique index payment_requests_purchase on payments.payment_requests (purchase_id);
create index payment_requests_payer_did on payments.payment_requests (payer_did,created_at,id);

-- By hand: what drizzle-kit cannot say.
alter table payments.chain_cursors add constraint chain_cursors_next_block check (next_block >= 0);
alter table payments.package_prices add constraint package_prices_amount check (amount > 0);
alter table payments.payment_requests
  add constraint payment_requests_late check (late in ('accepted', 'refundable')),
  -- A merchant asks, or the house does for a purchase: of credits, by the buyer.
  add constraint payment_requests_asker check (
    (merchant_id is null) = (purchase_id is not null) and (purchase_id is null or purpose = 'credits'));

-- The terms are frozen: what the payer signed is what is checked.
create or replace function payments.keep_terms() returns trigger language plpgsql
  set search_path = pg_catalog, pg_temp as $$
begin
  if (new.id, new.merchant_id, new.purchase_id, new.payer_did, new.chain, new.asset, new.recipient, new.amount, new.purpose,
      new.credits, new.reference, new.late, new.terms, new.terms_hash, new.expires_at)
    is distinct from (old.id, old.merchant_id, old.purchase_id, old.payer_did, old.chain, old.asset, old.recipient, old.amount,
      old.purpose, old.credits, old.reference, old.late, old.terms, old.terms_hash, old.expires_at)
    or (old.authorized_at is not null and (new.authorized_at, new.challenge_id, new.payer_account_id)
      is distinct from (old.authorized_at, old.challenge_id, old.payer_account_id)) then
    raise exception 'the terms of a payment request are frozen' using errcode = 'restrict_violation';
  end if;
  return new;
end
$$;
