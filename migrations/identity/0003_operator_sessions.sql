create table identity.operator_sessions (
  token_hash bytea primary key,
  account_id uuid not null,
  token_version integer not null,
  created_at timestamp with time zone default now() not null,
  seen_at timestamp with time zone default now() not null,
  constraint operator_sessions_account_id_accounts_id_fk foreign key (account_id) references identity.accounts (id)
);
create index operator_sessions_account on identity.operator_sessions (account_id);
