import { type Check, changeable, type Walk } from '../platform/audit/check.ts';

/** What must hold in the ledger. */

export const ledgerAccounts: Walk = {
  name: 'ledger accounts',
  table: 'credits.accounts',
  as: 'a',
  key: [['account_id', 'uuid']],
};

/** Each transfer `t` with the one before it in its account, `p`: what holds for every step holds for the whole way. */
export const transfers: Walk = {
  name: 'transfers',
  table: 'credits.transfers',
  as: 't',
  key: [
    ['account_id', 'uuid'],
    ['seq', 'bigint'],
  ],
  join: `left join lateral (
    select before.seq, before.available_after, before.held_after, before.debt_after, before.hash
    from credits.transfers before where before.account_id = t.account_id and before.seq = t.seq - 1 offset 0
  ) p on true`,
};

const holds: Walk = {
  name: 'holds',
  table: 'credits.holds',
  as: 'h',
  key: [
    ['account_id', 'uuid'],
    ['id', 'uuid'],
  ],
};

/** A balance after a transfer, from the one before it. A debt grows by a debit: it is what the account owes. */
const steps = (own: 'available' | 'held' | 'debt') => {
  const [more, less] = own === 'debt' ? ['debit', 'credit'] : ['credit', 'debit'];
  return `t.${own}_after <> coalesce(p.${own}_after, 0)
    + case when t.${more} = '${own}' then t.amount else 0 end - case when t.${less} = '${own}' then t.amount else 0 end`;
};

const isFollowing = '(t.seq = 1 or p.seq is not null)'; // else L08 tells

/**
 * docs/ledger-hash.md, written down once more: who has changed credits.transfer_hash has not changed this. (It is also
 * eight times as fast: fields of fixed length, and one concatenation.)
 */
const text = (column: string) => `octet_length(t.${column}), ':', t.${column}`;
const number = (value: string) => `length((${value})::text), ':', ${value}`;
const computedHash = `sha256(coalesce(p.hash, '') || convert_to(concat('t136:', t.account_id, ${number('t.seq')}, '36:', t.id,
  ${['kind', 'debit', 'credit'].map(text).join(', ')},
  ${['amount', 'available_after', 'held_after', 'debt_after'].map((column) => number(`t.${column}`)).join(', ')},
  ${text('ref_type')}, '36:', t.ref_id, coalesce('36:' || t.parent_id, '-'), coalesce(octet_length(t.memo) || ':' || t.memo, '-'),
  ${number('(extract(epoch from t.created_at) * 1000000)::bigint')}), 'UTF8'))`;

const ROUTES = `('spend', 'available', 'revenue'), ('return', 'revenue', 'available'), ('purchase', 'issued', 'available'),
  ('grant', 'issued', 'available'), ('hold', 'available', 'held'), ('capture', 'held', 'revenue'), ('capture', 'held', 'clawback'), ('release', 'held', 'available'),
  ('clawback', 'debt', 'clawback'), ('repay', 'available', 'debt'), ('adjust', 'issued', 'available'),
  ('adjust', 'available', 'issued'), ('link', 'available', 'linked'), ('link', 'linked', 'available')`;

const ofTransfers: Check[] = [
  {
    id: 'L01',
    rule: 'A transfer takes a positive amount from one ledger account to another, on a route of its kind',
    over: transfers,
    broken: `t.amount <= 0 or (t.kind, t.debit, t.credit) not in (${ROUTES})`,
    money: true,
  },
  {
    id: 'L06',
    rule: 'No balance was ever below zero',
    over: transfers,
    broken: 'least(t.available_after, t.held_after, t.debt_after) < 0',
    money: true,
  },
  {
    id: 'L07',
    rule: 'Balances after a transfer are those before it and what it moved',
    over: transfers,
    broken: `${isFollowing} and (${steps('available')} or ${steps('held')} or ${steps('debt')})`,
    money: true,
  },
  {
    id: 'L08',
    rule: 'Transfers of an account are numbered 1, 2, 3, … without a gap',
    over: transfers,
    broken: 't.seq < 1 or (t.seq > 1 and p.seq is null)',
    money: true,
  },
  {
    id: 'L09',
    rule: 'The hash of a transfer is that of the one before it and its own text',
    over: transfers,
    broken: `${isFollowing} and t.hash <> ${computedHash}`,
    money: true,
  },
  {
    id: 'L14',
    rule: 'Credits given back are those of a spend or a capture, and never more',
    over: transfers,
    broken: `t.kind = 'return' and (
      select s.amount >= t.amount and s.id = t.parent_id and s.seq < t.seq from credits.transfers s
      where s.account_id = t.account_id and s.ref_type = t.ref_type and s.ref_id = t.ref_id and s.kind in ('spend', 'capture') limit 1) is not true`,
    money: true,
  },
  {
    id: 'L16',
    rule: 'Transfers belong to an account of the ledger',
    over: transfers,
    broken: 't.seq = 1 and (select a.seq from credits.accounts a where a.account_id = t.account_id) is null',
    money: true,
  },
  {
    id: 'L17',
    rule: 'What is held, captured and released belongs to a hold',
    over: transfers,
    broken: `t.kind in ('hold', 'capture', 'release')
      and (select h.amount from credits.holds h where h.account_id = t.account_id and h.id = t.parent_id) is null`,
    money: true,
  },
  {
    id: 'L18',
    rule: 'Credits that were given or corrected by hand are in the audit log',
    over: transfers,
    broken: `t.kind in ('grant', 'adjust') and (
      select g.seq from platform.audit_log g
      where g.subject_id = t.account_id::text and g.action = 'credits.' || t.kind and position(t.ref_id::text in g.detail) > 0
      limit 1) is null`,
    money: true,
  },
];

