-- Owner's maintenance: monthly partitions for the given number of months from now on. Harmless to repeat.
create or replace function platform.make_event_partitions(months int) returns void language plpgsql as $$
declare
  first_day date;
begin
  for first_day in
    select generate_series(date_trunc('month', now()), date_trunc('month', now()) + make_interval(months => months), '1 month')
  loop
    execute format('create table if not exists platform.%I partition of platform.events for values from (%L) to (%L)',
      'events_' || to_char(first_day, 'YYYY_MM'), first_day::timestamptz, (first_day + interval '1 month')::timestamptz);
  end loop;
end
$$;

-- The oldest transaction still running: events of it or later may yet appear. Readers stop before it.
create or replace function platform.event_horizon() returns xid8 language sql stable as $$
  select pg_snapshot_xmin(pg_current_snapshot())
$$;

-- Owner's maintenance: drops monthly partitions that ended more than the given number of months ago; tells which.
create or replace function platform.drop_event_partitions(keep_months int) returns setof text language plpgsql as $$
declare
  old text;
begin
  for old in
    select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'platform.events'::regclass and c.relname ~ '^events_\d{4}_\d{2}$'
      and to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month' < now() - make_interval(months => keep_months)
  loop
    execute format('drop table platform.%I', old);
    return next old;
  end loop;
end
$$;

select platform.make_event_partitions(24);
