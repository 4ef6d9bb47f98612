-- no transaction: a table of many millions of lines is not to be locked while the index is made.
drop index concurrently if exists credits.transfers_made;
create index concurrently transfers_made on credits.transfers using brin (created_at) with (autosummarize = on);
