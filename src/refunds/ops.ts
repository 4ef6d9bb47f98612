import { and, asc, eq, inArray, or, type SQL, sql } from 'drizzle-orm';
import { displayAmount } from '../payments/index.ts';
import { count, money } from '../platform/http/words.ts';
import { fromWire, toWire } from '../platform/ids.ts';
import { figure, hoursAgo, withinADay } from '../platform/ops/day.ts';
import { stepOf } from '../platform/ops/evidence.ts';
import type { Action, Case, Figures, Panel } from '../platform/ops/panel.ts';
import { approve, lookNow, recordPayout, reject } from './decide.ts';
import { driveOn } from './drive.ts';
import { type Refund, subjectKinds, trailOf } from './history.ts';
import type { RefundsDeps } from './routes.ts';
import { history, refunds } from './tables.ts';

/** By then a saga that goes by itself is through, unless somebody else does not answer. */
const STUCK_AFTER_MIN = 15;

const isForPerson = and(eq(refunds.state, 'reserved'), inArray(refunds.rail, ['bank', 'evm']));
const goesByItself = or(
  inArray(refunds.state, ['requested', 'sending']),
  and(eq(refunds.state, 'reserved'), inArray(refunds.rail, ['omise', 'credits'])),
);
const isStill = sql`(select max(${history.at}) from ${history} where ${history.refundId} = ${refunds.id}) < now() - make_interval(mins => ${STUCK_AFTER_MIN})`;

/** Refunds that wait for a person, by what is to be done about them. */
export const refundsPanels = (deps: RefundsDeps): Panel[] => [
  panel(deps, eq(refunds.state, 'awaiting_approval'), {
    name: 'refunds',
    title: 'Refunds to decide',
    hint: 'Customers ask for their money back. Nothing is set aside or paid until somebody says yes.',
    button: 'Decide',
  }),
  panel(deps, isForPerson, {
    name: 'payouts',
    title: 'Refunds to pay by hand',
    hint: 'The credits are set aside. Pay by bank or from a wallet, then record how.',
    button: 'Record',
  }),
  panel(deps, and(goesByItself, isStill), {
    name: 'stuck',
    title: 'Refunds that stand still',
    hint: `They should go by themselves, and nothing happened for ${STUCK_AFTER_MIN} minutes. Usually the provider does not answer.`,
    button: 'Look',
  }),
];

function panel(
  deps: RefundsDeps,
  which: SQL | undefined,
  about: Pick<Panel, 'name' | 'title' | 'hint' | 'button'>,
): Panel {
  const { db } = deps;
  return {
    ...about,
    list: async (limit) => {
      const rows = await db
        .select()
        .from(refunds)
        .where(which)
        .orderBy(asc(refunds.createdAt), asc(refunds.id))
        .limit(limit);
      const entries = rows.map((refund) => ({
        id: toWire('refund', refund.id),
        since: refund.createdAt,
        amount: amountOf(deps, refund),
        what: titleOf(refund),
        why: refund.reason,
      }));
      return { entries, total: await db.$count(refunds, which) };
    },
    find: async (id) => {
      const [refund] = await db
        .select()
        .from(refunds)
        .where(eq(refunds.id, fromWire('refund', id)));
      return refund && caseOf(deps, refund);
    },
  };
}

const ways: Record<Refund['rail'], string> = {
  credits: 'as credits',
  omise: 'to the card or wallet that paid',
  bank: 'by bank transfer',
  evm: 'on chain',
};

const titleOf = ({ subjectType, rail }: Refund) =>
  `Refund of ${subjectType === 'order' ? 'an' : 'a'} ${subjectType.replace('_', ' ')}, ${ways[rail]}`;

/** `฿500.00`, `12.5 USDC`, `120 credits` */
function amountOf({ evm }: RefundsDeps, { amount, unit }: Refund): string {
  if (unit === 'credit') return count(BigInt(amount));
  if (/^[A-Z]{3}$/.test(unit)) return money(BigInt(amount), unit);
  const asset = evm.assets.find(({ id }) => id === unit);
  return asset ? `${displayAmount(amount, asset.decimals)} ${asset.symbol}` : `${amount} of ${unit}`;
}

