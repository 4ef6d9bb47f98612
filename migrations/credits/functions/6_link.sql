-- Moves what is available from one account to another of the same owner, for its cause (p_ref_type, p_ref_id), once for ever:
-- away through `linked`, and there. The outcome is that of the account it came to; insufficient leaves both as they were.
create or replace function credits.link(
  p_from uuid, p_to uuid, p_amount bigint, p_ref_type text, p_ref_id uuid
) returns credits.outcome language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
declare
  v_done credits.outcome;
begin
  if p_from = p_to then
    raise exception 'an account is not linked to itself' using errcode = 'invalid_parameter_value';
  end if;
  insert into credits.accounts (account_id) values (p_to) on conflict do nothing;
  -- By id, as everywhere.
  perform credits.lock(array[p_from, p_to]);
  select * into v_done from credits.booked(p_to, 'link', 'linked', p_amount, p_ref_type, p_ref_id, null);
  if found then
    return v_done;
  end if;
  perform 1
  from credits.record(p_from, 'link', 'available', 'linked', p_amount, p_ref_type, p_ref_id, null, null);
  if not found then
    return credits.refused(p_to, 'insufficient');
  end if;
  select * into v_done
  from credits.record(p_to, 'link', 'linked', 'available', p_amount, p_ref_type, p_ref_id, null, null);
  return credits.repay(p_to, v_done);
end
$$;
