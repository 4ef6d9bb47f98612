-- The text of one audit row that is hashed: a version, then every field with its length in bytes; null is '-'.
-- Length prefixes make it unambiguous, UTC microseconds make it independent of the session's time zone.
create or replace function platform.audit_text(r platform.audit_log) returns text language sql stable as $$
  select 'a1' || string_agg(coalesce(octet_length(f) || ':' || f, '-'), '' order by n)
  from unnest(array[
    r.seq::text, r.xid::text, (extract(epoch from r.at) * 1000000)::bigint::text,
    r.actor, r.action, r.subject_id, r.detail, r.request_id]) with ordinality as fields (f, n)
$$;
