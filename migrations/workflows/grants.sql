grant usage on schema workflows to {{app}}, {{auditor}};
grant select on all tables in schema workflows to {{app}}, {{auditor}};
grant insert, update on workflows.services, workflows.workflows, workflows.runs to {{app}};
grant insert on workflows.parts to {{app}};
grant insert, update on workflows.asks, workflows.settlements, workflows.tabs to {{app}};
-- The auditor sees services, not what signs for them, be it sealed.
revoke select on workflows.services from {{auditor}};
do $$
begin
  execute (
    select format('grant select (%s) on workflows.services to {{auditor}}', string_agg(quote_ident(attname), ', '))
    from pg_attribute
    where attrelid = 'workflows.services'::regclass and attnum > 0 and not attisdropped and attname <> 'signing_secret');
end
$$;
grant insert, update on workflows.nostr_customers, workflows.nostr_jobs, workflows.nostr_events, workflows.nostr_cursors to {{app}};
