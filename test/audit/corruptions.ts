import type { Corruption } from './ledger-corruptions.ts';

const one = (table: string, key: string, where: string) =>
  `${key} = (select ${key} from ${table} where ${where} limit 1)`;
const purchase = (where: string) => one('payments.purchases', 'id', where);
const run = (where: string) => one('workflows.runs', 'id', where);
const completed = "state = 'completed'";

export const paymentCorruptions: Corruption[] = [
  [
    'a purchase that was completed by hand',
    `update payments.purchases set state = 'completed', completed_at = now() where ${purchase("state = 'pending' and for_id is null")}`,
    ['P01', 'P06', 'P18', 'P19'],
  ],
  [
    'a completed purchase whose credits never came',
    `update credits.transfers set ref_id = gen_random_uuid() where kind = 'purchase' and ref_id = (
      select id from payments.purchases where ${completed} limit 1)`,
    ['L09', 'P01', 'P03'],
  ],
  [
    'a purchase for more credits than were given',
    `update payments.purchases set credits = credits + 1 where ${purchase(completed)}`,
    ['P01'],
  ],
  [
    'credits of a purchase that has failed',
    `update payments.purchases set state = 'failed', failure_code = 'x', completed_at = null where ${purchase(completed)}`,
    ['P02', 'P03', 'P21'],
  ],
  [
    'credits for a purchase that there is not, by the ledger’s own door',
    `select credits.post(account_id, 'purchase', 500, 'purchase', gen_random_uuid(), null, null) from credits.accounts limit 1`,
    ['P03'],
  ],
  [
    'a purchase credited a second time, to somebody else, by the ledger’s own door',
    `select credits.post(a.account_id, 'purchase', p.credits, 'purchase', p.id, null, null)
      from payments.purchases p, credits.accounts a where ${completed} and a.account_id <> p.account_id limit 1`,
    ['P04'],
  ],
  [
    'a price that was paid only in part',
    `update payments.claims set amount = amount - 1 where ${one('payments.claims', 'reference', "rail = 'omise'")}`,
    ['P05'],
  ],
  ['a price that was paid in another currency', "update payments.claims set currency = 'USD'", ['P05']],
  [
    'a claim that vanished',
    `delete from payments.claims where ${one('payments.claims', 'reference', "rail = 'omise'")}`,
    ['P06', 'P15'],
  ],
  [
    'a claim of a charge that is not its own',
    `update payments.claims set reference = 'chrg_test_5other' where ${one('payments.claims', 'reference', "rail = 'omise'")}`,
    ['P06', 'P15'],
  ],
  [
    'a decision of an operator that nobody has made',
    `update payments.claims k set rail = 'operator', reference = purchase_id where ${one('payments.claims', 'reference', "rail = 'omise'")}`,
    ['P06'],
  ],
  [
    'a claim of a purchase that is still to be paid',
    `insert into payments.claims select 'omise', 'chrg_test_5early', id, price, currency from payments.purchases where state = 'pending' limit 1`,
    ['P21'],
  ],
  ['money in review that is written down nowhere', 'delete from payments.differences', ['P15']],
  [
    'a charge that was paid and not credited',
    `update payments.charges set state = 'successful' where ${one('payments.charges', 'attempt_id', "state = 'pending'")}`,
    ['P15'],
  ],
  [
    'one charge for two attempts',
    `drop index payments.charges_charge_id;
      update payments.charges set charge_id = (select charge_id from payments.charges where state = 'pending' limit 1) where state = 'failed'`,
    ['P23'],
  ],
  [
    'a purchase with live money in a test installation',
    `update payments.purchases set livemode = true where ${purchase(completed)}`,
    ['P16'],
  ],
  [
    'a trail that was wiped',
    `delete from payments.history where purchase_id = (select id from payments.purchases where ${completed} limit 1)`,
    ['P18'],
  ],
  [
    'a cancellation that nobody has asked for',
    "delete from payments.history where what = 'purchase_cancelled'",
    ['P18'],
  ],
  [
    'a completion that was not told',
    `delete from platform.events where type = 'payments.purchase_completed' and subject_id = (
      select id from payments.purchases where ${completed} limit 1)`,
    ['E01', 'P19'],
  ],
  [
    'a purchase of nobody',
    `update payments.purchases set account_id = gen_random_uuid() where ${purchase("state = 'pending' and for_id is null")}`,
    ['P20', 'P22'],
  ],
  [
    'a key that leads to the purchase of somebody else',
    `update platform.idempotency_keys set account_id = gen_random_uuid() where route = 'POST /v1/purchases'
      and ${one('platform.idempotency_keys', 'key', "route = 'POST /v1/purchases'")}`,
    ['P22'],
  ],
  [
    'a webhook that nobody looks at',
    "update payments.webhook_inbox set state = 'received', next_attempt_at = now() - interval '16 minutes'",
    ['P12'],
  ],
  [
    'an unpaid purchase that nobody ends',
    `update payments.purchases set expires_at = now() - interval '11 minutes' where state = 'pending';
      update payments.charges set state = 'abandoned' where state = 'pending'`,
    ['P13'],
  ],
  [
    'an attempt that nobody looks at',
    "update payments.charges set next_check_at = now() - interval '16 minutes' where state = 'pending'",
    ['P17'],
  ],
  ['claims that can be changed', 'alter table payments.claims disable trigger claims_append_only', ['P24']],
];

