-- The ledger's door: read everything, change it by these functions only.
revoke execute on all functions in schema credits from public;
grant usage on schema credits to {{app}}, {{auditor}};
grant select on all tables in schema credits to {{app}}, {{auditor}};
grant execute on function
  credits.post(uuid, text, bigint, text, uuid, uuid, text),
  credits.spend(uuid, bigint, uuid),
  credits.spend_batch(uuid[], bigint[], uuid[]),
  credits.hold(uuid, uuid, bigint, text, uuid, timestamptz, text, uuid),
  credits.capture(uuid, uuid, bigint, text, uuid),
  credits.release(uuid, uuid, bigint, text, uuid),
  credits.reserve_refund(uuid, uuid, bigint, bigint),
  credits.take_refund(uuid, uuid, bigint),
  credits.link(uuid, uuid, bigint, text, uuid),
  credits.lock(uuid[])
to {{app}};
grant execute on function
  credits.transfer_hash(bytea, uuid, bigint, uuid, text, text, text, bigint, bigint, bigint, bigint, text, uuid, uuid, text, timestamptz)
to {{app}}, {{auditor}};
