grant usage on schema workflows to {{app}}, {{auditor}};
grant select on all tables in schema workflows to {{app}}, {{auditor}};
grant insert, update on workflows.services, workflows.workflows, workflows.runs to {{app}};
grant insert on workflows.parts to {{app}};
grant insert, update, delete on workflows.nostr_outbox, workflows.nostr_inbox to {{app}};
grant insert, update on workflows.nostr_relays to {{app}};
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
