-- Hands out due deliveries of one endpoint, those that are due longest first. The caller holds the endpoint, so that
-- counting the calls under way and leasing more is one step.
--
-- $1 endpoint  $2 calls at once that it may have  $3 deliveries at most  $4 lease in milliseconds
with room as materialized (
  select least($3::int, $2::int - count(*)::int) as n from platform.webhook_deliveries
  where endpoint_id = $1::uuid and state = 'sending' and next_attempt_at > now()
), due as materialized (
  select id from platform.webhook_deliveries
  where endpoint_id = $1::uuid and state in ('pending', 'sending') and next_attempt_at <= now()
  order by next_attempt_at limit greatest(0, (select n from room))
)
update platform.webhook_deliveries d
set state = 'sending', attempt = d.attempt + 1, first_attempt_at = coalesce(d.first_attempt_at, now()),
  next_attempt_at = now() + make_interval(secs => $4::int / 1000.0)
from due, platform.events e
where d.id = due.id and e.created_at = d.event_at and e.seq = d.event_seq
returning d.id, d.subject_id, d.attempt, d.event_seq, e.id as event_id, e.type, e.account_id, e.payload,
  to_json(e.created_at) as event_at
