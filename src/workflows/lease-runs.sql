-- Hands out due runs of one service: accounts in turn, a few runs each, oldest first. The caller holds the service's
-- advisory lock, so that counting live leases and taking new ones is one step.
--
-- A queued run is owed an attempt; one whose lease ran out gets another while it has any left.
--
-- $1 service  $2 accounts after this one come first  $3 runs at most  $4 runs per account at most
-- $5 lease in milliseconds: the call's time-out and a margin  $6 attempts that a run has
with recursive room as materialized (
  select least($3::int, service.max_concurrency - (
    select count(*) from workflows.runs
    where service_id = $1::uuid and state = 'running' and next_attempt_at > now())) as n
  from workflows.services service where service.id = $1::uuid
), turn (account_id, lap, n) as (
  -- Accounts with due runs, by hops through the index: first those after the last one served, then the others.
  select next.account_id, next.lap, 1
  from (
    (select account_id, 1 as lap from workflows.runs
     where service_id = $1::uuid and state in ('queued', 'running') and next_attempt_at <= now() and account_id > $2::uuid
     order by account_id limit 1)
    union all
    (select account_id, 2 from workflows.runs
     where service_id = $1::uuid and state in ('queued', 'running') and next_attempt_at <= now() order by account_id limit 1)
    order by lap limit 1
  ) next
  where (select n from room) > 0 -- a service that is full is looked at often, and costs a count
  union all
  select hop.account_id, hop.lap, turn.n + 1
  from turn cross join lateral (
    (select r.account_id, turn.lap from workflows.runs r
     where r.service_id = $1::uuid and r.state in ('queued', 'running') and r.next_attempt_at <= now()
       and r.account_id > turn.account_id
       and (turn.lap = 1 or r.account_id <= $2::uuid)
     order by r.account_id limit 1)
    union all
    (select r.account_id, 2 from workflows.runs r
     where turn.lap = 1 and r.service_id = $1::uuid and r.state in ('queued', 'running')
       and r.next_attempt_at <= now() and r.account_id <= $2::uuid
     order by r.account_id limit 1)
    order by lap limit 1
  ) hop
  where turn.n < 200
), due as materialized (
  select pick.account_id, pick.id, turn.n, row_number() over (partition by turn.n order by pick.next_attempt_at, pick.id) as nth
  from turn cross join lateral (
    select r.account_id, r.id, r.next_attempt_at from workflows.runs r
    where r.service_id = $1::uuid and r.account_id = turn.account_id and r.state in ('queued', 'running')
      and r.next_attempt_at <= now() and (r.state = 'queued' or r.attempt - r.attempts_before < $6::int)
      -- Written so that the planner does not sort an account's whole queue by way of the index on deadlines.
      and (r.deadline_at > now()) is true
    order by r.next_attempt_at limit $4::int
  ) pick
), chosen as materialized (
  select account_id, id, n, nth from due
  order by nth, n
  limit greatest(0, (select n from room))
), locked as materialized (
  select r.account_id, r.id, chosen.n, chosen.nth
  from chosen join workflows.runs r on r.account_id = chosen.account_id and r.id = chosen.id
  where r.state in ('queued', 'running') and r.next_attempt_at <= now()
  for update of r skip locked
)
update workflows.runs r
set state = 'running', attempt = r.attempt + 1, started_at = coalesce(r.started_at, now()),
  next_attempt_at = now() + make_interval(secs => $5::int / 1000.0)
from locked
where r.account_id = locked.account_id and r.id = locked.id
returning r.account_id, r.id, locked.n, extract(epoch from r.deadline_at - now())::float8 * 1000 as left_ms
