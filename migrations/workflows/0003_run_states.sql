-- no transaction: many millions of runs are not to be locked while they are looked at.
alter table workflows.runs drop constraint if exists runs_state;
alter table workflows.runs add constraint runs_state check (
  state in ('awaiting_payment', 'queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled', 'expired')) not valid;
alter table workflows.runs validate constraint runs_state;
alter table workflows.runs drop constraint if exists runs_finished;
alter table workflows.runs add constraint runs_finished check (
  (state in ('succeeded', 'failed', 'cancelled', 'expired')) = (finished_at is not null)) not valid;
alter table workflows.runs validate constraint runs_finished;
alter table workflows.runs drop constraint if exists runs_payment;
alter table workflows.runs add constraint runs_payment check (case when quote is null
  then payment_state = 'paid' and paid = 0 and due = 0 and ask_id is null and state not in ('awaiting_payment', 'paused', 'expired')
  else payment_state in ('none', 'open', 'part_paid', 'paid', 'expired', 'written_off', 'released')
    and paid between 0 and cost and due between 0 and cost and returned <= paid end) not valid;
alter table workflows.runs validate constraint runs_payment;
