create table platform.audits (
  id bigint primary key generated always as identity,
  started_at timestamptz not null,
  finished_at timestamptz not null,
  checks jsonb not null,
  halts boolean not null default false,
  cleared_at timestamptz
);

-- By hand: what drizzle-kit cannot say.
alter table platform.audits
  add constraint audits_times check (finished_at >= started_at),
  add constraint audits_cleared check (cleared_at is null or halts);
