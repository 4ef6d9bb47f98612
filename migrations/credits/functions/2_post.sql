-- Books an inflow or a correction for its cause (p_ref_type, p_ref_id), once for ever.
--   purchase, grant     new credits
--   return              credits of a spend (p_parent_id) given back
--   adjust              correction by an operator; a negative amount takes away and can be refused as insufficient
--   clawback            credits taken back; what is not available becomes debt
-- Debts are repaid first, by a transfer of their own.
create or replace function credits.post(
  p_account uuid, p_kind text, p_amount bigint, p_ref_type text, p_ref_id uuid, p_parent_id uuid, p_memo text
) returns credits.outcome language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
declare
  v_amount bigint := abs(p_amount);
  v_debit text;
  v_credit text;
  v_booked credits.outcome;
  v_done credits.outcome;
begin
  select route.debit, route.credit into v_debit, v_credit
  from (values
    ('purchase', 1, 'issued', 'available'),
    ('grant', 1, 'issued', 'available'),
    ('return', 1, 'revenue', 'available'),
    ('adjust', 1, 'issued', 'available'),
    ('adjust', -1, 'available', 'issued'),
    ('clawback', 1, 'debt', 'clawback')
  ) as route (kind, direction, debit, credit)
  where route.kind = p_kind and route.direction = sign(p_amount);
  if not found then
    raise exception 'credits.post cannot book % %', p_amount, p_kind using errcode = 'invalid_parameter_value';
  end if;

  if p_amount > 0 then
    insert into credits.accounts (account_id) values (p_account) on conflict do nothing;
  end if;
  perform 1 from credits.accounts where account_id = p_account for no key update;
  select * into v_booked
  from credits.booked(p_account, p_kind, v_debit, v_amount, p_ref_type, p_ref_id, p_parent_id);
  if found then
    return v_booked;
  end if;

  select * into v_done
  from credits.record(p_account, p_kind, v_debit, v_credit, v_amount, p_ref_type, p_ref_id, p_parent_id, p_memo);
  if not found then
    return credits.refused(p_account, 'insufficient');
  end if;
  return credits.repay(p_account, v_done);
end
$$;

-- Pays a debt from what is available. Answers the outcome it was given, with the balances after the repayment. The cause
-- is the transfer that made it possible: one clawback and its reversal may share a cause, and both can lead to one.
create or replace function credits.repay(p_account uuid, p_after credits.outcome) returns credits.outcome language plpgsql
  set search_path = pg_catalog, pg_temp as $$
declare
  v_repaid credits.outcome;
begin
  if p_after.debt = 0 or p_after.available = 0 then
    return p_after;
  end if;
  select * into v_repaid
  from credits.record(p_account, 'repay', 'available', 'debt', least(p_after.debt, p_after.available),
    'transfer', p_after.transfer_id, p_after.transfer_id, null);
  return (p_after.result, p_after.transfer_id, p_after.seq, v_repaid.available, v_repaid.held, v_repaid.debt)::credits.outcome;
end
$$;
