-- no transaction: a table of many millions of runs is not to be locked while the index is made.
drop index concurrently if exists workflows.runs_live;
create index concurrently runs_live on workflows.runs (service_id,next_attempt_at) where state = 'running';
