create table credits.accounts (
  account_id uuid primary key,
  available bigint not null default 0,
  held bigint not null default 0,
  debt bigint not null default 0,
  seq bigint not null default 0,
  head_hash bytea not null default ''
);

create table credits.holds (
  account_id uuid not null,
  id uuid not null,
  amount bigint not null,
  captured bigint not null default 0,
  released bigint not null default 0,
  for_type text not null,
  for_id uuid not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  constraint holds_pkey primary key(account_id,id)
);

create table credits.transfers (
  account_id uuid not null,
  seq bigint not null,
  id uuid not null,
  kind text not null,
  debit text not null,
  credit text not null,
  amount bigint not null,
  available_after bigint not null,
  held_after bigint not null,
  debt_after bigint not null,
  ref_type text not null,
  ref_id uuid not null,
  parent_id uuid,
  memo text,
  created_at timestamptz not null,
  hash bytea not null,
  constraint transfers_pkey primary key(account_id,seq)
);
create index holds_purpose on credits.holds (for_type,for_id);
create unique index transfers_reference on credits.transfers (account_id,ref_type,ref_id,kind);

-- By hand: what drizzle-kit cannot say.
alter table credits.accounts
  add constraint accounts_available check (available >= 0),
  add constraint accounts_held check (held >= 0),
  add constraint accounts_debt check (debt >= 0),
  -- Every spend rewrites its account's row: with room in the page the new version stays there, off the indexes.
  set (fillfactor = 50);

alter table credits.holds
  add constraint holds_amount check (amount > 0),
  add constraint holds_captured check (captured >= 0),
  add constraint holds_released check (released >= 0),
  add constraint holds_spent_once check (captured + released <= amount),
  add constraint holds_account foreign key (account_id) references credits.accounts (account_id);

alter table credits.transfers
  add constraint transfers_amount check (amount > 0),
  add constraint transfers_seq check (seq > 0),
  add constraint transfers_available_after check (available_after >= 0),
  add constraint transfers_held_after check (held_after >= 0),
  add constraint transfers_debt_after check (debt_after >= 0),
  add constraint transfers_hash check (length(hash) = 32),
  add constraint transfers_memo check (length(memo) <= 200),
  add constraint transfers_account foreign key (account_id) references credits.accounts (account_id),
  add constraint transfers_route check ((kind, debit, credit) in (
    ('purchase', 'issued', 'available'),
    ('grant', 'issued', 'available'),
    ('spend', 'available', 'revenue'),
    ('return', 'revenue', 'available'),
    ('hold', 'available', 'held'),
    ('capture', 'held', 'revenue'),
    ('release', 'held', 'available'),
    ('clawback', 'debt', 'clawback'),
    ('repay', 'available', 'debt'),
    ('adjust', 'issued', 'available'),
    ('adjust', 'available', 'issued'),
    ('link', 'available', 'linked'),
    ('link', 'linked', 'available')));

create trigger transfers_append_only before update or delete on credits.transfers
  for each row execute function platform.refuse_change();
create trigger transfers_no_truncate before truncate on credits.transfers
  for each statement execute function platform.refuse_change();

-- What a ledger verb answers. result: posted | replay | conflict | insufficient | exceeded | busy.
-- On everything but `posted` nothing has moved; balances are those after the call.
create type credits.outcome as (
  result text, transfer_id uuid, seq bigint, available bigint, held bigint, debt bigint
);
