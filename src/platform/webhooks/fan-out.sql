-- Events of a stretch become deliveries, one for each endpoint that asked for them. The caller holds the endpoints.
--
-- A stretch may end in the midst of a subject, and transactions number themselves before they take a subject's lock: so a
-- subject is told whole, up to the horizon, and what an earlier stretch has told of it is left out.
--
-- $1 $2 the stretch begins after this (xid, seq)  $3 $4 its last (xid, seq)  $5 the horizon  $6 how long deliveries are kept
with subject as materialized (
  select distinct w.id as endpoint_id, w.account_id, w.events, w.created_at, e.subject_id
  from platform.events e
  join platform.webhook_endpoints w on w.account_id = e.account_id and w.enabled and w.deleted_at is null
  where (e.xid, e.seq) > ($1::text::xid8, $2::bigint) and (e.xid, e.seq) <= ($3::text::xid8, $4::bigint)
    and w.events && array['*', split_part(e.type, '.', 1) || '.*', e.type]
), told as (
  select s.endpoint_id, e.seq, e.created_at, e.subject_id,
    row_number() over (partition by s.endpoint_id, e.subject_id order by e.seq) > 1 or exists (
      select from platform.webhook_deliveries open
      where open.endpoint_id = s.endpoint_id and open.subject_id = e.subject_id and open.state in ('pending', 'sending')
    ) as is_behind
  from subject s
  join platform.events e on e.subject_id = s.subject_id and e.account_id = s.account_id
  where (e.xid, e.seq) > ($1::text::xid8, $2::bigint) and e.xid < $5::text::xid8
    and s.events && array['*', split_part(e.type, '.', 1) || '.*', e.type]
    and e.created_at >= greatest(s.created_at, now() - make_interval(days => $6::int))
    and not exists (
      select from platform.webhook_deliveries known where known.endpoint_id = s.endpoint_id and known.event_seq = e.seq)
)
insert into platform.webhook_deliveries (endpoint_id, event_seq, event_at, subject_id, state)
select endpoint_id, seq, created_at, subject_id, case when is_behind then 'held' else 'pending' end from told
returning state
