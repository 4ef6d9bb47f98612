-- no transaction: payments go on while the indexes are made.
drop index concurrently if exists payments.purchases_purposes;
create unique index concurrently purchases_purposes on payments.purchases
  (for_type, for_id, (case when method = 'lightning' then credits else 0 end)) where state = 'pending' and for_id is not null;
drop index concurrently if exists payments.purchases_purpose;
drop index concurrently if exists payments.purchases_for;
create index concurrently purchases_for on payments.purchases (for_id) where for_id is not null;
