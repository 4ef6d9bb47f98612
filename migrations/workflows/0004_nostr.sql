create table workflows.nostr_customers (
  pubkey text not null,
  account_id uuid not null,
  created_at timestamptz default now() not null,
  linked_at timestamptz,
  constraint nostr_customers_pkey primary key (pubkey),
  constraint nostr_customers_key check (pubkey ~ '^[0-9a-f]{64}$')
);

create table workflows.nostr_jobs (
  id text not null,
  account_id uuid not null,
  pubkey text not null,
  request json not null,
  cipher text,
  relays jsonb not null,
  created_at timestamptz default now() not null,
  run_id uuid,
  said jsonb default '{"isProcessing":false,"asked":null,"parts":0}' not null,
  heard text default '' not null,
  last_word_at bigint not null,
  is_withdrawn boolean default false not null,
  failures integer default 0 not null,
  next_at timestamptz default now() not null,
  closed_at timestamptz,
  constraint nostr_jobs_pkey primary key (id),
  constraint nostr_jobs_of_run foreign key (account_id, run_id) references workflows.runs (account_id, id),
  constraint nostr_jobs_id check (id ~ '^[0-9a-f]{64}$' and pubkey ~ '^[0-9a-f]{64}$'),
  constraint nostr_jobs_cipher check (cipher in ('nip04', 'nip44'))
);
create index nostr_jobs_open on workflows.nostr_jobs (next_at) where closed_at is null;
create index nostr_jobs_account on workflows.nostr_jobs (account_id, created_at);
create unique index nostr_jobs_run on workflows.nostr_jobs (run_id);

create table workflows.nostr_events (
  id text not null,
  job_id text,
  seq integer not null,
  event json not null,
  topic text,
  ask_id uuid,
  amount_msat bigint,
  is_last boolean not null,
  created_at timestamptz default now() not null,
  published_at timestamptz,
  attempts integer default 0 not null,
  next_at timestamptz default now() not null,
  trouble text,
  constraint nostr_events_pkey primary key (id),
  constraint nostr_events_job_id_nostr_jobs_id_fk foreign key (job_id) references workflows.nostr_jobs (id),
  constraint nostr_events_ask_id_asks_id_fk foreign key (ask_id) references workflows.asks (id),
  constraint nostr_events_about check (num_nonnulls(job_id, topic) = 1),
  constraint nostr_events_amount check (amount_msat > 0)
);
create unique index nostr_events_job on workflows.nostr_events (job_id, seq) where job_id is not null;
create index nostr_events_unpublished on workflows.nostr_events (next_at) where published_at is null;
create index nostr_events_topic on workflows.nostr_events (topic, created_at) where topic is not null;
create index nostr_events_ask on workflows.nostr_events (ask_id) where ask_id is not null;
-- A job has one last word.
create unique index nostr_events_last on workflows.nostr_events (job_id) where is_last;

create table workflows.nostr_cursors (
  relay text not null,
  heard_until timestamptz not null,
  constraint nostr_cursors_pkey primary key (relay)
);

alter table workflows.services
  add column nostr_kind integer,
  add constraint services_nostr_kinds check (nostr_kind between 5000 and 5999);
create unique index services_nostr_kind on workflows.services (nostr_kind) where active and nostr_kind is not null;

-- What was said is said: relays and customers know it by its id.
create function workflows.keep_nostr_events() returns trigger language plpgsql
  set search_path = pg_catalog, pg_temp as $$
begin
  if (new.id, new.job_id, new.seq, new.event::text, new.topic, new.ask_id, new.amount_msat, new.is_last, new.created_at)
    is distinct from
     (old.id, old.job_id, old.seq, old.event::text, old.topic, old.ask_id, old.amount_msat, old.is_last, old.created_at)
    or old.published_at is not null
  then
    raise exception 'an event that was signed does not change' using errcode = 'integrity_constraint_violation';
  end if;
  return new;
end
$$;
create trigger nostr_events_frozen before update on workflows.nostr_events
  for each row execute function workflows.keep_nostr_events();

create function workflows.keep_nostr_jobs() returns trigger language plpgsql
  set search_path = pg_catalog, pg_temp as $$
begin
  if (new.id, new.account_id, new.pubkey, new.request::text, new.cipher, new.created_at)
    is distinct from (old.id, old.account_id, old.pubkey, old.request::text, old.cipher, old.created_at)
    or old.run_id is not null and new.run_id is distinct from old.run_id
    or old.closed_at is not null and new.closed_at is distinct from old.closed_at
    or new.last_word_at < old.last_word_at
  then
    raise exception 'a job stays what was asked for' using errcode = 'integrity_constraint_violation';
  end if;
  return new;
end
$$;
create trigger nostr_jobs_frozen before update on workflows.nostr_jobs
  for each row execute function workflows.keep_nostr_jobs();
