
create table refunds.attempts (
  refund_id uuid not null,
  number integer not null,
  target text not null,
  outcome text default 'open' not null,
  detail text,
  started_at timestamptz default now() not null,
  constraint attempts_pkey primary key(refund_id,number)
);

create table refunds.clawbacks (
  id uuid primary key,
  reference text not null,
  kind text not null,
  purchase_id uuid not null,
  account_id uuid not null,
  credits bigint not null,
  amount bigint not null,
  created_at timestamptz default now() not null,
  restored_at timestamptz
);

create table refunds.history (
  seq bigint primary key generated always as identity,
  refund_id uuid not null,
  at timestamptz default now() not null,
  actor text not null,
  what text not null,
  detail jsonb default '{}'::jsonb not null
);

create table refunds.payouts (
  rail text not null,
  reference text not null,
  refund_id uuid,
  amount numeric(78, 0) not null,
  created_at timestamptz default now() not null,
  constraint payouts_pkey primary key(rail,reference)
);

create table refunds.refunds (
  id uuid primary key,
  account_id uuid not null,
  subject_type text not null,
  subject_id uuid not null,
  part text default 'whole' not null,
  rail text not null,
  credits bigint not null,
  amount numeric(78, 0) not null,
  unit text not null,
  worth bigint,
  destination text,
  reason text not null,
  challenge_id uuid,
  state text default 'requested' not null,
  decided_by uuid,
  decision text,
  failure_code text,
  failure_message text,
  reference text,
  created_at timestamptz default now() not null,
  completed_at timestamptz,
  next_step_at timestamptz,
  looks integer default 0 not null
);

create table refunds.sightings (
  charge_id text primary key,
  purchase_id uuid not null,
  next_look_at timestamptz default now(),
  looks integer default 0 not null,
  told integer not null default 1
);

alter table refunds.attempts add constraint attempts_refund_id_refunds_id_fk foreign key (refund_id) references refunds.refunds(id);
alter table refunds.payouts add constraint payouts_refund_id_refunds_id_fk foreign key (refund_id) references refunds.refunds(id);
create unique index clawbacks_reference on refunds.clawbacks (reference);
create index clawbacks_purchase on refunds.clawbacks (purchase_id);
create index history_refund on refunds.history (refund_id,seq);
create unique index payouts_refund on refunds.payouts (refund_id) where refund_id is not null;
create index refunds_account on refunds.refunds (account_id,created_at,id);
create index refunds_subject on refunds.refunds (subject_id);
create index refunds_state on refunds.refunds (state,created_at,id);
create index refunds_created on refunds.refunds (created_at,id);
create index refunds_due on refunds.refunds (next_step_at) where next_step_at is not null;
create index sightings_due on refunds.sightings (next_look_at) where next_look_at is not null;

-- By hand: what drizzle-kit cannot say.
alter table refunds.refunds
  add constraint refunds_subject_type check (subject_type in ('purchase', 'payment_request', 'run')),
  add constraint refunds_part check (part = 'whole' or (part = 'excess' and subject_type = 'payment_request')),
  add constraint refunds_rail check (rail in ('credits', 'omise', 'bank', 'evm')),
  add constraint refunds_state check (state in
    ('requested', 'awaiting_approval', 'reserved', 'sending', 'completed', 'rejected', 'failed')),
  add constraint refunds_amount check (credits >= 0 and amount > 0 and worth >= 0),
  add constraint refunds_reason check (length(reason) between 1 and 500),
  add constraint refunds_destination check ((rail = 'evm') = (destination is not null)),
  add constraint refunds_proof check ((subject_type = 'payment_request') = (challenge_id is not null)),
  add constraint refunds_failure check ((state = 'failed') = (failure_code is not null)),
  add constraint refunds_completed check ((state = 'completed') = (completed_at is not null)),
  -- Maker and checker are two people.
  add constraint refunds_decided check (decided_by <> account_id),
  add constraint refunds_over check (next_step_at is null or state in ('requested', 'reserved', 'sending')),
  set (fillfactor = 80);
alter table refunds.attempts
  add constraint attempts_number check (number between 1 and 100),
  add constraint attempts_outcome check (outcome in ('open', 'done', 'refused', 'unavailable', 'not_found'));
-- Of one refund no second try while the first may still succeed.
create unique index attempts_open on refunds.attempts (refund_id) where outcome = 'open';
-- One run has one return in the ledger, and so one refund that is not over.
create unique index refunds_run on refunds.refunds (subject_id) where subject_type = 'run' and state not in ('rejected', 'failed');
alter table refunds.payouts
  add constraint payouts_rail check (rail in ('omise', 'bank', 'evm')),
  add constraint payouts_amount check (amount > 0);
alter table refunds.clawbacks
  add constraint clawbacks_kind check (kind in ('refund', 'void', 'dispute')),
  add constraint clawbacks_amount check (credits >= 0 and amount >= 0),
  add constraint clawbacks_restored check (restored_at is null or kind = 'dispute');

create trigger payouts_append_only before update or delete on refunds.payouts
  for each row execute function platform.refuse_change();
create trigger payouts_no_truncate before truncate on refunds.payouts
  for each statement execute function platform.refuse_change();
create trigger history_append_only before update or delete on refunds.history
  for each row execute function platform.refuse_change();
create trigger history_no_truncate before truncate on refunds.history
  for each statement execute function platform.refuse_change();
