-- Sets the credits of a refund aside, under its id: posted | replay | conflict | insufficient. At most what its purchase
-- has left (p_left: its credits that were not reversed yet), and at most what is available: decided under the account's lock.
create or replace function credits.reserve_refund(p_account uuid, p_refund uuid, p_amount bigint, p_left bigint)
returns credits.outcome language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
begin
  if p_amount > p_left then
    return credits.refused(p_account, 'insufficient');
  end if;
  return credits.hold(p_account, p_refund, p_amount, 'refund', p_refund, null, 'refund', p_refund);
end
$$;

-- Takes what was set aside for a refund: its money has gone back. posted | replay | conflict | exceeded.
create or replace function credits.take_refund(p_account uuid, p_refund uuid, p_amount bigint)
returns credits.outcome language sql security definer
  set search_path = pg_catalog, pg_temp as $$
  select * from credits.close_hold(p_account, p_refund, p_amount, 'capture', 'clawback', 'refund', p_refund)
$$;
