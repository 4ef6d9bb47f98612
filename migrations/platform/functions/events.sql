-- Owner's maintenance: monthly partitions, in UTC, for the given number of months from now on. Harmless to repeat, and
-- late: events that events_rest caught meanwhile move to the partition of their month.
create or replace function platform.make_event_partitions(months int) returns void language plpgsql
  set timezone = 'UTC' as $$
declare
  first_moment timestamptz;
  next_moment timestamptz;
  partition_name text;
  caught boolean;
begin
  for first_moment in
    select generate_series(date_trunc('month', now()), date_trunc('month', now()) + make_interval(months => months), '1 month')
  loop
    next_moment := first_moment + interval '1 month';
    partition_name := 'events_' || to_char(first_moment, 'YYYY_MM');
    continue when to_regclass('platform.' || partition_name) is not null;
    -- Made beside and attached: unlike `create … partition of` that does not wait for every transaction that writes events.
    execute format('create table platform.%I (like platform.events including all)', partition_name);
    select exists (select from platform.events_rest where created_at >= first_moment and created_at < next_moment) into caught;
    if caught then
      alter table platform.events detach partition platform.events_rest;
      execute format('with moved as (delete from platform.events_rest where created_at >= $1 and created_at < $2 returning *)
        insert into platform.%I select * from moved', partition_name) using first_moment, next_moment;
    end if;
    execute format('alter table platform.events attach partition platform.%I for values from (%L) to (%L)',
      partition_name, first_moment, next_moment);
    if caught then
      alter table platform.events attach partition platform.events_rest default;
    end if;
  end loop;
end
$$;

-- The oldest transaction still running: events of it or later may yet appear. Readers stop before it.
create or replace function platform.event_horizon() returns xid8 language sql stable as $$
  select pg_snapshot_xmin(pg_current_snapshot())
$$;

-- Owner's maintenance: drops monthly partitions that ended more than the given number of months ago; tells which.
create or replace function platform.drop_event_partitions(keep_months int) returns setof text language plpgsql
  set timezone = 'UTC' as $$
declare
  old text;
begin
  if keep_months is null or keep_months < 1 then
    raise exception 'events are kept for at least one month' using errcode = 'invalid_parameter_value';
  end if;
  for old in
    select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'platform.events'::regclass and c.relname ~ '^events_\d{4}_\d{2}$'
      and to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month' < now() - make_interval(months => keep_months)
    order by c.relname
  loop
    execute format('drop table platform.%I', old);
    return next old;
  end loop;
end
$$;

select platform.make_event_partitions(24);
