create table payments.payment_requests (
  id uuid primary key,
  merchant_id uuid not null,
  payer_did text not null,
  payer_account_id uuid,
  chain text not null,
  asset text not null,
  recipient text not null,
  amount numeric(78, 0) not null,
  symbol text not null,
  decimals integer not null,
  purpose text not null,
  credits bigint,
  reference text,
  description text not null,
  terms text not null,
  terms_hash text not null,
  state text not null default 'pending',
  received numeric(78, 0) not null default 0,
  page_token text not null,
  challenge_id uuid,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  authorized_at timestamptz,
  completed_at timestamptz,
  cancelled_at timestamptz
);

create table payments.request_transactions (
  request_id uuid not null,
  tx_hash text not null,
  state text not null default 'waiting',
  outcome text not null default 'tx_pending',
  confirmations integer not null default 0,
  is_final boolean not null default false,
  submitted_at timestamptz not null default now(),
  next_check_at timestamptz default now(),
  checks integer not null default 0,
  constraint request_transactions_pkey primary key(request_id,tx_hash)
);

create table payments.settlements (
  chain text not null,
  tx_hash text not null,
  log_index integer not null,
  request_id uuid not null,
  payer text not null,
  amount numeric(78, 0) not null,
  block_number bigint not null,
  block_hash text not null,
  block_time timestamptz not null,
  created_at timestamptz not null default now(),
  gone_at timestamptz,
  constraint settlements_pkey primary key(chain,tx_hash,log_index)
);

create table payments.completions (
  id uuid primary key,
  request_id uuid not null,
  created_at timestamptz not null default now(),
  reversed_at timestamptz
);

create table payments.request_history (
  seq bigint primary key generated always as identity,
  request_id uuid not null,
  at timestamptz not null default now(),
  actor text not null,
  what text not null,
  tx_hash text,
  detail jsonb not null default '{}'::jsonb
);

alter table payments.request_transactions add constraint request_transactions_request_id_payment_requests_id_fk foreign key (request_id) references payments.payment_requests(id);
alter table payments.settlements add constraint settlements_request_id_payment_requests_id_fk foreign key (request_id) references payments.payment_requests(id);
alter table payments.completions add constraint completions_request_id_payment_requests_id_fk foreign key (request_id) references payments.payment_requests(id);
alter table payments.request_history add constraint request_history_request_id_payment_requests_id_fk foreign key (request_id) references payments.payment_requests(id);
create unique index payment_requests_page_token on payments.payment_requests (page_token);
create index payment_requests_merchant on payments.payment_requests (merchant_id,created_at,id);
create index payment_requests_payer on payments.payment_requests (payer_account_id,created_at,id);
create index payment_requests_open on payments.payment_requests (expires_at) where state in ('pending', 'authenticated', 'submitted', 'underpaid');
create index request_transactions_due on payments.request_transactions (next_check_at) where next_check_at is not null;
create index settlements_request on payments.settlements (request_id);
create unique index completions_standing on payments.completions (request_id) where reversed_at is null;
create index completions_request on payments.completions (request_id);
create index request_history_request on payments.request_history (request_id,seq);

-- By hand: what drizzle-kit cannot say.
alter table payments.payment_requests
  add constraint payment_requests_state check (state in
    ('pending', 'authenticated', 'submitted', 'confirming', 'underpaid', 'completed', 'late', 'expired', 'cancelled')),
  add constraint payment_requests_amount check (amount > 0 and received >= 0),
  add constraint payment_requests_decimals check (decimals between 0 and 36),
  add constraint payment_requests_purpose check (
    (purpose = 'credits' and credits between 1 and 1000000000000 and reference is null)
    or (purpose = 'invoice' and credits is null and length(reference) between 1 and 100)),
  add constraint payment_requests_terms check (terms_hash = encode(sha256(convert_to(terms, 'UTF8')), 'hex')),
  add constraint payment_requests_agreed check (
    (authorized_at is null) = (challenge_id is null) and (authorized_at is null) = (payer_account_id is null)),
  add constraint payment_requests_paid check (state <> 'completed' or (authorized_at is not null and received >= amount)),
  add constraint payment_requests_completed check ((state = 'completed') = (completed_at is not null));

alter table payments.request_transactions
  add constraint request_transactions_hash check (tx_hash ~ '^0x[0-9a-f]{64}$'),
  add constraint request_transactions_state check (state in ('waiting', 'counted', 'refused', 'given_up'));

alter table payments.settlements
  add constraint settlements_hash check (tx_hash ~ '^0x[0-9a-f]{64}$' and block_hash ~ '^0x[0-9a-f]{64}$'),
  add constraint settlements_payer check (payer ~ '^0x[0-9a-f]{40}$'),
  add constraint settlements_amount check (amount > 0);

-- The terms are frozen: what the payer signed is what is checked.
create or replace function payments.keep_terms() returns trigger language plpgsql
  set search_path = pg_catalog, pg_temp as $$
begin
  if (new.id, new.merchant_id, new.payer_did, new.chain, new.asset, new.recipient, new.amount, new.purpose, new.credits,
      new.reference, new.terms, new.terms_hash, new.expires_at)
    is distinct from (old.id, old.merchant_id, old.payer_did, old.chain, old.asset, old.recipient, old.amount, old.purpose,
      old.credits, old.reference, old.terms, old.terms_hash, old.expires_at)
    or (old.authorized_at is not null and (new.authorized_at, new.challenge_id, new.payer_account_id)
      is distinct from (old.authorized_at, old.challenge_id, old.payer_account_id)) then
    raise exception 'the terms of a payment request are frozen' using errcode = 'restrict_violation';
  end if;
  return new;
end
$$;
create trigger payment_requests_frozen before update on payments.payment_requests
  for each row execute function payments.keep_terms();
create trigger request_history_append_only before update or delete on payments.request_history
  for each row execute function platform.refuse_change();
create trigger request_history_no_truncate before truncate on payments.request_history
  for each statement execute function platform.refuse_change();
