grant usage on schema payments to {{app}}, {{auditor}};
grant select on all tables in schema payments to {{app}}, {{auditor}};
grant insert, update on payments.packages, payments.purchases, payments.charges, payments.differences, payments.watermarks to {{app}};
grant insert on payments.claims, payments.history to {{app}};
grant insert, update, delete on payments.webhook_inbox to {{app}};
-- The auditor sees purchases, not the links that open them.
revoke select on payments.purchases from {{auditor}};
do $$
begin
  execute (
    select format('grant select (%s) on payments.purchases to {{auditor}}', string_agg(quote_ident(attname), ', '))
    from pg_attribute
    where attrelid = 'payments.purchases'::regclass and attnum > 0 and not attisdropped and attname <> 'page_token');
end
$$;
