create table identity.service_keys (
  did text primary key,
  private_key bytea not null,
  created_at timestamptz not null default now(),
  retired_at timestamptz
);
-- One key signs at a time.
create unique index service_keys_signing on identity.service_keys ((true)) where retired_at is null;

-- By hand: what drizzle-kit cannot say.
alter table identity.service_keys add constraint service_keys_did check (did ~ '^did:key:z6Mk[1-9A-HJ-NP-Za-km-z]{44}$');
-- Whose wallet paid?
create index dids_wallet on identity.dids (wallet) where wallet is not null;
create index wallets_address on identity.wallets (address);
