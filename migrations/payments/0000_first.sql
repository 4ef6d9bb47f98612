create table payments.charges (
  attempt_id uuid primary key,
  purchase_id uuid not null,
  method text not null,
  state text not null default 'creating',
  charge_id text,
  authorize_uri text,
  qr_uri text,
  failure_code text,
  failure_message text,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  next_check_at timestamptz,
  checks integer not null default 0
);

create table payments.claims (
  rail text not null,
  reference text not null,
  purchase_id uuid not null,
  amount bigint not null,
  currency text not null,
  created_at timestamptz not null default now(),
  constraint claims_pkey primary key(rail,reference)
);

create table payments.differences (
  kind text not null,
  reference text not null,
  purchase_id uuid,
  detail jsonb not null default '{}'::jsonb,
  found_at timestamptz not null default now(),
  resolved_at timestamptz,
  constraint differences_pkey primary key(kind,reference)
);

create table payments.history (
  seq bigint primary key generated always as identity,
  purchase_id uuid not null,
  at timestamptz not null default now(),
  actor text not null,
  what text not null,
  charge_id text,
  detail jsonb not null default '{}'::jsonb
);

create table payments.packages (
  id uuid primary key,
  name text not null,
  description text not null default '',
  credits bigint not null,
  price bigint not null,
  currency text not null,
  active boolean not null default true,
  created_at timestamptz not null default now()
);

create table payments.purchases (
  id uuid primary key,
  account_id uuid not null,
  package_id uuid not null,
  package_name text not null,
  credits bigint not null,
  price bigint not null,
  currency text not null,
  livemode boolean not null,
  method text not null,
  state text not null default 'pending',
  failure_code text,
  failure_message text,
  page_token text not null,
  return_uri text,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  completed_at timestamptz
);

create table payments.watermarks (
  name text primary key,
  at timestamptz not null
);

create table payments.webhook_inbox (
  event_id text primary key,
  key text not null,
  charge_id text,
  claimed_status text,
  body_hash bytea not null,
  state text not null default 'received',
  outcome text,
  attempts integer not null default 0,
  received_at timestamptz not null default now(),
  next_attempt_at timestamptz not null default now()
);

alter table payments.charges add constraint charges_purchase_id_purchases_id_fk foreign key (purchase_id) references payments.purchases(id);
alter table payments.claims add constraint claims_purchase_id_purchases_id_fk foreign key (purchase_id) references payments.purchases(id);
alter table payments.differences add constraint differences_purchase_id_purchases_id_fk foreign key (purchase_id) references payments.purchases(id);
alter table payments.history add constraint history_purchase_id_purchases_id_fk foreign key (purchase_id) references payments.purchases(id);
alter table payments.purchases add constraint purchases_package_id_packages_id_fk foreign key (package_id) references payments.packages(id);
create unique index charges_charge_id on payments.charges (charge_id);
create index charges_purchase on payments.charges (purchase_id);
create index charges_due on payments.charges (next_check_at) where next_check_at is not null;
create unique index claims_purchase on payments.claims (purchase_id);
create index differences_open on payments.differences (found_at) where resolved_at is null;
create index history_purchase on payments.history (purchase_id,seq);
create unique index purchases_page_token on payments.purchases (page_token);
create index purchases_account on payments.purchases (account_id,created_at,id);
create index purchases_open on payments.purchases (expires_at) where state = 'pending';
create index purchases_review on payments.purchases (created_at) where state = 'review';
create index webhook_inbox_due on payments.webhook_inbox (next_attempt_at) where state = 'received';
create index webhook_inbox_charge on payments.webhook_inbox (charge_id,received_at);

-- By hand: what drizzle-kit cannot say.
alter table payments.packages
  add constraint packages_name check (length(name) between 1 and 100),
  add constraint packages_credits check (credits between 1 and 1000000000000),
  add constraint packages_price check (price between 1 and 1000000000000),
  add constraint packages_currency check (currency ~ '^[A-Z]{3}$');

alter table payments.purchases
  add constraint purchases_state check (state in ('pending', 'completed', 'failed', 'expired', 'cancelled', 'review')),
  add constraint purchases_credits check (credits > 0),
  add constraint purchases_price check (price > 0),
  add constraint purchases_completed check ((state = 'completed') = (completed_at is not null)),
  add constraint purchases_failure check (state <> 'failed' or failure_code is not null);

alter table payments.charges
  add constraint charges_state check (state in
    ('creating', 'pending', 'successful', 'failed', 'expired', 'reversed', 'abandoned', 'review')),
  add constraint charges_charge_form check (charge_id ~ '^chrg_(test_)?[a-z0-9]+$'),
  add constraint charges_known check (state in ('creating', 'abandoned', 'failed') or charge_id is not null);

alter table payments.claims
  add constraint claims_rail check (rail in ('omise', 'operator')),
  add constraint claims_amount check (amount > 0);

alter table payments.webhook_inbox
  add constraint webhook_inbox_state check (state in ('received', 'done', 'ignored'));

create trigger history_append_only before update or delete on payments.history
  for each row execute function platform.refuse_change();
create trigger history_no_truncate before truncate on payments.history
  for each statement execute function platform.refuse_change();
create trigger claims_append_only before update or delete on payments.claims
  for each row execute function platform.refuse_change();
create trigger claims_no_truncate before truncate on payments.claims
  for each statement execute function platform.refuse_change();
