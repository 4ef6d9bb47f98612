grant usage on schema workflows to {{app}}, {{auditor}};
grant select on all tables in schema workflows to {{app}}, {{auditor}};
grant insert, update on workflows.services, workflows.workflows, workflows.runs to {{app}};
grant insert on workflows.parts to {{app}};
