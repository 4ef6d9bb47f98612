create table payments.arrivals (
  rail text not null,
  key text not null,
  id uuid not null,
  account_id uuid not null,
  credits bigint not null,
  held bigint default 0 not null,
  for_type text,
  for_id uuid,
  purchase_id uuid,
  evidence jsonb default '{}' not null,
  created_at timestamptz default now() not null,
  constraint arrivals_pkey primary key (rail, key),
  constraint arrivals_purchase_id_purchases_id_fk foreign key (purchase_id) references payments.purchases (id),
  constraint arrivals_credits check (credits > 0),
  constraint arrivals_held check (held between 0 and credits),
  constraint arrivals_purpose check ((for_type is null) = (for_id is null) and (for_id is not null or held = 0)),
  constraint arrivals_key check (length(key) between 1 and 200)
);
create unique index arrivals_id on payments.arrivals (id);
create index arrivals_purpose on payments.arrivals (for_type, for_id, created_at);
create index arrivals_purchase on payments.arrivals (purchase_id) where purchase_id is not null;

alter table payments.purchases
  add column for_type text,
  add column for_id uuid,
  drop constraint purchases_of_what,
  add constraint purchases_of_what check (num_nonnulls(package_id, order_id, for_id) = 1 and (for_type is null) = (for_id is null));
create unique index purchases_purpose on payments.purchases (for_type, for_id) where state = 'pending' and for_id is not null;

-- Money that has come stays what it was; what was set aside for it is known a moment later, in the same transaction.
create function payments.keep_arrivals() returns trigger language plpgsql
  set search_path = pg_catalog, pg_temp as $$
begin
  if (new.rail, new.key, new.id, new.account_id, new.credits, new.for_type, new.for_id, new.purchase_id, new.evidence, new.created_at)
    is distinct from
     (old.rail, old.key, old.id, old.account_id, old.credits, old.for_type, old.for_id, old.purchase_id, old.evidence, old.created_at)
    or old.held <> 0
  then
    raise exception 'an arrival does not change' using errcode = 'integrity_constraint_violation';
  end if;
  return new;
end
$$;
create trigger arrivals_frozen before update on payments.arrivals
  for each row execute function payments.keep_arrivals();
