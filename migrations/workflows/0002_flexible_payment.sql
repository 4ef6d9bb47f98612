create table workflows.asks (
  account_id uuid not null,
  id uuid not null,
  run_id uuid not null,
  service_id uuid not null,
  seq integer not null,
  kind text not null,
  amount bigint not null,
  received bigint default 0 not null,
  surplus bigint default 0 not null,
  state text default 'open' not null,
  created_at timestamptz default now() not null,
  expires_at timestamptz not null,
  closed_at timestamptz,
  constraint asks_pkey primary key (account_id, id)
);

create table workflows.settlements (
  account_id uuid not null,
  id uuid not null,
  ask_id uuid not null,
  rail text not null,
  credits bigint not null,
  taken bigint default 0 not null,
  released bigint default 0 not null,
  returned bigint default 0 not null,
  created_at timestamptz default now() not null,
  constraint settlements_pkey primary key (account_id, id)
);

create table workflows.tabs (
  account_id uuid not null,
  service_id uuid not null,
  runs integer default 0 not null,
  credits bigint default 0 not null,
  written_off bigint default 0 not null,
  constraint tabs_pkey primary key (account_id, service_id)
);

-- Services that there are keep what they did: the price is spent when a run is accepted.
alter table workflows.services add column payment jsonb not null default
  '{"mode":"upfront","default":"upfront","milestones":null,"unpaid_part":"pause","quote_ttl_s":600,"after":{"credit_limit":1000,"max_unpaid_runs":1,"grace_s":86400},"surplus":"credit","underpay":"reject","rails":[{"rail":"credits"}]}';
alter table workflows.workflows add column milestones jsonb;
alter table workflows.runs
  add column quote jsonb,
  add column payment_state text default 'paid' not null,
  add column paid bigint default 0 not null,
  add column due bigint default 0 not null,
  add column ask_id uuid,
  add column paid_parts integer default 0 not null,
  add column attempts_before integer default 0 not null,
  add column delivered_at timestamptz;

alter table workflows.asks add constraint asks_service_id_services_id_fk foreign key (service_id) references workflows.services (id);
alter table workflows.asks add constraint asks_run foreign key (account_id, run_id) references workflows.runs (account_id, id);
alter table workflows.settlements add constraint settlements_ask foreign key (account_id, ask_id) references workflows.asks (account_id, id);
alter table workflows.tabs add constraint tabs_service_id_services_id_fk foreign key (service_id) references workflows.services (id);
create unique index asks_id on workflows.asks (id);
create unique index asks_seq on workflows.asks (account_id, run_id, seq);
create index asks_account on workflows.asks (account_id, created_at, id);
create index asks_owed on workflows.asks (account_id, service_id, created_at)
  where kind = 'result' and state in ('open', 'part_paid', 'written_off');
create index asks_due on workflows.asks (expires_at) where state in ('open', 'part_paid');
create index settlements_of_ask on workflows.settlements (account_id, ask_id);

-- By hand: what drizzle-kit cannot say.
alter table workflows.asks
  add constraint asks_state check (state in ('open', 'part_paid', 'paid', 'expired', 'written_off', 'released')),
  add constraint asks_kind check (kind in ('start', 'part', 'result')),
  add constraint asks_number check (seq between 1 and 100),
  add constraint asks_amount check (amount > 0),
  add constraint asks_received check (received between 0 and amount and (state = 'paid') = (received = amount)),
  add constraint asks_open check (state <> 'open' or received = 0),
  add constraint asks_surplus check (surplus >= 0),
  add constraint asks_closed check ((state in ('open', 'part_paid')) = (closed_at is null));
-- Of one run one ask waits at a time.
create unique index asks_waiting on workflows.asks (account_id, run_id) where state in ('open', 'part_paid');
alter table workflows.settlements
  add constraint settlements_credits check (credits > 0),
  add constraint settlements_moved check (taken >= 0 and released >= 0 and taken + released <= credits),
  add constraint settlements_returned check (returned between 0 and taken);
alter table workflows.tabs
  add constraint tabs_sums check (runs >= 0 and credits >= 0 and written_off >= 0 and (runs > 0 or credits = 0));

-- What was asked for stays as it was asked, and what is paid stays paid.
create function workflows.keep_asks() returns trigger language plpgsql
  set search_path = pg_catalog, pg_temp as $$
begin
  if (new.account_id, new.id, new.run_id, new.service_id, new.seq, new.kind, new.amount, new.created_at)
    is distinct from (old.account_id, old.id, old.run_id, old.service_id, old.seq, old.kind, old.amount, old.created_at)
    or old.state = 'paid' and new.state <> 'paid'
    or old.state in ('expired', 'released') and new.state <> old.state
  then
    raise exception 'an ask does not change what it asked' using errcode = 'integrity_constraint_violation';
  end if;
  return new;
end
$$;
create trigger asks_frozen before update on workflows.asks
  for each row execute function workflows.keep_asks();
