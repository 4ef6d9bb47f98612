revoke execute on all functions in schema platform from public;
grant usage on schema platform to {{app}}, {{auditor}};
grant select on all tables in schema platform to {{app}}, {{auditor}};
grant insert on platform.events, platform.audit_log, platform.audit_seals, platform.installation to {{app}};
grant usage on sequence platform.events_seq to {{app}};
grant insert, update, delete on platform.idempotency_keys to {{app}};
grant insert, delete, update (cleared_at) on platform.audits to {{app}};
grant execute on function platform.event_horizon(), platform.audit_text(platform.audit_log) to {{app}}, {{auditor}};
-- Replies can show a secret once; the auditor does not see them, be they sealed.
revoke select on platform.idempotency_keys from {{auditor}};
do $$
begin
  execute (
    select format('grant select (%s) on platform.idempotency_keys to {{auditor}}', string_agg(quote_ident(attname), ', '))
    from pg_attribute
    where attrelid = 'platform.idempotency_keys'::regclass and attnum > 0 and not attisdropped and attname <> 'reply');
end
$$;
