-- Sets credits aside under an opaque purpose: posted | replay | conflict | insufficient.
create or replace function credits.hold(
  p_account uuid, p_hold uuid, p_amount bigint, p_for_type text, p_for_id uuid, p_expires_at timestamptz,
  p_ref_type text, p_ref_id uuid
) returns credits.outcome language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
declare
  v_outcome credits.outcome;
begin
  perform 1 from credits.accounts where account_id = p_account for no key update;
  select * into v_outcome from credits.booked(p_account, 'hold', 'available', p_amount, p_ref_type, p_ref_id, p_hold);
  if found then
    return v_outcome;
  end if;
  select * into v_outcome
  from credits.record(p_account, 'hold', 'available', 'held', p_amount, p_ref_type, p_ref_id, p_hold, null);
  if found then
    insert into credits.holds (account_id, id, amount, for_type, for_id, expires_at)
    values (p_account, p_hold, p_amount, p_for_type, p_for_id, p_expires_at);
    return v_outcome;
  end if;
  return credits.refused(p_account, 'insufficient');
end
$$;

-- The shared half of capture and release.
create or replace function credits.close_hold(
  p_account uuid, p_hold uuid, p_amount bigint, p_kind text, p_credit text, p_ref_type text, p_ref_id uuid
) returns credits.outcome language plpgsql
  set search_path = pg_catalog, pg_temp as $$
declare
  v_outcome credits.outcome;
begin
  -- Before the update of the hold, whose checks would let a negative amount through.
  if p_amount is null or p_amount <= 0 then
    raise exception 'a hold is closed by a positive amount' using errcode = 'invalid_parameter_value';
  end if;
  perform 1 from credits.accounts where account_id = p_account for no key update;
  select * into v_outcome from credits.booked(p_account, p_kind, 'held', p_amount, p_ref_type, p_ref_id, p_hold);
  if found then
    return v_outcome;
  end if;
  update credits.holds set
    captured = captured + case when p_kind = 'capture' then p_amount else 0 end,
    released = released + case when p_kind = 'release' then p_amount else 0 end
  where account_id = p_account and id = p_hold and captured + released + p_amount <= amount;
  if not found then
    return credits.refused(p_account, 'exceeded');
  end if;
  select * into v_outcome
  from credits.record(p_account, p_kind, 'held', p_credit, p_amount, p_ref_type, p_ref_id, p_hold, null);
  return credits.repay(p_account, v_outcome);
end
$$;

-- Takes all or part of a hold as revenue: posted | replay | conflict | exceeded (more than is still held).
create or replace function credits.capture(p_account uuid, p_hold uuid, p_amount bigint, p_ref_type text, p_ref_id uuid)
returns credits.outcome language sql security definer
  set search_path = pg_catalog, pg_temp as $$
  select * from credits.close_hold(p_account, p_hold, p_amount, 'capture', 'revenue', p_ref_type, p_ref_id)
$$;

-- Gives all or part of a hold back: posted | replay | conflict | exceeded. Debts are repaid first.
create or replace function credits.release(p_account uuid, p_hold uuid, p_amount bigint, p_ref_type text, p_ref_id uuid)
returns credits.outcome language sql security definer
  set search_path = pg_catalog, pg_temp as $$
  select * from credits.close_hold(p_account, p_hold, p_amount, 'release', 'available', p_ref_type, p_ref_id)
$$;
