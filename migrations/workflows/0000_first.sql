create table workflows.parts (
  account_id uuid not null,
  run_id uuid not null,
  number integer not null,
  content jsonb not null,
  created_at timestamptz not null default now(),
  constraint parts_pkey primary key(account_id,run_id,number)
);

create table workflows.runs (
  account_id uuid not null,
  id uuid not null,
  workflow_id uuid not null,
  service_id uuid not null,
  cost bigint not null,
  returned bigint not null default 0,
  price_version integer not null,
  state text not null default 'queued',
  input jsonb not null,
  output jsonb,
  failure_code text,
  failure_message text,
  progress jsonb,
  idempotency_key text not null,
  request_hash bytea not null,
  attempt integer not null default 0,
  next_attempt_at timestamptz not null default now(),
  deadline_at timestamptz not null,
  created_at timestamptz not null default now(),
  started_at timestamptz,
  finished_at timestamptz,
  constraint runs_pkey primary key(account_id,id)
);

create table workflows.services (
  id uuid primary key,
  name text not null,
  description text not null default '',
  credit_cost bigint not null,
  price_version integer not null default 1,
  input_schema jsonb not null default '{}'::jsonb,
  version integer not null default 1,
  endpoint text not null,
  signing_secret bytea not null,
  timeout_ms integer not null,
  max_attempts integer not null,
  deadline_s integer not null,
  report_interval_s integer not null,
  max_concurrency integer not null,
  refund_on_failure text not null default 'full',
  active boolean not null default true,
  created_at timestamptz not null default now()
);

create table workflows.workflows (
  id uuid primary key,
  account_id uuid not null,
  service_id uuid not null,
  name text not null,
  credit_cost bigint not null,
  price_version integer not null,
  input_defaults jsonb not null default '{}'::jsonb,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  deleted_at timestamptz
);

alter table workflows.parts add constraint parts_run foreign key (account_id,run_id) references workflows.runs(account_id,id);
alter table workflows.workflows add constraint workflows_service_id_services_id_fk foreign key (service_id) references workflows.services(id);
create unique index runs_key on workflows.runs (account_id,idempotency_key);
create index runs_id on workflows.runs (id);
create index runs_account on workflows.runs (account_id,created_at,id);
create index runs_queue on workflows.runs (service_id,account_id,next_attempt_at) where state in ('queued', 'running');
create index runs_deadline on workflows.runs (deadline_at) where state in ('queued', 'running');
create index workflows_account on workflows.workflows (account_id,created_at,id);
create index workflows_service on workflows.workflows (service_id);

-- By hand: what drizzle-kit cannot say.
alter table workflows.services
  add constraint services_name check (length(name) between 1 and 100),
  add constraint services_credit_cost check (credit_cost between 1 and 1000000000000),
  add constraint services_timeout check (timeout_ms between 100 and 300000),
  add constraint services_max_attempts check (max_attempts between 1 and 50),
  add constraint services_deadline check (deadline_s between 1 and 2592000),
  add constraint services_report_interval check (report_interval_s between 1 and 86400),
  add constraint services_max_concurrency check (max_concurrency between 1 and 10000),
  add constraint services_refund_on_failure check (refund_on_failure in ('full', 'none'));

alter table workflows.workflows
  add constraint workflows_name check (length(name) between 1 and 100),
  add constraint workflows_credit_cost check (credit_cost > 0);

-- No foreign key to workflows: it would lock the workflow's row for every run. The statement that inserts a run reads
-- the workflow in the same snapshot, and neither workflows nor services can be deleted by the application role.
alter table workflows.runs
  add constraint runs_state check (state in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
  add constraint runs_cost check (cost > 0),
  add constraint runs_returned check (returned between 0 and cost),
  add constraint runs_key_length check (length(idempotency_key) between 1 and 255),
  add constraint runs_finished check ((state in ('succeeded', 'failed', 'cancelled')) = (finished_at is not null)),
  add constraint runs_failure check ((state = 'failed') = (failure_code is not null)),
  add constraint runs_attempt check (attempt >= 0),
  -- The row changes a few times in its life, and is then kept.
  set (fillfactor = 80);

alter table workflows.parts add constraint parts_number check (number between 1 and 10000);
