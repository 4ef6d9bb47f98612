import type { Corruption } from './ledger-corruptions.ts';

const ask = (where: string) => `(select id from workflows.asks where ${where} limit 1)`;
const settlement = (where: string) => `(select id from workflows.settlements where ${where} limit 1)`;
const quoted = (where: string) => `id = (select id from workflows.runs where quote is not null and ${where} limit 1)`;

export const askCorruptions: Corruption[] = [
  [
    'an ask that was paid by hand',
    `update workflows.asks set state = 'paid', received = amount, closed_at = now() where id = ${ask("state = 'open' and kind = 'start'")};
      update workflows.asks set state = 'paid', received = amount, closed_at = now() where id = ${ask("state = 'open' and kind = 'part'")}`,
    ['W13', 'W16', 'W17'],
  ],
  [
    'an ask for less than was taken',
    `update workflows.asks set amount = amount - 1, received = received - 1 where id = ${ask("state = 'paid'")}`,
    ['W13'],
  ],
  [
    'a settlement of more than was set aside',
    `update workflows.settlements set credits = credits + 1 where id = ${settlement('taken = credits')}`,
    ['W13', 'W14'],
  ],
  [
    'a return that was never made',
    `update workflows.settlements set returned = taken where id = (
      select s.id from workflows.settlements s join workflows.asks a on a.id = s.ask_id join workflows.runs r on r.id = a.run_id
      where s.taken > 0 and s.returned = 0 and r.returned = 0 and r.state = 'succeeded' limit 1)`,
    ['W14', 'W16'],
  ],
  [
    'money that moved for a settlement that there is not',
    `delete from workflows.settlements where id = ${settlement("rail = 'credits' and taken > 0 and returned = 0")}`,
    ['W13', 'W15', 'W16'],
  ],
  [
    'a run that says it was paid more',
    `update workflows.runs set paid = paid + 1 where ${quoted("paid > 0 and state = 'paused'")}`,
    ['W16'],
  ],
  [
    'a run that says nothing is due',
    `update workflows.runs set due = 0 where ${quoted("payment_state = 'open'")}`,
    ['W16'],
  ],
  [
    'a run that began unpaid',
    `update workflows.runs set attempt = 1, state = 'running' where ${quoted("state = 'awaiting_payment'")}`,
    ['W17'],
  ],
  [
    'a part that was opened by hand',
    `update workflows.runs set paid_parts = 2 where ${quoted("state = 'paused'")}`,
    ['W17'],
  ],
  ['a debt that was wiped from the tab', 'update workflows.tabs set runs = 0, credits = 0 where runs > 0', ['W18']],
  ['a debt that was forgiven by hand', 'update workflows.tabs set written_off = 0 where written_off > 0', ['W18']],
  [
    'an ask that nobody ends',
    `update workflows.asks set expires_at = now() - interval '11 minutes' where id = ${ask("state = 'open'")}`,
    ['W19'],
  ],
  [
    'money that came and nobody looked at',
    `insert into credits.holds (account_id, id, amount, for_type, for_id)
        select account_id, '018f3f2a-0000-7000-8000-000000000001', 5, 'ask', id from workflows.asks where state = 'open' limit 1;
      insert into payments.arrivals (rail, key, id, account_id, credits, held, for_type, for_id, created_at)
        select 'test', 'unseen', id, account_id, 5, 5, for_type, for_id, now() - interval '16 minutes'
        from credits.holds where id = '018f3f2a-0000-7000-8000-000000000001'`,
    ['L12', 'P41', 'W20'],
  ],
  [
    'money that was set aside for something else',
    `update credits.holds set for_id = gen_random_uuid() where id = (select id from payments.arrivals where held > 0 limit 1)`,
    ['P40', 'W14'],
  ],
  [
    'money that came for somebody else',
    `update payments.arrivals set account_id = gen_random_uuid() where id = (select id from payments.arrivals where purchase_id is not null limit 1)`,
    ['P40', 'P41'],
  ],
  [
    'credits that say they arrived',
    `update credits.transfers set ref_type = 'arrival', ref_id = gen_random_uuid() where (account_id, seq) = (
      select account_id, seq from credits.transfers where kind = 'purchase' and ref_type = 'arrival' limit 1)`,
    ['L09', 'P03', 'P41'],
  ],
  ['a purchase for an ask that never arrived', 'delete from payments.arrivals where purchase_id is not null', ['P42']],
];
