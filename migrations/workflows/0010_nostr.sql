create table workflows.nostr_outbox (
  id text primary key,
  subject text not null,
  event_at bigint not null,
  event jsonb not null,
  relays text[] default '{}' not null,
  state text default 'waiting' not null,
  attempts integer default 0 not null,
  answers jsonb default '{}' not null,
  signed_at timestamp with time zone default now() not null,
  next_attempt_at timestamp with time zone default now(),
  published_at timestamp with time zone,
  constraint nostr_outbox_id check (id ~ '^[0-9a-f]{64}$' and event ->> 'id' = id),
  constraint nostr_outbox_time check (event_at > 0 and (event ->> 'created_at')::bigint = event_at),
  constraint nostr_outbox_subject check (length(subject) between 1 and 100),
  constraint nostr_outbox_relays check (cardinality(relays) <= 20),
  constraint nostr_outbox_state check (
    state in ('waiting', 'published', 'given_up') and (state = 'waiting') = (next_attempt_at is not null)
    and (state = 'published') = (published_at is not null))
);
create unique index nostr_outbox_subject on workflows.nostr_outbox (subject, event_at);
create index nostr_outbox_due on workflows.nostr_outbox (next_attempt_at) where state = 'waiting';
create index nostr_outbox_signed on workflows.nostr_outbox (signed_at);

create table workflows.nostr_inbox (
  id text primary key,
  kind integer not null,
  author text not null,
  event_at bigint not null,
  event jsonb not null,
  relay text not null,
  received_at timestamp with time zone default now() not null,
  verdict text,
  constraint nostr_inbox_id check (id ~ '^[0-9a-f]{64}$' and event ->> 'id' = id and event ->> 'pubkey' = author),
  constraint nostr_inbox_verdict check (length(verdict) between 1 and 100)
);
create index nostr_inbox_new on workflows.nostr_inbox (received_at) where verdict is null;
create index nostr_inbox_received on workflows.nostr_inbox (received_at);

create table workflows.nostr_relays (
  url text primary key,
  heard_until timestamp with time zone not null
);

-- What was signed was said, or will be: it stays as it is.
create function workflows.keep_signed() returns trigger language plpgsql
  set search_path = pg_catalog, pg_temp as $$
begin
  if (new.id, new.subject, new.event_at, new.event, new.relays, new.signed_at)
    is distinct from (old.id, old.subject, old.event_at, old.event, old.relays, old.signed_at)
  then
    raise exception 'a signed event does not change' using errcode = 'integrity_constraint_violation';
  end if;
  return new;
end
$$;
create trigger nostr_outbox_frozen before update on workflows.nostr_outbox
  for each row execute function workflows.keep_signed();
