-- no transaction: deliveries go on while the index is made.
drop index concurrently if exists platform.webhook_deliveries_failed;
create index concurrently webhook_deliveries_failed on platform.webhook_deliveries (finished_at) where state = 'failed';
