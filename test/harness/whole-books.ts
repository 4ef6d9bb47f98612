import postgres from 'postgres';
import { allChecks } from '../../src/audit.ts';
import { openAuditClient, runAudit } from '../../src/platform/audit/run-audit.ts';
import { faultsInBooks } from './books.ts';

/**
 * Everything that is wrong in a database at this moment, in words; empty at every moment, also in the midst of a storm.
 * The one place that decides what the crash matrix and the chaos runs call sound.
 */
export async function faultsInWholeBooks(superuserUrl: string): Promise<string[]> {
  return [...(await faultsInBooks(superuserUrl)), ...(await faultsBetweenContexts(superuserUrl))];
}

/** The server of the tests is not durable, and its operators were not appointed by the command line. */
const UNLIKE_PRODUCTION = ['D03', 'I05'];

/** The same, and what `farebox audit` finds: for when everything has come to rest. */
export async function faultsAtRest(superuserUrl: string): Promise<string[]> {
  const sql = openAuditClient({ url: superuserUrl }, 'snapshot');
  try {
    const { checks } = await runAudit(sql, allChecks, 'snapshot', { rest: 0 });
    const broken = checks.filter(({ id, offending }) => offending > 0 && !UNLIKE_PRODUCTION.includes(id));
    return [
      ...(await faultsInWholeBooks(superuserUrl)),
      ...broken.map(({ id, rule, examples }) => `audit ${id}, ${rule}: ${examples.slice(0, 5)}`),
    ];
  } finally {
    await sql.end();
  }
}

