import { ledgerAccounts, transfers } from '../credits/index.ts';
import { type Check, changeable, type Walk } from '../platform/audit/check.ts';
import { keys } from '../platform/audit/own-checks.ts';
import { arrivalsChecks } from './arrivals/audit.ts';
import { invoicesChecks } from './lightning/audit.ts';
import { ordersChecks } from './orders/audit.ts';

/** What must hold of purchases, and between them, the provider's charges and the ledger. */

const purchases: Walk = {
  name: 'purchases',
  table: 'payments.purchases',
  as: 'p',
  key: [['id', 'uuid']],
  columns: [
    'id',
    'account_id',
    'method',
    'credits',
    'price',
    'currency',
    'livemode',
    'state',
    'created_at',
    'expires_at',
    'completed_at',
    'for_id',
  ],
};
const charges: Walk = { name: 'charges', table: 'payments.charges', as: 'c', key: [['attempt_id', 'uuid']] };
const claims: Walk = {
  name: 'claims',
  table: 'payments.claims',
  as: 'k',
  key: [
    ['rail', 'text'],
    ['reference', 'text'],
  ],
};
const requests: Walk = {
  name: 'payment requests',
  table: 'payments.payment_requests',
  as: 'r',
  key: [['id', 'uuid']],
  columns: [
    ...['id', 'payer_did', 'payer_account_id', 'chain', 'amount', 'purpose', 'credits', 'terms', 'terms_hash', 'state'],
    ...['received', 'late', 'challenge_id', 'created_at', 'expires_at', 'authorized_at', 'completed_at'],
  ],
};
const sent: Walk = {
  name: 'transactions of payment requests',
  table: 'payments.request_transactions',
  as: 's',
  key: [
    ['request_id', 'uuid'],
    ['tx_hash', 'text'],
  ],
};
const completions: Walk = { name: 'completions', table: 'payments.completions', as: 'o', key: [['id', 'uuid']] };
const inbox: Walk = { name: 'webhooks', table: 'payments.webhook_inbox', as: 'n', key: [['event_id', 'text']] };

/** Credits of a purchase: for its charge, or for the standing completion of the payment request that pays it. */
const credited = `(case p.method when 'crypto' then (
  select t.amount from payments.payment_requests r
    join payments.completions o on o.request_id = r.id and o.reversed_at is null
    join credits.transfers t on t.account_id = p.account_id and t.ref_type = 'completion' and t.ref_id = o.id and t.kind = 'purchase'
  where r.purchase_id = p.id)
else (
  select t.amount from credits.transfers t
  where t.account_id = p.account_id and t.ref_type = 'purchase' and t.ref_id = p.id and t.kind = 'purchase') end)`;
const request = (columns: string) => `(select ${columns} from payments.payment_requests r where r.purchase_id = p.id)`;
const claim = (columns: string) => `(select ${columns} from payments.claims k where k.purchase_id = p.id)`;
const paidFor = (columns: string) => `(select ${columns} from payments.purchases p where p.id = t.ref_id)`;
const step = (...names: string[]) => `(
  select h.seq from payments.history h where h.purchase_id = p.id and h.what in (${names.map((name) => `'${name}'`).join(', ')}) limit 1)`;

/** Completed, and perhaps refunded since. */
const PAID = "('completed', 'partially_refunded', 'refunded')";
const isPaid = `p.state in ${PAID}`;

