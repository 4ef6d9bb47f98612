alter table payments.charges add column taken_back text;
alter table payments.payment_requests
  add column refund_excess numeric(78, 0) not null default 0,
  add column refund_credits bigint not null default 0;
alter table payments.purchases
  add column refund_credits bigint not null default 0,
  add column refund_amount bigint not null default 0,
  add column refunded_credits bigint not null default 0,
  add column refunded_amount bigint not null default 0;

-- By hand: what drizzle-kit cannot say.
alter table payments.purchases
  drop constraint purchases_state,
  add constraint purchases_state check (state in
    ('pending', 'completed', 'failed', 'expired', 'cancelled', 'review', 'partially_refunded', 'refunded')),
  drop constraint purchases_completed,
  add constraint purchases_completed check (
    (state in ('completed', 'partially_refunded', 'refunded')) = (completed_at is not null)),
  -- Never more than was paid, and never what is not spoken for.
  add constraint purchases_refund check (
    refund_credits between 0 and credits and refund_amount between 0 and price
    and refunded_credits between 0 and refund_credits and refunded_amount between 0 and refund_amount),
  add constraint purchases_refunded check ((refunded_amount > 0) = (state in ('partially_refunded', 'refunded')));
-- Not held against `received`: a reorganisation may take away what was given back already, and must be able to say so.
alter table payments.payment_requests
  add constraint payment_requests_refund check (refund_excess >= 0 and refund_credits between 0 and coalesce(credits, 0));