async function caseOf(deps: RefundsDeps, refund: Refund): Promise<Case> {
  const optional = (name: string, value: string | null): [string, string][] => (value === null ? [] : [[name, value]]);
  return {
    title: titleOf(refund),
    amount: amountOf(deps, refund),
    state: refund.state.replaceAll('_', ' '),
    facts: [
      ['Asked because', refund.reason],
      ['Refund', toWire('refund', refund.id)],
      ['Of', toWire(subjectKinds[refund.subjectType], refund.subjectId)],
      ['Account', toWire('account', refund.accountId)],
      ['Credits', count(refund.credits)],
      ...optional('To', refund.destination),
      ...optional('Decision', refund.decision),
      ...optional('Reference', refund.reference),
      ...optional('Failure', refund.failureMessage ?? refund.failureCode),
    ],
    steps: (await trailOf(deps.db, refund.id)).map(stepOf),
    actions: actionsOf(deps, refund),
  };
}

function actionsOf(deps: RefundsDeps, refund: Refund): Action[] {
  if (refund.state === 'awaiting_approval') return [approving(deps, refund), rejecting(refund)];
  if (refund.state === 'reserved' && refund.rail === 'bank') return [paidByBank(deps, refund), rejecting(refund)];
  if (refund.state === 'reserved' && refund.rail === 'evm') return [paidOnChain(deps, refund), rejecting(refund)];
  return refund.nextStepAt === null ? [] : [looking(deps, refund)];
}

function approving(deps: RefundsDeps, refund: Refund): Action {
  const { id, rail, credits, destination } = refund;
  const sum = amountOf(deps, refund);
  const aside = credits > 0n && rail !== 'credits' ? `Sets ${count(credits)} aside, if they are still there. ` : '';
  const then = {
    credits: `Gives ${sum} to the account.`,
    omise: `Then ${sum} go back ${ways.omise}, at once.`,
    bank: `Then somebody pays ${sum} by bank transfer, and records it here.`,
    evm: `Then somebody sends ${sum} to ${destination}, and records it here.`,
  }[rail];
  return {
    name: 'approve',
    label: 'Approve',
    effect: aside + then,
    run: (tx, by) => approve(tx, deps.limits, id, by),
    after: () => driveOn(deps, id),
  };
}

const rejecting = ({ id, state, credits }: Refund): Action => ({
  name: 'reject',
  label: 'Reject',
  isRefusal: true,
  effect:
    state === 'awaiting_approval' || credits === 0n
      ? 'Nothing is given back.'
      : `Nothing is given back, and ${count(credits)} that are set aside return to the account.`,
  run: (tx, by) => reject(tx, id, by),
});

const paidByBank = (deps: RefundsDeps, refund: Refund): Action => ({
  name: 'paid',
  label: 'Record the payment',
  effect: `Takes the ${count(refund.credits)} that are set aside, and tells the customer that ${amountOf(deps, refund)} were paid, with the reference. It pays nothing: that you have done.`,
  field: {
    label: 'Reference of the bank transfer',
    hint: 'as the bank shows it; 100 characters at most',
    pattern: '[^\\p{Cc}]{1,100}',
    maxLength: 100,
  },
  run: (tx, { value, ...by }) =>
    recordPayout(tx, deps.limits, refund.id, { type: 'bank_transfer', reference: value }, by),
});

const paidOnChain = (deps: RefundsDeps, refund: Refund): Action => ({
  name: 'paid',
  label: 'Record the payment',
  effect: `Looks in the chain whether exactly ${amountOf(deps, refund)} went to ${refund.destination}. Only then the ${count(refund.credits)} are taken and the customer is told.`,
  field: {
    label: 'Transaction',
    hint: '0x and 64 hex digits',
    pattern: '0x[0-9a-fA-F]{64}',
    maxLength: 66,
  },
  run: (tx, { value, ...by }) => {
    const payout = { type: 'transaction', txHash: value.toLowerCase() } as const;
    return recordPayout(tx, deps.limits, refund.id, payout, by);
  },
  after: () => driveOn(deps, refund.id),
});

const looking = (deps: RefundsDeps, { id }: Refund): Action => ({
  name: 'look',
  label: 'Go on now',
  effect: 'Takes the next step now: asks the provider or the chain what became of it. Nothing is sent twice.',
  run: (tx, by) => lookNow(tx, id, by),
  after: () => driveOn(deps, id),
});

/** What went back in the last day, counted in credits. */
export const refundsFigures =
  ({ db }: RefundsDeps): Figures =>
  async () => {
    const moment = sql`${refunds.completedAt}`;
    return [
      await figure(
        db,
        'Refunded',
        (tx) =>
          tx
            .select({ ago: hoursAgo(moment), sum: sql<string>`sum(${refunds.credits})::text` })
            .from(refunds)
            .where(and(eq(refunds.state, 'completed'), withinADay(moment)))
            .groupBy(sql`1`),
        count,
      ),
    ];
  };
