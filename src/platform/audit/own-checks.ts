import { BROKEN_SEAL } from '../audit-log.ts';
import { type Check, changeable, type Walk } from './check.ts';

/** What must hold of the platform's own tables and of the database that everything lies in. */

const seals: Walk = {
  name: 'seals of the audit log',
  table: 'platform.audit_seals',
  as: 's',
  key: [['id', 'bigint']],
  firstWindow: 10, // each is over up to 5000 rows
};

export const keys: Walk = {
  name: 'idempotency keys',
  table: 'platform.idempotency_keys',
  as: 'y',
  key: [
    ['account_id', 'uuid'],
    ['route', 'text'],
    ['key', 'text'],
  ],
  columns: ['account_id', 'route', 'key', 'resource_id', 'status', 'created_at', 'expires_at'],
};

const CONTEXTS = "('platform', 'identity', 'credits', 'payments', 'workflows', 'refunds')";
const isOurs = (oid: string) => `${oid} in (select oid from pg_catalog.pg_namespace where nspname in ${CONTEXTS})`;
const NEEDED = "('fsync', 'on'), ('full_page_writes', 'on'), ('synchronous_commit', 'on'), ('data_checksums', 'on')";

const ofDatabase: Check[] = [
  {
    id: 'D01',
    rule: 'Every constraint was validated and is enforced, and every index is valid',
    over: 'schema',
    broken: `select conrelid::regclass || ' ' || conname as key from pg_catalog.pg_constraint c
      where ${isOurs('connamespace')} and (not convalidated or to_jsonb(c) ->> 'conenforced' = 'false')
      union all
      select indexrelid::regclass::text from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
      where ${isOurs('c.relnamespace')} and not (indisvalid and indisready and indislive)`,
  },
  {
    id: 'D02',
    rule: 'No foreign key crosses a schema, and only the owner makes tables and functions; none is for everybody',
    over: 'schema',
    broken: `select conrelid::regclass || ' ' || conname as key from pg_catalog.pg_constraint k
        join pg_catalog.pg_class a on a.oid = k.conrelid join pg_catalog.pg_class b on b.oid = k.confrelid
      where k.contype = 'f' and a.relnamespace <> b.relnamespace and (${isOurs('a.relnamespace')} or ${isOurs('b.relnamespace')})
      union all
      select nspname || ': ' || privilege_type || ' is granted to ' || coalesce(nullif(grantee, 0)::regrole::text, 'everybody')
      from pg_catalog.pg_namespace n, aclexplode(n.nspacl)
      where nspname in ${CONTEXTS} and grantee <> nspowner and (privilege_type = 'CREATE' or grantee = 0)
      union all
      select c.oid::regclass || ': ' || privilege_type || ' is granted to everybody'
      from pg_catalog.pg_class c, aclexplode(c.relacl) where ${isOurs('relnamespace')} and grantee = 0
      union all
      select f.oid::regprocedure || ': is for everybody'
      from pg_catalog.pg_proc f
      where ${isOurs('pronamespace')} and (proacl is null or exists (select from aclexplode(proacl) where grantee = 0))`,
  },
  {
    id: 'D03',
    rule: 'What was acknowledged survives a crash: fsync, full_page_writes, synchronous_commit and data_checksums are on',
    over: 'server',
    broken: `select name || ' is ' || current_setting(name) as key from (values ${NEEDED}) as needed (name, value)
      where current_setting(name) not in (value, 'local', 'remote_write', 'remote_apply')
      union all
      select coalesce(nullif(setrole, 0)::regrole::text, 'everybody') || ': ' || setting
      from pg_catalog.pg_db_role_setting, unnest(setconfig) as setting
      where setting = 'synchronous_commit=off' and setdatabase in (0, (select oid from pg_catalog.pg_database where datname = current_database()))`,
  },
];

export const platformChecks: Check[] = [
  ...ofDatabase,
  {
    id: 'A01',
    rule: 'Each seal of the audit log follows from the one before it and from the rows that it is over',
    over: seals,
    broken: BROKEN_SEAL,
  },
  {
    id: 'A02',
    rule: 'The audit log is sealed within an hour',
    over: 'audit log',
    broken: `select r.seq::text as key from platform.audit_log r,
        (select coalesce(max(id), 0) as id from platform.audit_seals) newest left join platform.audit_seals s on s.id = newest.id
      where (r.xid, r.seq) > (coalesce(s.until_xid, '0'), coalesce(s.until_seq, 0)) and r.at < now() - interval '1 hour'`,
    only: 'live',
  },
  {
    id: 'A03',
    rule: 'Audit log, seals, events and the mode can be added to, and not changed',
    over: 'schema',
    broken: changeable(['platform.audit_log', 'platform.audit_seals', 'platform.events', 'platform.installation']),
  },
  {
    id: 'I02',
    rule: 'An idempotency key leads to what was done, and lives for three days',
    over: keys,
    broken: `(y.resource_id is null and y.status is null) or y.expires_at < y.created_at + interval '71 hours'`,
  },
  {
    id: 'I03',
    rule: 'No idempotency key outlived its time by two hours',
    over: keys,
    broken: `y.expires_at < now() - interval '2 hours'`,
    only: 'live',
  },
];
