-- no transaction: a table of many millions of lines is not to be locked while the index is made.
drop index concurrently if exists credits.transfers_hold;
create index concurrently transfers_hold on credits.transfers (account_id,parent_id) where kind in ('hold', 'capture', 'release');
