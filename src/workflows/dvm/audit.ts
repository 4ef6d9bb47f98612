import type { Check, Walk } from '../../platform/audit/check.ts';

/** What must hold of jobs over Nostr, of what was said of them, and between them, their runs and what was zapped. */

const jobs: Walk = { name: 'jobs over Nostr', table: 'workflows.nostr_jobs', as: 'j', key: [['id', 'text']] };
const words: Walk = { name: 'events of ours', table: 'workflows.nostr_events', as: 'n', key: [['id', 'text']] };
const arrivals: Walk = {
  name: 'zaps',
  table: 'payments.arrivals',
  as: 'v',
  key: [
    ['rail', 'text'],
    ['key', 'text'],
  ],
};

/** Of a job. */
const said = (columns: string, more = 'true') => `(
  select ${columns} from workflows.nostr_events n where n.job_id = j.id and ${more})`;
/** The run that was begun for it: by its key, which anybody may choose, and by what was asked for, which nobody can. */
const isBegunFor = `r.idempotency_key = 'nostr:' || j.id and r.request_hash = sha256(convert_to(j.id, 'UTF8'))`;
/** In the amount tag of an event, where there is one. */
const bolt11 = `(select t ->> 2 from json_array_elements(n.event -> 'tags') t where t ->> 0 = 'amount' limit 1)`;
const perCredit = `(select (t ->> 'price_per_credit')::numeric from jsonb_array_elements(r.quote -> 'rails') t where t ->> 'rail' = 'lightning')`;

export const dvmChecks: Check[] = [
  {
    id: 'N01',
    rule: 'Of a job that is over one word is its last, and nothing was said after it; of one that is open none is',
    over: jobs,
    broken: `${said('count(*)', 'n.is_last')} <> case when j.closed_at is null then 0 else 1 end
      or coalesce(${said('n.seq', 'n.is_last')} <> ${said('max(n.seq)')}, false)`,
  },
  {
    id: 'N02',
    rule: 'What was said of a job is numbered without a gap, and each word is of a later second than the one before',
    over: jobs,
    broken: `${said('coalesce(max(n.seq), 0)')} <> ${said('count(*)')}
      or j.last_word_at < ${said("coalesce(max((n.event ->> 'created_at')::bigint), 0)")}
      or ${said(
        `count(*)`,
        `n.seq > 1 and (n.event ->> 'created_at')::bigint <= (
        select (b.event ->> 'created_at')::bigint from workflows.nostr_events b where b.job_id = j.id and b.seq = n.seq - 1)`,
      )} > 0`,
  },
  {
    id: 'N03',
    rule: "What asks to be paid is about an ask of its job's account, and asks for no more than that, at the price of its quote",
    over: words,
    broken: `n.ask_id is not null and (
      select a.account_id = j.account_id
        and (n.amount_msat is null or n.amount_msat <= a.amount * ${perCredit} and n.amount_msat % ${perCredit} = 0)
      from workflows.asks a join workflows.runs r on r.account_id = a.account_id and r.id = a.run_id, workflows.nostr_jobs j
      where a.id = n.ask_id and j.id = n.job_id) is not true`,
    money: true,
  },
  {
    id: 'N04',
    rule: "A job's run is the one that was begun for it, on its account",
    over: jobs,
    broken: `j.run_id is not null and (
      select ${isBegunFor} from workflows.runs r where r.account_id = j.account_id and r.id = j.run_id) is not true`,
    money: true,
  },
  {
    id: 'N05',
    rule: 'A zap that was booked paid for an ask that was made public to its account, as many credits as it bought there',
    over: arrivals,
    broken: `v.rail = 'lightning' and v.evidence ->> 'receipt_id' is not null and (v.for_type <> 'ask' or (
      select v.credits = floor((v.evidence ->> 'amount_msat')::numeric / ${perCredit})
      from workflows.asks a join workflows.runs r on r.account_id = a.account_id and r.id = a.run_id
      where a.account_id = v.account_id and a.id = v.for_id
        and exists (select from workflows.nostr_events n where n.ask_id = a.id and n.amount_msat is not null)) is not true)`,
    money: true,
  },
  {
    id: 'N08',
    rule: 'An invoice that stands in an event of ours is one of our wallet, for what that event asks',
    over: words,
    broken: `${bolt11} is not null and not exists (
      select from payments.purchases p join payments.invoices i on i.purchase_id = p.id
      where p.for_type = 'ask' and p.for_id = n.ask_id and i.bolt11 = ${bolt11} and i.amount_msat = n.amount_msat)`,
    money: true,
  },
  {
    id: 'N06',
    rule: 'No run goes on, or has ended well, for a job whose author was told ten minutes ago that there is none',
    over: jobs,
    broken: `j.run_id is null and coalesce(j.closed_at < now() - interval '10 minutes', false) and exists (
      select from workflows.runs r where r.account_id = j.account_id and ${isBegunFor} and r.state not in ('failed', 'cancelled', 'expired'))`,
    only: 'live',
    money: true,
  },
  {
    id: 'N07',
    rule: 'No job waits ten minutes to be begun or refused',
    over: jobs,
    broken: "j.run_id is null and j.closed_at is null and j.created_at < now() - interval '10 minutes'",
    only: 'live',
  },
];
