revoke execute on all functions in schema platform from public;
grant usage on schema platform to {{app}}, {{auditor}};
grant select on all tables in schema platform to {{app}}, {{auditor}};
grant insert on platform.events, platform.audit_log, platform.audit_seals, platform.installation to {{app}};
grant usage on sequence platform.events_seq to {{app}};
grant insert, update, delete on platform.idempotency_keys to {{app}};
grant insert, delete, update (cleared_at) on platform.audits to {{app}};
grant insert, update, delete on platform.webhook_endpoints, platform.webhook_deliveries to {{app}};
grant insert, delete on platform.webhook_attempts to {{app}};
grant update on platform.webhook_cursor to {{app}};
grant insert on platform.subscribers to {{app}};
grant insert, update, delete on platform.deliveries to {{app}};
grant execute on function platform.event_horizon(), platform.audit_text(platform.audit_log) to {{app}}, {{auditor}};
-- Replies can show a secret once; the auditor does not see them, nor what signs webhooks, be they sealed.
revoke select on platform.idempotency_keys, platform.webhook_endpoints from {{auditor}};
do $$
declare
  hidden record;
begin
  for hidden in values ('idempotency_keys', 'reply'), ('webhook_endpoints', 'signing_secret') loop
    execute (
      select format('grant select (%s) on platform.%I to {{auditor}}', string_agg(quote_ident(attname), ', '), hidden.column1)
      from pg_attribute
      where attrelid = format('platform.%I', hidden.column1)::regclass and attnum > 0 and not attisdropped
        and attname <> hidden.column2);
  end loop;
end
$$;
