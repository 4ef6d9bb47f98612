grant usage on schema identity to {{app}}, {{auditor}};
grant select on all tables in schema identity to {{app}};
-- The auditor sees accounts, not the means to become one.
grant select (id, email, shadow_of, role, token_version, disabled_at, created_at) on identity.accounts to {{auditor}};
grant insert, update on identity.accounts, identity.api_keys, identity.signing_keys, identity.service_keys to {{app}};
grant insert, update, delete on identity.refresh_tokens, identity.operator_sessions, identity.password_resets to {{app}};
-- Challenges tell what was agreed to, proofs that it was: nothing in them opens anything a second time.
grant select on identity.did_challenges, identity.dids, identity.wallets to {{auditor}};
grant insert, update, delete on identity.did_challenges to {{app}};
grant insert, delete on identity.dids, identity.wallets to {{app}};
