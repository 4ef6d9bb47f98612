create table platform.deliveries (
  event_seq bigint not null,
  subscriber text not null,
  type text not null,
  subject_id uuid not null,
  payload jsonb not null,
  attempts integer default 0 not null,
  next_attempt_at timestamptz default now(),
  created_at timestamptz default now() not null,
  constraint deliveries_pkey primary key(event_seq,subscriber)
);

create table platform.subscribers (
  type text not null,
  name text not null,
  constraint subscribers_pkey primary key(type,name)
);

create index deliveries_due on platform.deliveries (next_attempt_at) where next_attempt_at is not null;

-- By hand: what drizzle-kit cannot say.
alter table platform.deliveries add constraint deliveries_attempts check (attempts >= 0);
