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
  v_locked credits.accounts[];
  v_changed credits.accounts[] := '{}';
  v_lines credits.transfers[] := '{}';
  a credits.accounts;
  s record;
begin
  if exists (
    select from unnest(p_accounts, p_amounts, p_runs) as w (account, amount, run)
    where w.account is null or w.run is null or w.amount is null or w.amount <= 0
  ) then
    raise exception 'each spend of a batch names an account, a positive amount and a run'
      using errcode = 'invalid_parameter_value';
  end if;
  v_locked := array(
    select acc from credits.accounts acc where acc.account_id = any(p_accounts)
    order by acc.account_id for no key update skip locked
  );
  -- A statement of its own: what was booked before the locks were taken is seen.
  for s in
    select w.n::int, w.amount, w.run, l as account, t.id as booked_id, t.amount as booked_amount, t.seq as booked_seq,
      row_number() over (partition by l.account_id, w.run order by w.n) > 1 as repeated
    from unnest(p_accounts, p_amounts, p_runs) with ordinality as w (account, amount, run, n)
    join unnest(v_locked) l on l.account_id = w.account
    -- `offset 0`: a look-up for each by its unique index. Left to itself the planner may read all that a busy account has.
    left join lateral (
      select t.id, t.amount, t.seq from credits.transfers t
      where t.account_id = l.account_id and t.ref_type = 'run' and t.ref_id = w.run and t.kind = 'spend' offset 0
    ) t on true
    order by l.account_id, w.n
  loop
    if a.account_id is distinct from (s.account).account_id then
      if cardinality(v_lines) > 0 and v_lines[cardinality(v_lines)].account_id = a.account_id then
        v_changed := array_append(v_changed, a);
      end if;
      a := s.account;
    end if;
    if s.repeated and s.booked_id is null then
      select l.id, l.amount, l.seq into s.booked_id, s.booked_amount, s.booked_seq
      from unnest(v_lines) l where l.account_id = a.account_id and l.ref_id = s.run;
    end if;
    n := s.n;
    transfer_id := s.booked_id;
    seq := s.booked_seq;
    if s.booked_id is not null then
      result := case when s.booked_amount = s.amount then 'replay' else 'conflict' end;
    elsif a.available < s.amount then
      result := 'insufficient';
      seq := a.seq;
    else
      result := 'posted';
      transfer_id := gen_random_uuid();
      a.available := a.available - s.amount;
      a.seq := a.seq + 1;
      seq := a.seq;
      a.head_hash := credits.transfer_hash(a.head_hash, a.account_id, a.seq, transfer_id, 'spend', 'available',
        'revenue', s.amount, a.available, a.held, a.debt, 'run', s.run, null, null, now());
      v_lines := array_append(v_lines, row(a.account_id, a.seq, transfer_id, 'spend', 'available', 'revenue', s.amount,
        a.available, a.held, a.debt, 'run', s.run, null, null, now(), a.head_hash)::credits.transfers);
    end if;
    available := a.available;
    held := a.held;
    debt := a.debt;
    return next;
  end loop;
  if cardinality(v_lines) > 0 and v_lines[cardinality(v_lines)].account_id = a.account_id then
    v_changed := array_append(v_changed, a);
  end if;
  update credits.accounts acc set available = c.available, seq = c.seq, head_hash = c.head_hash
  from unnest(v_changed) c where acc.account_id = c.account_id;
  insert into credits.transfers select * from unnest(v_lines);

  -- Accounts that were not locked: nobody's yet, or locked by somebody else.
  return query
    select w.n::int, case when acc.account_id is null then 'insufficient' else 'busy' end,
      null::uuid, coalesce(acc.seq, 0), coalesce(acc.available, 0), coalesce(acc.held, 0), coalesce(acc.debt, 0)
    from unnest(p_accounts) with ordinality as w (account, n)
    left join credits.accounts acc on acc.account_id = w.account
    where not exists (select from unnest(v_locked) l where l.account_id = w.account);
end
$$;