/** Money against what it was for: each statement shows rows that must not be. */
const CHECKS: Record<string, string> = {
  'a completed purchase is credited once, with its credits, to its account': `
    select p.id from payments.purchases p
      left join payments.payment_requests q on q.purchase_id = p.id
      left join payments.completions o on o.request_id = q.id and o.reversed_at is null
      left join credits.transfers t on t.kind = 'purchase' and (
        t.ref_type = 'purchase' and t.ref_id = p.id or t.ref_type = 'completion' and t.ref_id = o.id)
    group by p.id, p.account_id, p.credits, p.state
    having count(t.id) <> (p.state in ('completed', 'partially_refunded', 'refunded'))::int
      or bool_or(t.amount <> p.credits or t.account_id <> p.account_id)`,
  'a completed purchase has its claim, and no other has one': `
    select p.id from payments.purchases p left join payments.claims c on c.purchase_id = p.id
    where (p.state in ('completed', 'partially_refunded', 'refunded') and p.method <> 'crypto') <> (c.purchase_id is not null)`,
  'no credit without its purchase, or without a completed payment request': `
    select t.id from credits.transfers t
      left join payments.purchases p on p.id = t.ref_id and t.ref_type = 'purchase'
      left join payments.completions o on o.id = t.ref_id and t.ref_type = 'completion'
      left join payments.arrivals v on v.id = t.ref_id and t.ref_type = 'arrival' and v.credits = t.amount
    where t.kind = 'purchase' and p.id is null and o.id is null and v.id is null`,
  'what came for an ask is set aside for it, or was decided on, once': `
    select v.id from payments.arrivals v
      left join credits.holds h on h.account_id = v.account_id and h.id = v.id
      left join workflows.settlements s on s.account_id = v.account_id and s.id = v.id
    where v.for_type = 'ask' and v.held > 0 and (h.amount is distinct from v.held
      or s.id is null and h.captured + h.released > 0 or s.credits <> v.held)`,
  'an ask is paid by exactly its amount, and no other takes anything but a debt that was written off': `
    select a.id from workflows.asks a left join credits.holds h on h.for_type = 'ask' and h.for_id = a.id
    group by a.id, a.state, a.amount, a.received
    having coalesce(sum(h.captured), 0) <> case a.state when 'paid' then a.amount when 'written_off' then a.received else 0 end`,
  'a run that is paid by asks was taken what it says, and never spent for': `
    select r.id from workflows.runs r left join workflows.asks a on a.run_id = r.id
      left join credits.holds h on h.for_type = 'ask' and h.for_id = a.id
    where r.quote is not null group by r.account_id, r.id, r.paid
    having coalesce(sum(h.captured), 0) <> r.paid`,
  'nothing that is paid upfront was worked on unpaid': `
    select r.id from workflows.runs r where r.quote ->> 'mode' = 'upfront' and r.attempt > 0 and r.paid_parts = 0`,
  'nothing of a job over Nostr was told before it was paid': `
    select j.id from workflows.nostr_jobs j join workflows.runs r on r.account_id = j.account_id and r.id = j.run_id
    where r.quote ->> 'mode' = 'upfront' and exists (
      select from workflows.nostr_events n where n.job_id = j.id and (n.event ->> 'kind')::int <> 7000 and r.paid < r.cost)
      or jsonb_typeof(r.quote -> 'milestones') = 'array' and r.paid_parts < (
        select count(*) from workflows.nostr_events n where n.job_id = j.id and n.event::jsonb -> 'tags' -> 0 = '["status", "partial"]')`,
  'no more is owed for runs that are paid afterwards than the tab says': `
    select b.account_id from workflows.tabs b
      left join workflows.runs r on r.account_id = b.account_id and r.service_id = b.service_id and r.quote ->> 'mode' = 'after'
        and (r.state in ('queued', 'running') or r.state = 'succeeded' and r.payment_state in ('open', 'part_paid'))
    group by b.account_id, b.service_id, b.runs, b.credits
    having count(r.id) <> b.runs or coalesce(sum(r.cost), 0) <> b.credits`,
  'a payment request is complete as long as its transfers lie in the chain, and credited once for each completion': `
    select q.id from payments.payment_requests q
      left join payments.completions o on o.request_id = q.id and o.reversed_at is null
      left join credits.transfers t on t.ref_type = 'completion' and t.ref_id = o.id and t.kind = 'purchase'
        and t.account_id = q.payer_account_id and t.amount = q.credits
    group by q.id, q.state, q.purpose, q.amount
    having count(o.id) <> (q.state = 'completed')::int
      or count(t.id) <> (q.state = 'completed' and q.purpose = 'credits')::int
      or q.state = 'completed' and q.amount > (
        select coalesce(sum(s.amount), 0) from payments.settlements s where s.request_id = q.id and s.gone_at is null)`,
  'a run is paid once, by its owner': `
    select r.id from workflows.runs r
      left join credits.transfers t on t.kind = 'spend' and t.ref_type = 'run' and t.ref_id = r.id
    group by r.account_id, r.id, r.cost, r.quote
    having count(t.id) <> (r.quote is null)::int or bool_or(t.amount <> r.cost or t.account_id <> r.account_id)`,
  'no spend without its run': `
    select t.id from credits.transfers t left join workflows.runs r on r.id = t.ref_id
    where t.kind = 'spend' and r.id is null`,
  'what a run gave back is what the ledger gave back, and for a success only by a refund': `
    select r.id from workflows.runs r
      left join workflows.asks a on a.run_id = r.id
      left join workflows.settlements s on s.ask_id = a.id
      left join credits.transfers t on t.kind = 'return' and (t.ref_type = 'run' and t.ref_id = r.id and a.id is null
        or t.ref_type = 'settlement' and t.ref_id = s.id)
    group by r.account_id, r.id, r.returned, r.state, r.quote
    having (count(t.id) > 1 and r.quote is null) or coalesce(sum(t.amount), 0) <> r.returned or (r.state = 'succeeded' and r.returned > 0
      and not exists (select from refunds.refunds f where f.subject_id = r.id and f.state = 'completed'))`,
  'a run has an end exactly when it is over': `
    select id from workflows.runs where (finished_at is not null) <> (state in ('succeeded', 'failed', 'cancelled', 'expired'))`,
  'a run ended once': `
    select subject_id from platform.events
    where type in ('workflows.run_succeeded', 'workflows.run_failed', 'workflows.run_cancelled', 'workflows.run_expired')
    group by subject_id having count(*) > 1`,
  'what a provider gave back for a refund, it gave back once': `
    select refund_id from refunds.payouts where refund_id is not null group by refund_id having count(*) > 1`,
  'no refund holds credits once it is over': `
    select f.id from refunds.refunds f join credits.holds h on h.account_id = f.account_id and h.id = f.id
    where f.state in ('completed', 'rejected', 'failed') and h.amount <> h.captured + h.released`,
  // And once more for each time that its payment was gone from the chain and came back.
  'a purchase was completed once': `
    select subject_id from platform.events e where type = 'payments.purchase_completed' group by subject_id
    having count(*) > 1 + (
      select count(*) from payments.completions c join payments.payment_requests r on r.id = c.request_id
      where r.purchase_id = e.subject_id and c.reversed_at is not null)`,
};

async function faultsBetweenContexts(superuserUrl: string): Promise<string[]> {
  const sql = postgres(superuserUrl, { max: 1, onnotice: () => {} });
  try {
    return await sql.begin('isolation level repeatable read read only', async (tx) => {
      const faults: string[] = [];
      for (const [rule, statement] of Object.entries(CHECKS)) {
        const rows = await tx.unsafe(statement);
        if (rows.length > 0) faults.push(`${rule}: ${JSON.stringify(rows.slice(0, 5))}`);
      }
      return faults;
    });
  } finally {
    await sql.end();
  }
}
