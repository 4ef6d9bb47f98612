-- POST /v1/workflows/{id}/runs: one statement, hence one transaction. It deducts, records, queues and tells, or does
-- nothing at all. All checks sit in `asked`, which is materialized, and the spend reads only from it: beside its checks
-- the planner would be free to spend first. The run is inserted plainly, so that a key used a moment ago by another
-- request (23505) takes the spend back with it.
--
-- $1 account  $2 run  $3 workflow  $4 idempotency key  $5 request hash  $6 input  $7 expected cost or null
-- $8 version of the service and $9 of the workflow that the input was checked against, and $10 whether it fitted: a known
-- key, an owner and a changed definition are told before an input is judged
with asked as materialized (
  select w.service_id, w.credit_cost, w.price_version, s.deadline_s, known.id as known_run,
    case
      when known.id is not null then case when known.request_hash = $5::bytea then 'replay' else 'key_reused' end
      when w.id is null or w.deleted_at is not null then 'not_found'
      when w.account_id <> $1::uuid then 'not_owner'
      when not s.active then 'inactive'
      when s.version <> $8::int or w.version <> $9::int then 'stale'
      when not $10::boolean then 'input_invalid'
      when w.credit_cost <> $7::bigint then 'price_changed'
      else 'runnable'
    end as verdict
  from (values (1)) as always
  left join workflows.workflows w on w.id = $3::uuid
  left join workflows.services s on s.id = w.service_id
  left join workflows.runs known on known.account_id = $1::uuid and known.idempotency_key = $4::text
), spent as materialized (
  select outcome.result, outcome.available, outcome.held, outcome.debt
  from asked, credits.spend($1::uuid, asked.credit_cost, $2::uuid) as outcome
  where asked.verdict = 'runnable'
), run as (
  insert into workflows.runs
    (account_id, id, workflow_id, service_id, cost, price_version, input, idempotency_key, request_hash, deadline_at)
  select $1::uuid, $2::uuid, $3::uuid, asked.service_id, asked.credit_cost, asked.price_version, $6::text::jsonb, $4::text,
    $5::bytea, now() + make_interval(secs => asked.deadline_s)
  from asked, spent
  where spent.result = 'posted'
  returning account_id, id, service_id, cost, price_version, input, created_at, deadline_at
), told as (
  insert into platform.events (account_id, type, subject_id, payload)
  select account_id, 'workflows.run_queued', id,
    jsonb_build_object('state', 'queued', 'attempt', 0, 'cost', cost, 'returned', 0)
  from run
)
select asked.verdict, asked.known_run, asked.credit_cost, spent.result, spent.available, spent.held, spent.debt,
  run.service_id, run.price_version, run.input, run.created_at, run.deadline_at
from asked left join spent on true left join run on true
