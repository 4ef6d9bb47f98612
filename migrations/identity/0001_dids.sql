create table identity.did_challenges (
  id uuid primary key,
  nonce text not null,
  did text not null,
  purpose text not null,
  statement text not null,
  wallet text,
  chain_id bigint,
  subject_type text,
  subject_id uuid,
  terms_hash text,
  attempts integer not null default 0,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  consumed_at timestamptz
);

create table identity.dids (
  id uuid primary key,
  did text not null,
  account_id uuid not null,
  wallet text,
  challenge_id uuid not null,
  created_at timestamptz not null default now()
);

create table identity.wallets (
  id uuid primary key,
  did_id uuid not null,
  address text not null,
  challenge_id uuid not null,
  did_jwt text not null,
  siwe_signature text not null,
  created_at timestamptz not null default now()
);

alter table identity.dids add constraint dids_account_id_accounts_id_fk foreign key (account_id) references identity.accounts(id);
alter table identity.dids add constraint dids_challenge_id_did_challenges_id_fk foreign key (challenge_id) references identity.did_challenges(id);
alter table identity.wallets add constraint wallets_did_id_dids_id_fk foreign key (did_id) references identity.dids(id) on delete cascade;
alter table identity.wallets add constraint wallets_challenge_id_did_challenges_id_fk foreign key (challenge_id) references identity.did_challenges(id);
create unique index did_challenges_nonce on identity.did_challenges (nonce);
create index did_challenges_expiry on identity.did_challenges (expires_at);
create unique index dids_did on identity.dids (did);
create unique index dids_challenge on identity.dids (challenge_id);
create index dids_account on identity.dids (account_id,created_at);
create unique index wallets_link on identity.wallets (did_id,address);
create unique index wallets_challenge on identity.wallets (challenge_id);

-- By hand: what drizzle-kit cannot say.
alter table identity.did_challenges
  add constraint did_challenges_nonce_form check (nonce ~ '^[0-9a-f]{32,}$'),
  add constraint did_challenges_did check (did ~ '^did:(key|pkh):' and length(did) <= 200),
  add constraint did_challenges_purpose check (purpose in ('login', 'link', 'wallet', 'payment', 'status', 'refund', 'order')),
  -- EIP-4361: one line of ASCII; what else could be in it would not be what the wallet shows.
  add constraint did_challenges_statement check (statement ~ '^[ -~]+$' and length(statement) <= 500),
  add constraint did_challenges_wallet check (num_nulls(wallet, chain_id) in (0, 2) and wallet ~ '^0x[0-9a-f]{40}$' and chain_id > 0),
  add constraint did_challenges_two_proofs check (purpose <> 'wallet' or (wallet is not null and did like 'did:key:%')),
  add constraint did_challenges_subject check ((purpose = 'login') = (subject_id is null) and (subject_type is null) = (subject_id is null)),
  add constraint did_challenges_terms check (terms_hash ~ '^[0-9a-f]{64}$'),
  add constraint did_challenges_attempts check (attempts between 0 and 5),
  add constraint did_challenges_lifetime check (expires_at > created_at and expires_at <= created_at + interval '5 minutes'),
  add constraint did_challenges_in_time check (consumed_at is null or (consumed_at between created_at and expires_at and attempts > 0));

alter table identity.dids
  add constraint dids_form check (did ~ '^did:(key|pkh):' and length(did) <= 200),
  add constraint dids_wallet check (wallet ~ '^0x[0-9a-f]{40}$');

alter table identity.wallets
  add constraint wallets_address check (address ~ '^0x[0-9a-f]{40}$'),
  add constraint wallets_proofs check (length(did_jwt) <= 4096 and siwe_signature ~ '^0x[0-9a-f]{130}$');
