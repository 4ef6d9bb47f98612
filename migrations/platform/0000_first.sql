create table platform.audit_log (
  seq bigint primary key generated always as identity,
  xid xid8 not null default pg_current_xact_id(),
  at timestamptz not null default now(),
  actor text not null,
  action text not null,
  subject_id text,
  detail text not null,
  request_id text
);

create table platform.audit_seals (
  id bigint primary key,
  until_xid xid8 not null,
  until_seq bigint not null,
  rows integer not null,
  previous bytea not null,
  hash bytea not null,
  sealed_at timestamptz not null default now()
);

create sequence platform.events_seq;

create table platform.events (
  seq bigint not null default nextval('platform.events_seq'),
  id uuid not null,
  xid xid8 not null default pg_current_xact_id(),
  account_id uuid,
  type text not null,
  subject_id uuid not null,
  payload jsonb not null,
  created_at timestamptz not null default now(),
  constraint events_pkey primary key(created_at,seq)
) partition by range (created_at);

create table platform.idempotency_keys (
  account_id uuid not null,
  route text not null,
  key text not null,
  fingerprint bytea not null,
  resource_id uuid,
  status smallint,
  reply bytea,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  constraint idempotency_keys_pkey primary key(account_id,route,key)
);

create table platform.installation (
  name text primary key,
  value text not null
);
create index audit_log_subject on platform.audit_log (subject_id,seq);
create index audit_log_xid on platform.audit_log (xid,seq);
create index events_xid on platform.events (xid,seq);
create index events_subject on platform.events (subject_id,seq);
create index idempotency_keys_expiry on platform.idempotency_keys (expires_at);

-- By hand: what drizzle-kit cannot say.
alter table platform.events
  add constraint events_type check (type ~ '^[a-z_]+\.[a-z_]+$' and length(type) <= 64),
  alter column id set default gen_random_uuid();
alter sequence platform.events_seq owned by platform.events.seq;
-- Catches what no monthly partition covers, so that a late maintenance never stops a payment.
create table platform.events_rest partition of platform.events default;

alter table platform.idempotency_keys
  add constraint idempotency_keys_key check (length(key) between 1 and 255),
  add constraint idempotency_keys_reply check ((status is null) = (reply is null)),
  add constraint idempotency_keys_outcome check (resource_id is not null or status is not null);

alter table platform.audit_log
  add constraint audit_log_action check (action ~ '^[a-z_]+\.[a-z_]+$'),
  add constraint audit_log_detail check (length(detail) <= 16384);

-- For append-only tables: not even the owner rewrites them by accident.
create function platform.refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% is append-only', tg_table_schema || '.' || tg_table_name using errcode = 'insufficient_privilege';
end
$$;

create trigger audit_log_append_only before update or delete on platform.audit_log
  for each row execute function platform.refuse_change();
create trigger audit_log_no_truncate before truncate on platform.audit_log
  for each statement execute function platform.refuse_change();
create trigger audit_seals_append_only before update or delete on platform.audit_seals
  for each row execute function platform.refuse_change();
create trigger audit_seals_no_truncate before truncate on platform.audit_seals
  for each statement execute function platform.refuse_change();
create trigger installation_unchanging before update or delete on platform.installation
  for each row execute function platform.refuse_change();
create trigger installation_no_truncate before truncate on platform.installation
  for each statement execute function platform.refuse_change();
create trigger events_append_only before update or delete on platform.events
  for each row execute function platform.refuse_change();
create trigger events_no_truncate before truncate on platform.events
  for each statement execute function platform.refuse_change();
