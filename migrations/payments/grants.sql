grant usage on schema payments to {{app}}, {{auditor}};
grant select on all tables in schema payments to {{app}}, {{auditor}};
grant insert, update on payments.packages, payments.purchases, payments.charges, payments.differences, payments.watermarks to {{app}};
grant insert on payments.claims, payments.history, payments.request_history to {{app}};
grant insert, update on payments.payment_requests, payments.request_transactions, payments.settlements, payments.completions,
  payments.chain_cursors to {{app}};
grant insert, update on payments.invoices to {{app}};
grant insert, update on payments.orders, payments.order_sessions to {{app}};
grant insert, update on payments.arrivals to {{app}};
grant insert, update, delete on payments.package_prices, payments.lightning_prices to {{app}};
grant insert, update, delete on payments.webhook_inbox to {{app}};
-- The auditor sees purchases and payment requests, not the links that open them.
revoke select on payments.purchases, payments.payment_requests from {{auditor}};
do $$
declare
  opened regclass;
begin
  foreach opened in array '{payments.purchases, payments.payment_requests}'::regclass[] loop
    execute (
      select format('grant select (%s) on %s to {{auditor}}', string_agg(quote_ident(attname), ', '), opened)
      from pg_attribute
      where attrelid = opened and attnum > 0 and not attisdropped and attname <> 'page_token');
  end loop;
end
$$;
