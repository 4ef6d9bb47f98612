-- Accounts of people who have never signed up here, by how they are known elsewhere.
alter table identity.accounts
  add column shadow_of text,
  add constraint accounts_shadow_of check (shadow_of ~ '^[a-z]+:[!-~]{1,200}$');
create unique index accounts_shadow on identity.accounts (shadow_of) where shadow_of is not null;
