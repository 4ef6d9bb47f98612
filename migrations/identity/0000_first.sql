create table identity.accounts (
  id uuid primary key,
  email text,
  password_hash text,
  role text not null default 'user',
  token_version integer not null default 1,
  disabled_at timestamptz,
  created_at timestamptz not null default now()
);

create table identity.api_keys (
  id uuid primary key,
  account_id uuid not null,
  name text not null,
  prefix text not null,
  key_hash bytea not null,
  scopes text[] not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  last_used_at timestamptz,
  revoked_at timestamptz
);

create table identity.password_resets (
  token_hash bytea primary key,
  account_id uuid not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  used_at timestamptz
);

create table identity.refresh_tokens (
  id uuid primary key,
  family_id uuid not null,
  account_id uuid not null,
  token_hash bytea not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  used_at timestamptz,
  revoked_at timestamptz
);

create table identity.signing_keys (
  kid text primary key,
  public_pem text not null,
  private_pem bytea not null,
  created_at timestamptz not null default now(),
  signs_from timestamptz not null,
  retired_at timestamptz
);

alter table identity.api_keys add constraint api_keys_account_id_accounts_id_fk foreign key (account_id) references identity.accounts(id);
alter table identity.password_resets add constraint password_resets_account_id_accounts_id_fk foreign key (account_id) references identity.accounts(id);
alter table identity.refresh_tokens add constraint refresh_tokens_account_id_accounts_id_fk foreign key (account_id) references identity.accounts(id);
create unique index accounts_email on identity.accounts (lower(email));
create unique index api_keys_hash on identity.api_keys (key_hash);
create index api_keys_account on identity.api_keys (account_id,created_at,id);
create index password_resets_account on identity.password_resets (account_id);
create unique index refresh_tokens_hash on identity.refresh_tokens (token_hash);
create index refresh_tokens_family on identity.refresh_tokens (family_id);
create index refresh_tokens_account on identity.refresh_tokens (account_id);
create index refresh_tokens_expiry on identity.refresh_tokens (expires_at);

-- By hand: what drizzle-kit cannot say.
alter table identity.accounts
  add constraint accounts_role check (role in ('user', 'merchant', 'operator')),
  add constraint accounts_email_length check (length(email) <= 254),
  add constraint accounts_password_form check (password_hash like '$argon2id$%'),
  add constraint accounts_login check (password_hash is null or email is not null);

alter table identity.refresh_tokens add constraint refresh_tokens_hash_length check (length(token_hash) = 32);

alter table identity.api_keys
  add constraint api_keys_hash_length check (length(key_hash) = 32),
  add constraint api_keys_name check (length(name) between 1 and 100),
  add constraint api_keys_scopes check (cardinality(scopes) between 1 and 32);
