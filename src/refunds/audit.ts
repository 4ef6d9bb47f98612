import { type Check, changeable, type Walk } from '../platform/audit/check.ts';

/** What must hold of refunds, and between them, the ledger, and what they are of. */

const refunds: Walk = { name: 'refunds', table: 'refunds.refunds', as: 'f', key: [['id', 'uuid']] };
const clawbacks: Walk = { name: 'claw-backs', table: 'refunds.clawbacks', as: 'b', key: [['id', 'uuid']] };
const orders: Walk = { name: 'orders', table: 'payments.orders', as: 'o', key: [['id', 'uuid']] };
const purchases: Walk = {
  name: 'purchases',
  table: 'payments.purchases',
  as: 'p',
  key: [['id', 'uuid']],
  columns: [
    ...['id', 'account_id', 'credits', 'price', 'state'],
    ...['refund_credits', 'refund_amount', 'refunded_credits', 'refunded_amount'],
  ],
};
const requests: Walk = {
  name: 'payment requests',
  table: 'payments.payment_requests',
  as: 'r',
  key: [['id', 'uuid']],
  columns: ['id', 'credits', 'amount', 'received', 'state', 'refund_excess', 'refund_credits'],
};

const LIVING = "('requested', 'awaiting_approval', 'reserved', 'sending', 'completed')";
const ofPurchase = (column: 'credits' | 'amount', states: string) => `coalesce((
  select sum(f.${column}) from refunds.refunds f where f.subject_id = p.id and f.state in ${states}), 0)`;
const clawed = (column: 'credits' | 'amount') => `coalesce((
  select sum(b.${column}) from refunds.clawbacks b where b.purchase_id = p.id and b.restored_at is null), 0)`;
const spokenFor = (column: 'credits' | 'amount', states: string) => `${ofPurchase(column, states)} + ${clawed(column)}`;
const ofRequest = (column: 'credits' | 'amount', part: 'whole' | 'excess') => `coalesce((
  select sum(f.${column}) from refunds.refunds f where f.subject_id = r.id and f.part = '${part}' and f.state in ${LIVING}), 0)`;
const ofOrder = (states: string) => `coalesce((
  select sum(f.credits) from refunds.refunds f where f.subject_id = o.id and f.state in ${states}), 0)`;
const moved = (kind: 'hold' | 'capture' | 'release') => `(
  select t.amount from credits.transfers t
  where t.account_id = f.account_id and t.ref_type = 'refund' and t.ref_id = f.id and t.kind = '${kind}')`;
const takes = "f.rail <> 'credits' and f.credits > 0";
const payout = (columns: string) => `(select ${columns} from refunds.payouts o where o.refund_id = f.id)`;
const trail = (what: string) => `(
  select h.seq from refunds.history h where h.refund_id = f.id and h.what = ${what} limit 1)`;

const ofSubjects: Check[] = [
  {
    id: 'R01',
    rule: 'Refunds and claw-backs of a purchase are together what it says, and never more than was paid',
    over: purchases,
    broken: `p.refund_amount > p.price or p.refund_amount <> ${spokenFor('amount', LIVING)}`,
    money: true,
  },
  {
    id: 'R02',
    rule: 'Refunds of a payment request are together what it says, and never more than arrived beyond what they bought',
    over: requests,
    broken: `r.refund_excess <> ${ofRequest('amount', 'excess')} or r.refund_credits <> ${ofRequest('credits', 'whole')}
      or ${ofRequest('amount', 'whole')} > r.amount
      or r.state = 'completed' and r.refund_excess > r.received - r.amount`,
    money: true,
  },
  {
    id: 'R05',
    rule: 'Credits taken back for a purchase are never more than it brought',
    over: purchases,
    broken: `p.refund_credits > p.credits or p.refund_credits <> ${spokenFor('credits', LIVING)}`,
    money: true,
  },
  {
    id: 'R06',
    rule: 'A purchase says as much to be refunded as went back',
    over: purchases,
    broken: `p.refunded_amount <> ${spokenFor('amount', "('completed')")} or p.refunded_credits <> ${spokenFor('credits', "('completed')")}
      or (p.state = 'refunded') <> (p.refunded_amount = p.price or p.refunded_amount > 0 and p.refunded_credits = p.credits)
      or (p.state = 'partially_refunded') <> (p.refunded_amount > 0 and p.refunded_amount < p.price and p.refunded_credits < p.credits)`,
    money: true,
  },
  {
    id: 'R14',
    rule: 'An order says as much to be given back as its refunds do, under way and done',
    over: orders,
    broken: `o.refund_credits <> ${ofOrder(LIVING)} or o.refunded_credits <> ${ofOrder("('completed')")}`,
    money: true,
  },
];