const ofPurchases: Check[] = [
  {
    id: 'P01',
    rule: 'A purchase that was completed, and perhaps refunded since, was credited to its buyer, once, with exactly its credits',
    over: purchases,
    broken: `${isPaid} and ${credited} is distinct from p.credits`,
    money: true,
  },
  {
    id: 'P02',
    rule: 'A purchase that was never completed has no credits',
    over: purchases,
    broken: `not ${isPaid} and ${credited} is not null`,
    money: true,
  },
  {
    id: 'P05',
    rule: 'What was verified as paid is the price that was agreed, in its currency',
    over: purchases,
    broken: `${isPaid} and (p.price, p.currency) = ${claim('k.amount, k.currency')} is false`,
    money: true,
  },
  {
    id: 'P06',
    rule: "A completed purchase rests on one claim: its own successful charge or paid invoice, or an operator's decision; on chain, on its payment request",
    over: purchases,
    broken: `p.method <> 'crypto' and ${isPaid} and ${claim(`case k.rail
      when 'operator' then k.reference = p.id::text and ${step('review_completed')} is not null
      when 'lightning' then (select i.purchase_id = p.id and i.state = 'paid' from payments.invoices i where i.payment_hash = k.reference)
      when 'omise' then (select c.purchase_id = p.id and c.state = 'successful' from payments.charges c where c.charge_id = k.reference)
      else false end`)} is not true
      or p.method = 'crypto' and ${request(`r.credits = p.credits
        and (r.state = 'completed') = (p.state = 'completed') and (r.state = 'cancelled') = (p.state = 'cancelled')
        and coalesce(r.payer_account_id = p.account_id, r.state <> 'completed')`)} is not true`,
    money: true,
  },
  {
    id: 'P16',
    rule: 'Purchases are of the mode of this installation, test or live',
    over: purchases,
    broken: `p.livemode <> (select value = 'live' from platform.installation where name = 'mode')`,
    money: true,
  },
  {
    id: 'P18',
    rule: 'Every purchase has its trail: how it began, and how it ended',
    over: purchases,
    broken: `${step('purchase_started')} is null
      or ${isPaid} and ${step('purchase_completed', 'review_completed')} is null
      or p.state = 'cancelled' and ${step('purchase_cancelled')} is null
      or p.state = 'review' and ${step('review', 'second_charge')} is null`,
  },
  {
    id: 'P19',
    rule: 'The completion of a purchase was told in the same transaction',
    over: purchases,
    broken: `${isPaid} and p.completed_at >= (select coalesce(min(e.created_at), 'infinity') from platform.events e) and (
      select e.seq from platform.events e
      where e.created_at = p.completed_at and e.subject_id = p.id and e.type = 'payments.purchase_completed' limit 1) is null`,
  },
  {
    id: 'P20',
    rule: 'A purchase has a buyer',
    over: purchases,
    broken: '(select u.id from identity.accounts u where u.id = p.account_id) is null',
  },
  {
    id: 'P42',
    rule: 'What was bought for something has arrived for it once it is paid',
    over: purchases,
    broken: `p.for_id is not null and ${isPaid} and (
      select v.id from payments.arrivals v where v.purchase_id = p.id and v.for_id = p.for_id limit 1) is null`,
    money: true,
  },
  {
    id: 'P13',
    rule: 'No unpaid purchase is open ten minutes past its end with nothing that could still be paid',
    over: purchases,
    broken: `p.method <> 'crypto' and p.state = 'pending' and p.expires_at < now() - interval '10 minutes' and (
      select c.attempt_id from payments.charges c
      where c.purchase_id = p.id and c.state in ('creating', 'pending', 'successful', 'review') limit 1) is null and (
      select i.id from payments.invoices i where i.purchase_id = p.id and i.state in ('creating', 'open') limit 1) is null`,
    only: 'live',
  },
];

const ofCharges: Check[] = [
  {
    id: 'P15',
    rule: 'No money is lost: a charge that was paid is credited, or written down as a difference',
    over: charges,
    broken: `c.state = 'successful' and (select k.rail = 'operator' or k.reference = c.charge_id from payments.claims k
        where k.purchase_id = c.purchase_id) is not true
      or c.state = 'review' and (select d.kind from payments.differences d where d.reference = c.charge_id limit 1) is null`,
    money: true,
  },
  {
    id: 'P23',
    rule: 'A charge that is known at the provider belongs to one attempt',
    over: charges,
    broken: `(select count(*) from payments.charges other where other.charge_id = c.charge_id) > 1
      or c.charge_id is null and c.state not in ('creating', 'abandoned', 'failed')`,
    money: true,
  },
  {
    id: 'P17',
    rule: 'No attempt that is due was left alone for fifteen minutes',
    over: charges,
    broken: `coalesce(c.next_check_at < now() - interval '15 minutes', false)`,
    only: 'live',
  },
];

const standing = (columns: string, more = '') => `(
  select ${columns} from payments.settlements s where s.request_id = r.id and s.gone_at is null ${more})`;
/** Of a completion: what was booked for it. */
const booked = (kind: string) => `(
  select t.amount from credits.transfers t join payments.payment_requests r on r.payer_account_id = t.account_id
  where r.id = o.request_id and t.ref_type = 'completion' and t.ref_id = o.id and t.kind = '${kind}')`;