const last = (columns: string) =>
  `(select ${columns} from credits.transfers t where t.account_id = a.account_id and t.seq = a.seq)`;

const ofAccounts: Check[] = [
  {
    id: 'L03',
    rule: 'The balances of an account are those after its last transfer',
    over: ledgerAccounts,
    broken: `case when a.seq = 0 then (a.available, a.held, a.debt) <> (0, 0, 0)
      else (a.available, a.held, a.debt) = ${last('t.available_after, t.held_after, t.debt_after')} is not true end`,
    money: true,
  },
  {
    id: 'L05',
    rule: 'No balance is below zero',
    over: ledgerAccounts,
    broken: 'least(a.available, a.held, a.debt) < 0',
    money: true,
  },
  {
    id: 'L13',
    rule: "An account's number and head hash are those of its last transfer",
    over: ledgerAccounts,
    broken: `a.head_hash <> coalesce(${last('t.hash')}, '') or a.seq <> coalesce((
      select t.seq from credits.transfers t where t.account_id = a.account_id order by t.seq desc limit 1), 0)`,
    money: true,
  },
  {
    id: 'L15',
    rule: 'Debt is paid first: nobody owes credits and has some',
    over: ledgerAccounts,
    broken: 'a.available > 0 and a.debt > 0',
    money: true,
  },
];

const OWN = "('available', 'held', 'debt')";

export const creditsChecks: Check[] = [
  ...ofTransfers,
  ...ofAccounts,
  {
    id: 'L12',
    rule: 'A hold is what its transfers set aside, captured and released, and never more left it',
    over: holds,
    broken: `h.captured + h.released > h.amount or (
      select (h.amount, h.captured, h.released) = (
        coalesce(sum(t.amount) filter (where t.kind = 'hold'), 0), coalesce(sum(t.amount) filter (where t.kind = 'capture'), 0),
        coalesce(sum(t.amount) filter (where t.kind = 'release'), 0))
      from credits.transfers t
      where t.account_id = h.account_id and t.parent_id = h.id and t.kind in ('hold', 'capture', 'release')) is not true`,
    money: true,
  },
  {
    id: 'L11',
    rule: 'All that customers have is what was issued, less what was earned and taken back',
    over: 'all balances',
    broken: `select owned.n || ' owned, ' || moved.n || ' moved to them' as key
      from (select coalesce(sum(available + held - debt), 0) as n from credits.accounts) owned,
        (select coalesce(sum(amount * ((credit in ${OWN})::int - (debit in ${OWN})::int)), 0) as n from credits.transfers) moved
      where owned.n <> moved.n`,
    money: true,
    only: 'snapshot',
  },
  {
    id: 'L10',
    rule: 'Nobody but the owner can write the ledger, and its lines refuse to be changed',
    over: 'schema',
    broken: `${changeable(['credits.transfers'], ['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'])}
      union all
      select c.oid::regclass || ': ' || privilege_type || ' is granted to ' || coalesce(nullif(grantee, 0)::regrole::text, 'everybody')
      from pg_catalog.pg_class c, aclexplode(c.relacl)
      where c.oid in ('credits.accounts'::regclass, 'credits.holds'::regclass) and grantee <> c.relowner and privilege_type <> 'SELECT'`,
  },
];
