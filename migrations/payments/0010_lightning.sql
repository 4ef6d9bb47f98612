create table payments.lightning_prices (
  package_id uuid primary key,
  amount_msat bigint not null,
  constraint lightning_prices_package_id_packages_id_fk foreign key (package_id) references payments.packages (id),
  constraint lightning_prices_amount check (amount_msat between 1 and 2100000000000000)
);

create table payments.invoices (
  id uuid primary key,
  purchase_id uuid not null,
  amount_msat bigint not null,
  state text default 'creating' not null,
  bolt11 text,
  payment_hash text,
  received_msat bigint,
  created_at timestamp with time zone default now() not null,
  expires_at timestamp with time zone,
  settled_at timestamp with time zone,
  next_check_at timestamp with time zone,
  checks integer default 0 not null,
  constraint invoices_purchase_id_purchases_id_fk foreign key (purchase_id) references payments.purchases (id),
  constraint invoices_state check (state in ('creating', 'open', 'paid', 'expired', 'abandoned', 'review')),
  constraint invoices_amount check (amount_msat > 0 and received_msat >= 0),
  constraint invoices_hash check (payment_hash ~ '^[0-9a-f]{64}$'),
  constraint invoices_seen check (
    (state in ('creating', 'abandoned')) = (payment_hash is null) and (payment_hash is null) = (bolt11 is null)
    and (payment_hash is null) = (expires_at is null)),
  constraint invoices_paid check (
    (state in ('paid', 'review')) = (settled_at is not null) and (settled_at is null) = (received_msat is null)
    and (state <> 'paid' or received_msat >= amount_msat))
);
create unique index invoices_payment_hash on payments.invoices (payment_hash);
create unique index invoices_live on payments.invoices (purchase_id) where state in ('creating', 'open');
create index invoices_purchase on payments.invoices (purchase_id, created_at);
create index invoices_due on payments.invoices (next_check_at) where next_check_at is not null;

alter table payments.claims
  drop constraint claims_rail,
  add constraint claims_rail check (rail in ('omise', 'operator', 'lightning'));

-- What a payer was shown stays as it was shown, and money that came is not forgotten.
create function payments.keep_invoices() returns trigger language plpgsql
  set search_path = pg_catalog, pg_temp as $$
begin
  if (new.id, new.purchase_id, new.amount_msat, new.created_at) is distinct from (old.id, old.purchase_id, old.amount_msat, old.created_at)
    or old.payment_hash is not null and (new.payment_hash, new.bolt11, new.expires_at)
      is distinct from (old.payment_hash, old.bolt11, old.expires_at)
    or old.state in ('paid', 'review') and (new.state, new.received_msat, new.settled_at)
      is distinct from (old.state, old.received_msat, old.settled_at)
  then
    raise exception 'an invoice that was shown or paid does not change' using errcode = 'integrity_constraint_violation';
  end if;
  return new;
end
$$;
create trigger invoices_frozen before update on payments.invoices
  for each row execute function payments.keep_invoices();
