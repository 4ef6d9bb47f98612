-- Many POST /v1/workflows/{id}/runs in one transaction: what start-run.sql does for each, one after the other. The
-- arrays are parallel, an order has one place in each of them; no two orders have the same account and key. An order
-- whose account is locked by another transaction is not waited for: `busy`, and nothing was done for it. One that
-- another request overtook with the same key (23505) takes the whole statement back: the orders then go one by one.
--
-- $1 accounts  $2 runs  $3 workflows  $4 idempotency keys  $5 request hashes, in hex  $6 inputs  $7 expected costs or null
-- $8 versions of the services and $9 of the workflows that the inputs were checked against, and $10 whether they fitted: 1 or 0
with asked as materialized (
  select o.n, o.account_id, o.run_id, o.workflow_id, o.key, o.request_hash, o.input,
    w.service_id, w.credit_cost, w.price_version, s.deadline_s, known.id as known_run,
    case
      when known.id is not null
        then case when known.request_hash = decode(o.request_hash, 'hex') then 'replay' else 'key_reused' end
      when w.id is null or w.deleted_at is not null then 'not_found'
      when w.account_id <> o.account_id then 'not_owner'
      when not s.active then 'inactive'
      when s.version <> o.service_version or w.version <> o.workflow_version then 'stale'
      when o.fits = 0 then 'input_invalid'
      when w.credit_cost <> o.expected_cost then 'price_changed'
      else 'runnable'
    end as verdict
  from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::int[], $9::int[],
    $10::int[]) with ordinality as o (account_id, run_id, workflow_id, key, request_hash, input, expected_cost,
    service_version, workflow_version, fits, n)
  left join workflows.workflows w on w.id = o.workflow_id
  left join workflows.services s on s.id = w.service_id
  -- `offset 0`: a look-up for each by its unique index. Left to itself the planner may read all runs of a busy account.
  left join lateral (
    select r.id, r.request_hash from workflows.runs r where r.account_id = o.account_id and r.idempotency_key = o.key offset 0
  ) known on true
), runnable as materialized (
  select array_agg(n order by n) as places, array_agg(account_id order by n) as accounts,
    array_agg(credit_cost order by n) as costs, array_agg(run_id order by n) as runs
  from asked where verdict = 'runnable'
), spent as materialized (
  select r.places[outcome.n] as n, outcome.result, outcome.available, outcome.held, outcome.debt
  from runnable r, credits.spend_batch(r.accounts, r.costs, r.runs) as outcome
  where r.places is not null
), run as (
  insert into workflows.runs
    (account_id, id, workflow_id, service_id, cost, price_version, input, idempotency_key, request_hash, deadline_at)
  select a.account_id, a.run_id, a.workflow_id, a.service_id, a.credit_cost, a.price_version, a.input::jsonb, a.key,
    decode(a.request_hash, 'hex'), now() + make_interval(secs => a.deadline_s)
  from asked a join spent on spent.n = a.n and spent.result = 'posted'
  order by a.n
  returning account_id, id, service_id, cost, price_version, input, created_at, deadline_at
), told as (
  insert into platform.events (account_id, type, subject_id, payload)
  select account_id, 'workflows.run_queued', id,
    jsonb_build_object('state', 'queued', 'attempt', 0, 'cost', cost, 'returned', 0)
  from run
)
select a.n, a.verdict, a.known_run, a.credit_cost, spent.result, spent.available, spent.held, spent.debt,
  run.service_id, run.price_version, run.input, run.created_at, run.deadline_at
from asked a left join spent on spent.n = a.n left join run on run.id = a.run_id
order by a.n
