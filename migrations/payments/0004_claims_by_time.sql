-- no transaction: payments go on while the indexes are made.
drop index concurrently if exists payments.completions_made;
create index concurrently completions_made on payments.completions (created_at);
drop index concurrently if exists payments.claims_made;
create index concurrently claims_made on payments.claims (created_at);
drop index concurrently if exists payments.differences_found;
create index concurrently differences_found on payments.differences (found_at);
