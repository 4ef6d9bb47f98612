grant usage on schema payments to {{app}}, {{auditor}};
grant select on all tables in schema payments to {{app}}, {{auditor}};
grant insert, update on payments.packages, payments.purchases, payments.charges, payments.differences, payments.watermarks to {{app}};
grant insert on payments.claims, payments.history to {{app}};
grant insert, update, delete on payments.webhook_inbox to {{app}};
