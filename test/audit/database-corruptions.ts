import type { Corruption } from './ledger-corruptions.ts';

export const databaseCorruptions: Corruption[] = [
  ['an audit row that was changed', "update platform.audit_log set actor = 'x' where seq = 2", ['A01']],
  [
    'an audit row that was removed',
    "delete from platform.audit_log where action = 'payments.package_created'",
    ['A01'],
  ],
  ['a seal that was removed', 'delete from platform.audit_seals where id = 1', ['A01']],
  ['a seal that was changed', "update platform.audit_seals set hash = sha256('x') where id = 2", ['A01']],
  [
    'the audit row of a grant that was removed, and all seals made anew without it',
    "delete from platform.audit_log where action = 'credits.grant'; truncate platform.audit_seals",
    ['L18'],
  ],
  [
    'an audit log that nobody seals',
    "truncate platform.audit_seals; update platform.audit_log set at = at - interval '61 minutes'",
    ['A02'],
  ],
  ['events that can be changed', 'alter table platform.events disable trigger all', ['A03']],
  ['an audit log that anybody may empty', 'grant truncate on platform.audit_log to public', ['A03', 'D02']],
  ['a ledger that the application may write', 'grant insert on credits.transfers to farebox_app', ['L10']],
  [
    'balances that the application may write',
    'grant update (available) on credits.accounts to farebox_app; grant update on credits.holds to farebox_app',
    ['L10'],
  ],
  ['lines that can be changed', 'drop trigger transfers_append_only on credits.transfers', ['L10']],
  [
    'a trigger that was replaced by one that does nothing',
    `create function credits.shrug() returns trigger language plpgsql as 'begin return new; end';
      revoke execute on function credits.shrug() from public;
      create or replace trigger transfers_append_only before update or delete on credits.transfers for each row execute function credits.shrug()`,
    ['L10'],
  ],
  [
    'a constraint that nobody has checked',
    'alter table credits.accounts add constraint later check (available >= 0) not valid',
    ['D01'],
  ],
  [
    'an index that is not valid',
    "update pg_catalog.pg_index set indisvalid = false where indexrelid = 'credits.transfers_reference'::regclass",
    ['D01'],
  ],
  [
    'a foreign key to another context',
    'alter table payments.purchases add constraint crossing foreign key (account_id) references identity.accounts (id)',
    ['D02'],
  ],
  [
    'a verb of the ledger for everybody',
    'grant execute on function credits.spend(uuid, bigint, uuid) to public',
    ['D02'],
  ],
  ['a schema in which the application may make things', 'grant create on schema credits to farebox_app', ['D02']],
  ['an operator that nobody has made', "update identity.accounts set role = 'operator' where role = 'user'", ['I05']],
  [
    'a role that there is not',
    "alter table identity.accounts drop constraint accounts_role; update identity.accounts set role = 'god' where role = 'user'",
    ['I06'],
  ],
  [
    'two accounts with one address',
    'drop index identity.accounts_email; update identity.accounts set email = (select upper(email) from identity.accounts limit 1)',
    ['I06'],
  ],
  [
    'a key that is forgotten too early',
    "update platform.idempotency_keys set expires_at = created_at + interval '1 hour'",
    ['I02'],
  ],
  [
    'a key that is never forgotten',
    "update platform.idempotency_keys set expires_at = now() - interval '3 hours', created_at = now() - interval '75 hours'",
    ['I03'],
  ],
  [
    'an event that was told to a stranger',
    'update platform.webhook_endpoints set account_id = gen_random_uuid()',
    ['E01'],
  ],
  [
    'a delivery that waits behind nothing',
    `delete from platform.webhook_deliveries d where state in ('pending', 'sending') and exists (
      select from platform.webhook_deliveries h where h.state = 'held' and h.subject_id = d.subject_id)`,
    ['E02'],
  ],
  [
    'a delivery that nobody has taken',
    "update platform.webhook_attempts set status = 500, error = 'refused' where status = 204",
    ['E03'],
  ],
  [
    'an event that got lost on its way to a delivery',
    `update platform.webhook_endpoints set told_since = told_since - interval '1 hour';
      delete from platform.webhook_deliveries where state = 'delivered'`,
    ['E04'],
  ],
  [
    'events that nobody makes deliveries of',
    "update platform.webhook_cursor set moved_at = now() - interval '16 minutes'",
    ['E05'],
  ],
];
