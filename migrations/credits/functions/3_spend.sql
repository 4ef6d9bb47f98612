-- Spends for a run: posted | replay | conflict | insufficient. The run's id is the cause.
create or replace function credits.spend(p_account uuid, p_amount bigint, p_run uuid)
returns credits.outcome language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
declare
  v_outcome credits.outcome;
begin
  perform 1 from credits.accounts where account_id = p_account for no key update;
  select * into v_outcome from credits.booked(p_account, 'spend', 'available', p_amount, 'run', p_run, null);
  if found then
    return v_outcome;
  end if;
  select * into v_outcome
  from credits.record(p_account, 'spend', 'available', 'revenue', p_amount, 'run', p_run, null, null);
  if found then
    return v_outcome;
  end if;
  return credits.refused(p_account, 'insufficient');
end
$$;

-- Many spends in one transaction, accepted exactly as one by one in the order given would be. Accounts are locked in
-- id order and each is updated once; one that somebody else holds is not waited for: its spends answer `busy`.
create or replace function credits.spend_batch(p_accounts uuid[], p_amounts bigint[], p_runs uuid[])
returns table (n int, result text, transfer_id uuid, seq bigint, available bigint, held bigint, debt bigint)
language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
declare
  a credits.accounts;
  s record;
  v_id uuid;
  v_moved boolean;
  v_visited uuid[] := '{}';
  v_lines credits.transfers[] := '{}';
begin
  if exists (
    select from unnest(p_accounts, p_amounts, p_runs) as w (account, amount, run)
    where w.account is null or w.run is null or w.amount is null or w.amount <= 0
  ) then
    raise exception 'each spend of a batch names an account, a positive amount and a run'
      using errcode = 'invalid_parameter_value';
  end if;
  for a in
    select * from credits.accounts acc where acc.account_id = any(p_accounts)
    order by acc.account_id for no key update skip locked
  loop
    v_moved := false;
    v_visited := v_visited || a.account_id;
    for s in
      select w.n::int, w.amount, w.run, t.id as booked_id, t.amount as booked_amount, t.seq as booked_seq,
        row_number() over (partition by w.run order by w.n) > 1 as repeated
      from unnest(p_accounts, p_amounts, p_runs) with ordinality as w (account, amount, run, n)
      left join credits.transfers t
        on t.account_id = a.account_id and t.ref_type = 'run' and t.ref_id = w.run and t.kind = 'spend'
      where w.account = a.account_id
      order by w.n
    loop
      if s.repeated and s.booked_id is null then
        select l.id, l.amount, l.seq into s.booked_id, s.booked_amount, s.booked_seq
        from unnest(v_lines) l where l.account_id = a.account_id and l.ref_id = s.run;
      end if;
      if s.booked_id is not null then
        return query select s.n, case when s.booked_amount = s.amount then 'replay' else 'conflict' end,
          s.booked_id, s.booked_seq, a.available, a.held, a.debt;
      elsif a.available < s.amount then
        return query select s.n, 'insufficient', null::uuid, a.seq, a.available, a.held, a.debt;
      else
        v_id := gen_random_uuid();
        v_moved := true;
        a.available := a.available - s.amount;
        a.seq := a.seq + 1;
        a.head_hash := credits.transfer_hash(a.head_hash, a.account_id, a.seq, v_id, 'spend', 'available', 'revenue',
          s.amount, a.available, a.held, a.debt, 'run', s.run, null, null, now());
        v_lines := v_lines || row(a.account_id, a.seq, v_id, 'spend', 'available', 'revenue', s.amount,
          a.available, a.held, a.debt, 'run', s.run, null, null, now(), a.head_hash)::credits.transfers;
        return query select s.n, 'posted', v_id, a.seq, a.available, a.held, a.debt;
      end if;
    end loop;
    if v_moved then
      update credits.accounts acc set available = a.available, seq = a.seq, head_hash = a.head_hash
      where acc.account_id = a.account_id;
    end if;
  end loop;
  insert into credits.transfers select * from unnest(v_lines);

  -- Accounts that were not visited: nobody's yet, or locked by somebody else.
  return query
    select w.n::int, case when acc.account_id is null then 'insufficient' else 'busy' end,
      null::uuid, coalesce(acc.seq, 0), coalesce(acc.available, 0), coalesce(acc.held, 0), coalesce(acc.debt, 0)
    from unnest(p_accounts) with ordinality as w (account, n)
    left join credits.accounts acc on acc.account_id = w.account
    where w.account <> all (v_visited);
end
$$;