export const runCorruptions: Corruption[] = [
  [
    'a run for less than was spent',
    `update workflows.runs set cost = cost - 1 where ${run("state = 'succeeded' and returned = 0")}`,
    ['W01', 'W02', 'W08'],
  ],
  [
    'a run that nobody paid for',
    `insert into workflows.runs (account_id, id, workflow_id, service_id, cost, price_version, state, input, idempotency_key,
        request_hash, attempt, deadline_at, created_at, finished_at)
      select account_id, gen_random_uuid(), workflow_id, service_id, cost, price_version, state, input, 'free', request_hash, 1,
        deadline_at, '2020-01-01', '2020-01-02'
      from workflows.runs where state = 'succeeded' limit 1`,
    ['W01'],
  ],
  [
    'a run on the account of somebody else',
    `update workflows.runs set account_id = (select account_id from credits.accounts order by seq limit 1)
      where ${run("state = 'succeeded'")}`,
    ['W01', 'W02', 'W05'],
  ],
  ['a run that vanished', `delete from workflows.runs where ${run("state = 'succeeded'")}`, ['W02']],
  [
    'a spend that was for something else',
    "update credits.transfers set ref_type = 'party' where (account_id, seq) = (select account_id, seq from credits.transfers where kind = 'spend' limit 1)",
    ['L09', 'W01', 'W02'],
  ],
  [
    'a failed run that says it gave back what it did not',
    `update workflows.runs set returned = cost where ${run("state = 'failed' and returned = 0")}`,
    ['W03', 'W07'],
  ],
  [
    'a failed run whose credits were not given back',
    `update workflows.runs set returned = 0 where ${run("state = 'failed' and returned > 0")}`,
    ['W02', 'W07'],
  ],
  [
    'a return for a run that succeeded, by the ledger’s own door',
    `select credits.post(s.account_id, 'return', s.amount, 'run', s.ref_id, s.id, null)
      from credits.transfers s join workflows.runs r on r.id = s.ref_id where s.kind = 'spend' and r.state = 'succeeded' limit 1`,
    ['W02'],
  ],
  [
    'a run that succeeded and gave its credits back',
    `select credits.post(s.account_id, 'return', s.amount, 'run', s.ref_id, s.id, null)
        from credits.transfers s join workflows.runs r on r.id = s.ref_id where s.kind = 'spend' and r.state = 'succeeded' limit 1;
      update workflows.runs r set returned = cost where state = 'succeeded'
        and exists (select from credits.transfers t where t.ref_id = r.id and t.kind = 'return')`,
    ['W03'],
  ],
  ['a start that was not told', "delete from platform.events where type = 'workflows.run_queued'", ['E01', 'W04']],
  ['an end that was not told', "delete from platform.events where type = 'workflows.run_succeeded'", ['E01', 'W04']],
  [
    'a run of somebody else’s workflow',
    "update workflows.workflows set account_id = (select id from identity.accounts where role = 'operator' limit 1)",
    ['W05'],
  ],
  [
    'a cancelled run that was never begun and kept the credits',
    `update workflows.runs set attempt = 0 where ${run("state = 'cancelled' and attempt = 1")}`,
    ['W07'],
  ],
  [
    'a workflow cheaper than its service',
    `update workflows.workflows set credit_cost = 1 where id = (select workflow_id from workflows.runs where state = 'failed' limit 1)`,
    ['W08', 'W09'],
  ],
  [
    'a price that was never offered',
    `update workflows.runs set price_version = 99 where ${run("state = 'succeeded'")}`,
    ['W08'],
  ],
  [
    'an end without an end',
    `alter table workflows.runs drop constraint runs_failure; update workflows.runs set failure_code = null where state = 'failed'`,
    ['W12'],
  ],
  [
    'a run that nobody ends',
    "update workflows.runs set deadline_at = now() - interval '11 minutes' where state = 'running'",
    ['W06'],
  ],
];
