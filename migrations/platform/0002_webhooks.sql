create table platform.webhook_endpoints (
  id uuid primary key,
  account_id uuid not null,
  url text not null,
  events text[] not null,
  description text not null,
  signing_secret bytea not null,
  enabled boolean not null default true,
  disabled_reason text,
  told_since timestamptz not null default now(),
  failing_since timestamptz,
  created_at timestamptz not null default now(),
  deleted_at timestamptz
);

create table platform.webhook_deliveries (
  id uuid primary key default gen_random_uuid(),
  endpoint_id uuid not null,
  event_seq bigint not null,
  event_at timestamptz not null,
  subject_id uuid not null,
  state text not null,
  attempt integer not null default 0,
  next_attempt_at timestamptz not null default now(),
  first_attempt_at timestamptz,
  finished_at timestamptz,
  created_at timestamptz not null default now()
) with (fillfactor = 80);

create table platform.webhook_attempts (
  delivery_id uuid not null,
  attempt integer not null,
  at timestamptz not null,
  ms integer not null,
  status smallint,
  error text,
  excerpt text,
  constraint webhook_attempts_pkey primary key(delivery_id,attempt)
);

create table platform.webhook_cursor (
  one boolean primary key default true,
  xid xid8 not null,
  seq bigint not null,
  moved_at timestamptz not null default now()
);
alter table platform.webhook_attempts add constraint webhook_attempts_delivery_id_webhook_deliveries_id_fk foreign key (delivery_id) references platform.webhook_deliveries(id) on delete cascade;
alter table platform.webhook_deliveries add constraint webhook_deliveries_endpoint_id_webhook_endpoints_id_fk foreign key (endpoint_id) references platform.webhook_endpoints(id);
create index webhook_endpoints_account on platform.webhook_endpoints (account_id,created_at) where deleted_at is null;
create unique index webhook_deliveries_event on platform.webhook_deliveries (endpoint_id,event_seq);
create unique index webhook_deliveries_under_way on platform.webhook_deliveries (endpoint_id,subject_id) where state in ('pending', 'sending');
create index webhook_deliveries_held on platform.webhook_deliveries (endpoint_id,subject_id,event_seq) where state = 'held';
create index webhook_deliveries_due on platform.webhook_deliveries (endpoint_id,next_attempt_at) where state in ('pending', 'sending');
create index webhook_deliveries_oldest on platform.webhook_deliveries (endpoint_id,created_at) where state in ('pending', 'sending');
create index webhook_deliveries_age on platform.webhook_deliveries (created_at);
create index events_account on platform.events (account_id,xid,seq);

-- By hand: what drizzle-kit cannot say.
alter table platform.webhook_endpoints
  add constraint webhook_endpoints_url check (length(url) between 1 and 2000),
  add constraint webhook_endpoints_events check (cardinality(events) between 1 and 50),
  add constraint webhook_endpoints_reason check (disabled_reason in ('owner', 'gone', 'failing')),
  add constraint webhook_endpoints_enabled check (enabled = (disabled_reason is null)),
  add constraint webhook_endpoints_deleted check (deleted_at is null or not enabled);
alter table platform.webhook_deliveries
  add constraint webhook_deliveries_state check (state in ('held', 'pending', 'sending', 'delivered', 'failed')),
  add constraint webhook_deliveries_attempt check (attempt >= 0 and (state <> 'sending' or attempt > 0)),
  add constraint webhook_deliveries_finished check ((finished_at is not null) = (state in ('delivered', 'failed')));
alter table platform.webhook_attempts
  add constraint webhook_attempts_outcome check (status is not null or error is not null),
  add constraint webhook_attempts_excerpt check (length(excerpt) <= 1000);
alter table platform.webhook_cursor add constraint webhook_cursor_one check (one);
-- What happened before there were webhooks is nobody's to be told.
insert into platform.webhook_cursor (xid, seq) values (pg_snapshot_xmin(pg_current_snapshot()), 0);
