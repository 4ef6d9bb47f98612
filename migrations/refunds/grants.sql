grant usage on schema refunds to {{app}}, {{auditor}};
grant select on all tables in schema refunds to {{app}}, {{auditor}};
grant insert, update on refunds.refunds, refunds.attempts, refunds.clawbacks, refunds.sightings to {{app}};
grant insert on refunds.payouts, refunds.history to {{app}};
