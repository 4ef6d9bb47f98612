import { transfers } from '../../credits/index.ts';
import type { Check, Walk } from '../../platform/audit/check.ts';

/** What must hold of asks, and between them, runs, what came for them and the ledger. */

const asks: Walk = {
  name: 'asks',
  table: 'workflows.asks',
  as: 'a',
  key: [
    ['account_id', 'uuid'],
    ['id', 'uuid'],
  ],
};
const settlements: Walk = {
  name: 'settlements of asks',
  table: 'workflows.settlements',
  as: 's',
  key: [
    ['account_id', 'uuid'],
    ['id', 'uuid'],
  ],
};
const tabs: Walk = {
  name: 'tabs',
  table: 'workflows.tabs',
  as: 'b',
  key: [
    ['account_id', 'uuid'],
    ['service_id', 'uuid'],
  ],
};
const quotedRuns: Walk = {
  name: 'runs that are paid by asks',
  table: 'workflows.runs',
  as: 'r',
  key: [
    ['account_id', 'uuid'],
    ['id', 'uuid'],
  ],
};
const arrivals: Walk = {
  name: 'arrivals',
  table: 'payments.arrivals',
  as: 'v',
  key: [
    ['rail', 'text'],
    ['key', 'text'],
  ],
};

/** Of an ask. */
const settled = (columns: string) => `(
  select ${columns} from workflows.settlements s where s.account_id = a.account_id and s.ask_id = a.id)`;
const latest = (columns: string) => `(
  select ${columns} from workflows.asks a where a.account_id = r.account_id and a.id = r.ask_id)`;
const ofRun = (columns: string, more: string) => `(
  select ${columns} from workflows.asks a where a.account_id = r.account_id and a.run_id = r.id and ${more})`;
const paidFor = (columns: string) => `(
  select ${columns} from workflows.asks a
    join workflows.settlements s on s.account_id = a.account_id and s.ask_id = a.id
  where a.account_id = r.account_id and a.run_id = r.id)`;
/** Of a tab: what is under way, and what was delivered and is owed. */
const underWay = (columns: string) => `(
  select ${columns} from workflows.runs r
  where r.service_id = b.service_id and r.account_id = b.account_id and r.state in ('queued', 'running') and r.quote ->> 'mode' = 'after')`;
const owed = (columns: string, states: string) => `(
  select ${columns} from workflows.asks a
  where a.account_id = b.account_id and a.service_id = b.service_id and a.kind = 'result' and a.state in (${states})
    and a.state in ('open', 'part_paid', 'written_off'))`;
const WAITING = `'open', 'part_paid'`;

export const asksChecks: Check[] = [
  {
    id: 'W13',
    rule: 'An ask that is paid was settled in full; what came for any other is set aside, taken as its debt, or free again',
    over: asks,
    broken: `(${settled('coalesce(sum(s.taken), 0)')}, ${settled('coalesce(sum(s.credits - s.taken - s.released), 0)')})
      is distinct from case a.state when 'paid' then (a.amount::numeric, 0::numeric) when 'written_off' then (a.received::numeric, 0::numeric)
        else (0::numeric, case when a.state in (${WAITING}) then a.received else 0 end::numeric) end`,
    money: true,
  },
  {
    id: 'W14',
    rule: 'A settlement is its hold: set aside for its ask, taken, released and given back as the ledger says',
    over: settlements,
    broken: `(select (h.amount, h.captured, h.released, h.for_type, h.for_id) = (s.credits, s.taken, s.released, 'ask', s.ask_id)
        from credits.holds h where h.account_id = s.account_id and h.id = s.id) is not true
      or s.returned <> coalesce((select t.amount from credits.transfers t
        where t.account_id = s.account_id and t.ref_type = 'settlement' and t.ref_id = s.id and t.kind = 'return'), 0)`,
    money: true,
  },
  {
    id: 'W15',
    rule: 'Credits that moved for a settlement did so for one that there is, or that has come a moment ago',
    over: transfers,
    broken: `t.ref_type = 'settlement'
      and (select s.id from workflows.settlements s where s.account_id = t.account_id and s.id = t.ref_id) is null
      and (t.kind <> 'hold' or (select v.id from payments.arrivals v where v.id = t.ref_id and v.account_id = t.account_id) is null)`,
    money: true,
  },
  {
    id: 'W16',
    rule: 'A run that is paid by asks says what was taken for it, what was given back, what is due, and why',
    over: quotedRuns,
    broken: `r.quote is not null and (
      r.paid <> ${paidFor('coalesce(sum(s.taken), 0)')} or r.returned <> ${paidFor('coalesce(sum(s.returned), 0)')}
      or r.payment_state <> coalesce(${latest('a.state')}, 'none')
      or r.due <> coalesce(${latest(`case when a.state in (${WAITING}, 'written_off') then a.amount - a.received else 0 end`)}, 0))`,
    money: true,
  },
  {
    id: 'W17',
    rule: 'No run began before it was paid, where that comes first; and of its parts no more are open than were paid',
    over: quotedRuns,
    broken: `coalesce(r.quote ->> 'mode' = 'upfront', false) and (r.paid_parts <> ${ofRun('count(*)', "a.state = 'paid'")}
      or r.attempt > 0 and r.paid_parts = 0 or r.state = 'awaiting_payment' and r.paid > 0
      or r.state = 'succeeded' and r.paid <> r.cost)`,
    money: true,
  },
  {
    id: 'W18',
    rule: 'A tab is what is under way to be paid afterwards, what was delivered and is not paid, and what was written off',
    over: tabs,
    broken: `b.runs <> ${underWay('count(*)')} + ${owed('count(*)', WAITING)}
      or b.credits <> ${underWay('coalesce(sum(r.cost), 0)')} + ${owed('coalesce(sum(a.amount), 0)', WAITING)}
      or b.written_off <> ${owed('coalesce(sum(a.amount - a.received), 0)', "'written_off'")}`,
    money: true,
  },
  {
    id: 'W19',
    rule: 'No ask is open ten minutes past its end',
    over: asks,
    broken: `a.state in (${WAITING}) and a.expires_at < now() - interval '10 minutes'`,
    only: 'live',
  },
  {
    id: 'W20',
    rule: 'Nothing that came for an ask was left alone for fifteen minutes',
    over: arrivals,
    broken: `v.for_type = 'ask' and v.held > 0 and v.created_at < now() - interval '15 minutes'
      and (select s.id from workflows.settlements s where s.account_id = v.account_id and s.id = v.id) is null`,
    only: 'live',
  },
];
