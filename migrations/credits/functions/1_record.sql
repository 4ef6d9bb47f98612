-- hash = sha256(previous hash of the account ‖ canonical text); the canonical text is a version, then every field: its
-- length in bytes, a colon, its bytes; null is '-'. (concat_ws would be ambiguous.) Written as one concatenation, which
-- costs an eighth of a function for each field: every spend pays for it. Times are UTC epoch microseconds, because the
-- text of a timestamptz depends on the session. Test vector in docs/ledger-hash.md.
create or replace function credits.transfer_hash(
  previous bytea, account_id uuid, seq bigint, id uuid, kind text, debit text, credit text, amount bigint,
  available_after bigint, held_after bigint, debt_after bigint,
  ref_type text, ref_id uuid, parent_id uuid, memo text, created_at timestamptz
) returns bytea language sql stable as $$
  select sha256(previous || convert_to(concat('t136:', account_id, length(seq::text), ':', seq, '36:', id,
    octet_length(kind), ':', kind, octet_length(debit), ':', debit, octet_length(credit), ':', credit,
    length(amount::text), ':', amount, length(available_after::text), ':', available_after,
    length(held_after::text), ':', held_after, length(debt_after::text), ':', debt_after,
    octet_length(ref_type), ':', ref_type, '36:', ref_id, coalesce('36:' || parent_id, '-'),
    coalesce(octet_length(memo) || ':' || memo, '-'),
    length((extract(epoch from created_at) * 1000000)::bigint::text), ':',
    (extract(epoch from created_at) * 1000000)::bigint), 'UTF8'))
$$;
drop function if exists credits.field(text);

-- Every move goes through here: one update of the account's row (which serialises the account), one inserted line.
-- Returns no row when the account has not got the amount, or does not exist; then nothing has moved.
create or replace function credits.record(
  p_account uuid, p_kind text, p_debit text, p_credit text, p_amount bigint,
  p_ref_type text, p_ref_id uuid, p_parent_id uuid, p_memo text
) returns setof credits.outcome language plpgsql
  set search_path = pg_catalog, pg_temp as $$
declare
  v_id uuid := gen_random_uuid();
  v_available bigint := (case when p_credit = 'available' then p_amount else 0 end)
                      - (case when p_debit = 'available' then p_amount else 0 end);
  v_held bigint := (case when p_credit = 'held' then p_amount else 0 end)
                 - (case when p_debit = 'held' then p_amount else 0 end);
  -- A debt is what the account owes: the system's claim grows when it is debited.
  v_debt bigint := (case when p_debit = 'debt' then p_amount else 0 end)
                 - (case when p_credit = 'debt' then p_amount else 0 end);
  a credits.accounts;
begin
  if p_amount is null or p_amount <= 0 then
    raise exception 'the ledger moves positive amounts only' using errcode = 'invalid_parameter_value';
  end if;
  update credits.accounts as acc set
    available = acc.available + v_available,
    held = acc.held + v_held,
    debt = acc.debt + v_debt,
    seq = acc.seq + 1,
    head_hash = credits.transfer_hash(acc.head_hash, p_account, acc.seq + 1, v_id, p_kind, p_debit, p_credit, p_amount,
      acc.available + v_available, acc.held + v_held, acc.debt + v_debt,
      p_ref_type, p_ref_id, p_parent_id, p_memo, now())
  where acc.account_id = p_account
    and acc.available + v_available >= 0 and acc.held + v_held >= 0 and acc.debt + v_debt >= 0
  returning * into a;
  if not found then
    return;
  end if;
  insert into credits.transfers values (p_account, a.seq, v_id, p_kind, p_debit, p_credit, p_amount,
    a.available, a.held, a.debt, p_ref_type, p_ref_id, p_parent_id, p_memo, now(), a.head_hash);
  return next ('posted', v_id, a.seq, a.available, a.held, a.debt)::credits.outcome;
end
$$;

-- What was booked for this cause before: replay (the same move), conflict (another amount, direction or parent), or no
-- row. The caller holds the account's lock, so that of two callers with one cause the second finds what the first booked.
create or replace function credits.booked(
  p_account uuid, p_kind text, p_debit text, p_amount bigint, p_ref_type text, p_ref_id uuid, p_parent_id uuid
) returns setof credits.outcome language plpgsql stable
  set search_path = pg_catalog, pg_temp as $$
begin
  return query
    select case when t.amount = p_amount and t.debit = p_debit and t.parent_id is not distinct from p_parent_id
        then 'replay' else 'conflict' end,
      t.id, t.seq, a.available, a.held, a.debt
    from credits.transfers t join credits.accounts a using (account_id)
    where t.account_id = p_account and t.ref_type = p_ref_type and t.ref_id = p_ref_id and t.kind = p_kind;
end
$$;

-- The answer to a move that the account does not allow. An account that has no row yet has zeros.
create or replace function credits.refused(p_account uuid, p_result text)
returns credits.outcome language sql stable
  set search_path = pg_catalog, pg_temp as $$
  select p_result, null::uuid, coalesce(a.seq, 0), coalesce(a.available, 0), coalesce(a.held, 0), coalesce(a.debt, 0)
  from (values (1)) as always left join credits.accounts a on a.account_id = p_account
$$;

-- Locks accounts in id order, for a caller that decides over several of them or before it moves anything.
create or replace function credits.lock(p_accounts uuid[]) returns void language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
begin
  perform 1 from credits.accounts where account_id = any(p_accounts) order by account_id for no key update;
end
$$;
