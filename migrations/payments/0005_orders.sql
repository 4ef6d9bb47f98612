create table payments.orders (
  id uuid primary key,
  order_id text not null,
  merchant_id uuid not null,
  resource text not null,
  summary text not null,
  price bigint not null,
  fulfillment_url text,
  fulfillment_message text,
  public_reorder_url text,
  extra jsonb,
  max_sessions integer not null,
  refund_policy text not null,
  has_token boolean not null,
  session_id text,
  proposal_hash text not null,
  state text default 'unpaid' not null,
  created_at timestamp with time zone default now() not null,
  pay_deadline timestamp with time zone not null,
  refund_deadline timestamp with time zone not null,
  superseded_at timestamp with time zone,
  claimed_at timestamp with time zone,
  claim_did text,
  nonce text,
  contract text,
  h_contract text,
  paid_at timestamp with time zone,
  payer_id uuid,
  refunded_credits bigint default 0 not null,
  version integer default 1 not null,
  constraint orders_state check (state in ('unpaid', 'claimed', 'paid')),
  constraint orders_price check (price > 0),
  constraint orders_refunded check (refunded_credits between 0 and price and (refunded_credits = 0 or state = 'paid')),
  constraint orders_policy check (refund_policy in ('revoke_on_any', 'revoke_on_full') and max_sessions between 1 and 10),
  constraint orders_claimed check (
    (state <> 'unpaid') = (claimed_at is not null) and (claimed_at is null) = (claim_did is null)
    and (claimed_at is null) = (nonce is null) and (claimed_at is null) = (contract is null)
    and (claimed_at is null) = (h_contract is null)),
  constraint orders_paid check ((state = 'paid') = (paid_at is not null) and (paid_at is null) = (payer_id is null)),
  constraint orders_lengths check (
    length(order_id) <= 60 and length(resource) <= 200 and length(summary) <= 200 and length(fulfillment_url) <= 1000
    and length(fulfillment_message) <= 500 and length(public_reorder_url) <= 1000 and length(session_id) <= 64)
);

create table payments.order_sessions (
  order_id uuid not null,
  session_id text not null,
  proven_at timestamp with time zone default now() not null,
  evicted_at timestamp with time zone,
  constraint order_sessions_pkey primary key (order_id, session_id),
  constraint order_sessions_order_id_orders_id_fk foreign key (order_id) references payments.orders (id),
  constraint order_sessions_session check (length(session_id) between 8 and 64)
);

create index order_sessions_alive on payments.order_sessions (session_id) where evicted_at is null;
create unique index orders_order_id on payments.orders (order_id);
create unique index orders_h_contract on payments.orders (h_contract);
create unique index orders_open on payments.orders (merchant_id, session_id, resource)
  where state <> 'paid' and superseded_at is null and session_id is not null;
create index orders_merchant on payments.orders (merchant_id, created_at, id);
create index orders_bought on payments.orders (merchant_id, fulfillment_url, claim_did) where state = 'paid';
create index orders_waiting on payments.orders (session_id) where state <> 'paid' and session_id is not null;
