grant usage on schema platform to {{app}}, {{auditor}};
grant select on all tables in schema platform to {{app}}, {{auditor}};
grant insert on platform.events, platform.audit_log, platform.audit_seals, platform.installation to {{app}};
grant usage on sequence platform.events_seq to {{app}};
grant insert, update, delete on platform.idempotency_keys to {{app}};
grant execute on function platform.event_horizon(), platform.audit_text(platform.audit_log) to {{app}}, {{auditor}};
