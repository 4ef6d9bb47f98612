import { parseArgs } from 'node:util';
import postgres from 'postgres';

/**
 * Fills a migrated, empty database with many transfers, valid to the last hash, and what they stand for: accounts, each
 * with one grant that is in the audit log, and finished runs. `farebox audit` finds nothing in it, but for A02 after an
 * hour: sealing the audit log is a worker's.
 *
 *   node bench/seed-transfers.ts --url postgres://postgres:…@127.0.0.1:5433/farebox --transfers 10000000
 */
const { values } = parseArgs({
  options: {
    url: { type: 'string' },
    transfers: { type: 'string', default: '10000000' },
    /** One of them, `…0001`, has a tenth of all transfers. */
    accounts: { type: 'string', default: '10000' },
  },
});
const [transfers, accounts] = [Number(values.transfers), Number(values.accounts)];
const HOT = Math.floor(transfers / 10);
const EACH = Math.floor((transfers - HOT) / (accounts - 1));
const ROWS_AT_ONCE = 200_000;
const GIVEN = 1_000_000_000_000;

const sql = postgres(values.url ?? '', { max: 1, onnotice: () => {} });

await sql.unsafe(`
  -- The ledger's own definition of the hash, over the lines of an account one after the other.
  create aggregate pg_temp.chain(uuid, bigint, uuid, text, text, text, bigint, bigint, bigint, bigint, text, uuid, uuid,
    text, timestamptz) (sfunc = credits.transfer_hash, stype = bytea, initcond = '');
  create function pg_temp.id(kind int, n bigint) returns uuid language sql immutable as $$
    select (lpad(to_hex(kind), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid $$;
  set synchronous_commit = off; set work_mem = '256MB'; set maintenance_work_mem = '1GB'; set session_replication_role = replica;
  insert into workflows.services (id, name, credit_cost, endpoint, signing_secret, timeout_ms, max_attempts, deadline_s,
    report_interval_s, max_concurrency)
  values (pg_temp.id(5, 1), 'Benchmark', 1, 'https://example.com', '', 1000, 5, 3600, 300, 100)`);

for (let first = 1; first <= accounts; ) {
  const size = first === 1 ? HOT : EACH;
  const last = first === 1 ? 1 : Math.min(accounts, first - 1 + Math.max(1, Math.floor(ROWS_AT_ONCE / EACH)));
  await sql.unsafe(`
    insert into identity.accounts (id) select pg_temp.id(1, a) from generate_series(${first}, ${last}) a;
    insert into workflows.workflows (id, account_id, service_id, name, credit_cost, price_version)
    select pg_temp.id(3, a), pg_temp.id(1, a), pg_temp.id(5, 1), 'Benchmark', 1, 1 from generate_series(${first}, ${last}) a;
    insert into platform.audit_log (actor, action, subject_id, detail)
    select 'bench', 'credits.grant', pg_temp.id(1, a)::text, jsonb_build_object('id', pg_temp.id(2, a))::text
    from generate_series(${first}, ${last}) a;

    insert into credits.transfers
    select l.*, pg_temp.chain(account_id, seq, id, kind, debit, credit, amount, available_after, 0, 0, ref_type, ref_id,
      null, null, created_at) over (partition by account_id order by seq)
    from (
      select pg_temp.id(1, a) as account_id, seq, gen_random_uuid() as id, 'spend' as kind, 'available' as debit,
        'revenue' as credit, 1::bigint as amount, ${GIVEN} + 1 - seq as available_after, 0::bigint, 0::bigint,
        'run' as ref_type, pg_temp.id(4, a::bigint * 10000000 + seq) as ref_id, null::uuid, null::text,
        timestamptz '2026-01-01' + make_interval(secs => seq) as created_at
      from generate_series(${first}, ${last}) a, generate_series(2::bigint, ${size}) seq
      union all
      select pg_temp.id(1, a), 1, gen_random_uuid(), 'grant', 'issued', 'available', ${GIVEN}, ${GIVEN}, 0, 0, 'grant',
        pg_temp.id(2, a), null, null, timestamptz '2026-01-01'
      from generate_series(${first}, ${last}) a
    ) l;
    insert into credits.accounts (account_id, available, seq, head_hash)
    select account_id, available_after, seq, hash from credits.transfers
    where account_id between pg_temp.id(1, ${first}) and pg_temp.id(1, ${last}) and seq = ${size};

    insert into workflows.runs (account_id, id, workflow_id, service_id, cost, price_version, state, input,
      idempotency_key, request_hash, attempt, deadline_at, created_at, started_at, finished_at)
    select account_id, ref_id, pg_temp.id(3, ('x' || right(account_id::text, 12))::bit(48)::bigint), pg_temp.id(5, 1), 1, 1, 'succeeded', '{}',
      seq::text, '\\x00', 1, created_at, created_at, created_at, created_at
    from credits.transfers
    where account_id between pg_temp.id(1, ${first}) and pg_temp.id(1, ${last}) and kind = 'spend'`);
  console.log(`${last} of ${accounts} accounts`);
  first = last + 1;
}
await sql.unsafe('vacuum analyze');
await sql.end();