const ofRequests: Check[] = [
  {
    id: 'P07',
    rule: 'A completed payment request has one standing completion, and no other has any',
    over: requests,
    broken: `(r.state = 'completed') <> (
      (select count(*) from payments.completions o where o.request_id = r.id and o.reversed_at is null) = 1)`,
    money: true,
  },
  {
    id: 'P08',
    rule: 'What counts for a payment request lies on its chain, is as much as it says, and came in time where it completed',
    over: requests,
    broken: `r.received <> coalesce(${standing('sum(s.amount)')}, 0)
      or ${standing('count(*)', 'and s.chain <> r.chain')} > 0
      or r.state = 'completed' and ${standing('sum(s.amount)', "and (r.late = 'accepted' or s.block_time <= r.expires_at)")} >= r.amount is not true`,
    money: true,
  },
  {
    id: 'P10',
    rule: 'What was paid on chain was agreed to by the holder of the DID, by an answer about these terms',
    over: requests,
    broken: `r.terms_hash <> encode(sha256(convert_to(r.terms, 'UTF8')), 'hex')
      or (r.authorized_at is not null or r.received > 0) and (
        select c.did = r.payer_did and c.purpose = 'payment' and c.subject_id = r.id and c.terms_hash = r.terms_hash
          and c.consumed_at <= c.expires_at
        from identity.did_challenges c where c.id = r.challenge_id) is not true`,
    money: true,
  },
  {
    id: 'P09',
    rule: "A completion was credited to the payer once, and taken back if it was undone; an invoice's moves no credits",
    over: completions,
    broken: `${booked('purchase')} is distinct from (select r.credits from payments.payment_requests r where r.id = o.request_id)
      or ${booked('clawback')} is distinct from (
        select r.credits from payments.payment_requests r where r.id = o.request_id and o.reversed_at is not null)`,
    money: true,
  },
  {
    id: 'P25',
    rule: 'No payment request is open ten minutes past its end',
    over: requests,
    broken: `r.state in ('pending', 'authenticated', 'underpaid') and r.expires_at < now() - interval '10 minutes'`,
    only: 'live',
  },
  {
    id: 'P26',
    rule: 'No transaction of a payment request that is due was left alone for fifteen minutes',
    over: sent,
    broken: `coalesce(s.next_check_at < now() - interval '15 minutes', false)`,
    only: 'live',
  },
];

export const paymentsChecks: Check[] = [
  ...ofPurchases,
  ...ofCharges,
  ...ofRequests,
  ...ordersChecks,
  ...arrivalsChecks,
  ...invoicesChecks,
  {
    id: 'P03',
    rule: 'Credits that were bought come from a purchase that is completed, a completion of a payment request, or an arrival',
    over: transfers,
    broken: `t.kind = 'purchase' and case t.ref_type
      when 'purchase' then ${paidFor(`p.state in ${PAID}`)} is not true
      when 'completion' then (select o.id from payments.completions o where o.id = t.ref_id) is null
      when 'arrival' then (select v.account_id = t.account_id from payments.arrivals v where v.id = t.ref_id) is not true
      else true end`,
    money: true,
  },
  {
    id: 'P04',
    rule: 'Credits of a purchase went to its buyer',
    over: transfers,
    broken: `t.kind = 'purchase' and coalesce(${paidFor('p.account_id')} <> t.account_id, false)`,
    money: true,
  },
  {
    id: 'P21',
    rule: 'What was claimed completed its purchase',
    over: claims,
    broken: `(select p.state in ${PAID} from payments.purchases p where p.id = k.purchase_id) is not true`,
    money: true,
  },
  {
    id: 'P22',
    rule: 'The key of a purchase leads to a purchase of the same account',
    over: keys,
    broken: `y.route = 'POST /v1/purchases'
      and (select p.account_id from payments.purchases p where p.id = y.resource_id) is distinct from y.account_id`,
  },
  {
    id: 'I04',
    rule: 'Credits belong to somebody: every account of the ledger is an account',
    over: ledgerAccounts,
    broken: '(select u.id from identity.accounts u where u.id = a.account_id) is null',
    money: true,
  },
  {
    id: 'P12',
    rule: 'No webhook that is due was left alone for fifteen minutes',
    over: inbox,
    broken: `n.state = 'received' and n.next_attempt_at < now() - interval '15 minutes'`,
    only: 'live',
  },
  {
    id: 'P24',
    rule: 'Claims and the trails of purchases and payment requests can be added to, and not changed',
    over: 'schema',
    broken: changeable(['payments.claims', 'payments.history', 'payments.request_history']),
  },
];