const ofRefunds: Check[] = [
  {
    id: 'R03',
    rule: 'A refund for credits has set aside exactly those, and taken them when it was completed',
    over: refunds,
    broken: `${takes} and (
      f.state in ('reserved', 'sending', 'completed') and ${moved('hold')} is distinct from f.credits
      or (f.state = 'completed') <> (${moved('capture')} is not distinct from f.credits))`,
    money: true,
  },
  {
    id: 'R04',
    rule: 'A completed refund of money rests on one payment, which its rail has a name for; no other has one',
    over: refunds,
    broken: `(f.state = 'completed' and f.rail <> 'credits') <> (${payout('o.rail = f.rail and o.amount = f.amount and o.reference = f.reference')} is true)
      or ${payout('o.reference')} is not null and f.state <> 'completed'`,
    money: true,
  },
  {
    id: 'R07',
    rule: 'A refund that came to nothing has given back what was set aside, once, and taken nothing',
    over: refunds,
    broken: `f.state in ('rejected', 'failed')
      and (${moved('release')} is distinct from ${moved('hold')} or ${moved('capture')} is not null)`,
    money: true,
  },
  {
    id: 'R08',
    rule: 'Credits that a refund gave are on the ledger, exactly those: of a run its return, of an excess a grant',
    over: refunds,
    broken: `f.rail = 'credits' and (f.state = 'completed') <> coalesce(coalesce((
      select t.amount from credits.transfers t
      where t.account_id = f.account_id and t.ref_type = case f.subject_type when 'run' then 'run' else 'refund' end
        and t.ref_id = case f.subject_type when 'run' then f.subject_id else f.id end
        and t.kind = case f.subject_type when 'run' then 'return' else 'grant' end), (
      select sum(s.returned) from workflows.asks a join workflows.settlements s on s.account_id = a.account_id and s.ask_id = a.id
      where f.subject_type = 'run' and a.account_id = f.account_id and a.run_id = f.subject_id)) = f.credits, false)
      and not (f.subject_type = 'run' and f.state in ('rejected', 'failed'))`,
    money: true,
  },
  {
    id: 'R09',
    rule: 'Every refund has its trail: how it began, and where it stands; and an operator decides only about others',
    over: refunds,
    broken: `${trail("'requested'")} is null or f.state <> 'awaiting_approval' and ${trail('f.state')} is null
      or coalesce(f.decided_by = f.account_id, false)`,
  },
  {
    id: 'R10',
    rule: 'What is refunded on chain was asked for by the holder of the DID that paid, by an answer about that request',
    over: refunds,
    broken: `f.subject_type = 'payment_request' and (
      select c.purpose = 'refund' and c.subject_id = f.subject_id and c.consumed_at <= c.expires_at and c.did = (
        select r.payer_did from payments.payment_requests r where r.id = f.subject_id)
      from identity.did_challenges c where c.id = f.challenge_id) is not true`,
    money: true,
  },
  {
    id: 'R11',
    rule: 'No refund whose next step is due was left alone for fifteen minutes',
    over: refunds,
    broken: `coalesce(f.next_step_at < now() - interval '15 minutes', false)`,
    only: 'live',
  },
];

const taken = (kind: 'clawback' | 'adjust') => `(
  select t.amount from credits.transfers t
  where t.account_id = b.account_id and t.ref_type = 'clawback' and t.ref_id = b.id and t.kind = '${kind}')`;

export const refundsChecks: Check[] = [
  ...ofSubjects,
  ...ofRefunds,
  {
    id: 'R12',
    rule: 'What went back without us was clawed back from its buyer, once, and given again only when a dispute was won',
    over: clawbacks,
    broken: `coalesce(${taken('clawback')}, 0) <> b.credits
      or coalesce(${taken('adjust')}, 0) <> case when b.restored_at is null then 0 else b.credits end
      or (select p.account_id from payments.purchases p where p.id = b.purchase_id) is distinct from b.account_id
      or (select o.refund_id is null from refunds.payouts o where o.rail = 'omise' and o.reference = b.reference) is not true`,
    money: true,
  },
  {
    id: 'R13',
    rule: 'Payments that went back and the trails of refunds can be added to, and not changed',
    over: 'schema',
    broken: changeable(['refunds.payouts', 'refunds.history']),
  },
];
