import { and, asc, eq, inArray, isNull, sql } from 'drizzle-orm';
import { audit } from '../platform/audit-log.ts';
import type { Tx } from '../platform/database/clients.ts';
import { Problem } from '../platform/http/problem.ts';
import { count, counted, money } from '../platform/http/words.ts';
import { fromWire, toWire } from '../platform/ids.ts';
import { figure, hoursAgo, withinADay } from '../platform/ops/day.ts';
import { inOneLine, stepOf } from '../platform/ops/evidence.ts';
import type { Action, Case, Figures, Panel } from '../platform/ops/panel.ts';
import { resolveDifference } from './differences.ts';
import { lookAgain } from './lightning/look-again.ts';
import { type Purchase, trailOf } from './purchases/history.ts';
import { resolveReview } from './purchases/resolve.ts';
import { completions } from './requests/tables.ts';
import type { PaymentsDeps } from './routes.ts';
import { charges, claims, differences, purchases } from './tables.ts';

/** What of payments waits for a person: purchases in review, and what does not fit the provider or the chain. */
export const paymentsPanels = (deps: PaymentsDeps): Panel[] => [reviews(deps), openDifferences(deps)];

function reviews(deps: PaymentsDeps): Panel {
  const { db } = deps;
  const inReview = eq(purchases.state, 'review');
  return {
    name: 'reviews',
    title: 'Purchases in review',
    hint: 'Money moved, or may have, but not as agreed. No credits are given until somebody decides.',
    button: 'Decide',
    list: async (limit) => {
      const rows = await db.select().from(purchases).where(inReview).orderBy(asc(purchases.createdAt)).limit(limit);
      const causes = await kindsOf(deps, rows);
      const entries = rows.map((one) => ({
        id: toWire('purchase', one.id),
        since: one.createdAt,
        amount: money(one.price, one.currency),
        what: `${one.packageName}: ${count(one.credits)}`,
        why: words(causes.get(one.id) ?? 'looked at by the provider'),
      }));
      return { entries, total: await db.$count(purchases, inReview) };
    },
    find: async (id) => {
      const [purchase] = await db
        .select()
        .from(purchases)
        .where(eq(purchases.id, fromWire('purchase', id)));
      return purchase && reviewOf(deps, purchase);
    },
  };
}

async function kindsOf({ db }: PaymentsDeps, rows: Purchase[]): Promise<Map<string, string>> {
  const ids = rows.map(({ id }) => id);
  const found = ids.length === 0 ? [] : await db.select().from(differences).where(inArray(differences.purchaseId, ids));
  return new Map(found.map(({ purchaseId, kind }) => [purchaseId ?? '', kind]));
}

/** `amount_mismatch` → `amount mismatch` */
const words = (kind: string) => kind.replaceAll('_', ' ');

async function reviewOf(deps: PaymentsDeps, purchase: Purchase): Promise<Case> {
  const { db } = deps;
  const attempts = await db.select().from(charges).where(eq(charges.purchaseId, purchase.id));
  const found = await db.select().from(differences).where(eq(differences.purchaseId, purchase.id));
  return {
    title: `${purchase.packageName}: ${count(purchase.credits)}`,
    amount: money(purchase.price, purchase.currency),
    state: words(purchase.state),
    facts: [
      ['Purchase', toWire('purchase', purchase.id)],
      ['Account', toWire('account', purchase.accountId)],
      ['Method', words(purchase.method)],
      ...attempts.map(({ chargeId, state }): [string, string] => [
        'Charge',
        `${chargeId ?? 'not known yet'}, ${state}`,
      ]),
      ...found.map(({ kind, detail, resolvedAt }): [string, string] => [
        resolvedAt === null ? 'Difference' : 'Difference, dealt with',
        `${words(kind)}: ${inOneLine(detail as Record<string, unknown>)}`,
      ]),
    ],
    steps: (await trailOf(db, purchase.id)).map(stepOf),
    actions: purchase.state === 'review' ? reviewActions(deps, purchase) : [],
  };
}

function reviewActions(deps: PaymentsDeps, purchase: Purchase): Action[] {
  const { id, credits } = purchase;
  let lookedBy = '';
  return [
    {
      name: 'complete',
      label: 'Complete',
      effect: `Gives ${count(credits)} to the account, once. The money at the provider stays as it is.`,
      run: (tx, by) => resolveReview(tx, id, { ...by, outcome: 'complete' }),
    },
    {
      name: 'reject',
      label: 'Reject',
      isRefusal: true,
      effect:
        'The purchase fails and gives no credits. Money that was taken stays at the provider: give it back there.',
      run: (tx, by) => resolveReview(tx, id, { ...by, outcome: 'reject' }),
    },
    {
      name: 'look',
      label: 'Ask the provider again',
      isRefusal: true,
      effect: 'Reads what pays this purchase back, and books what it shows. It decides nothing else.',
      run: async (tx, { operatorId, requestId, reason }) => {
        lookedBy = operatorId;
        const action = 'payments.review_looked_at';
        await audit(tx, { actor: operatorId, action, subjectId: id, detail: { reason }, requestId });
      },
      after: () => lookAgain(deps, purchase, `account:${lookedBy}`),
    },
  ];
}

const SEPARATOR = '~'; // in no kind

function openDifferences({ db }: PaymentsDeps): Panel {
  const isOpen = isNull(differences.resolvedAt);
  return {
    name: 'differences',
    title: 'Differences to the provider and the chain',
    hint: 'Found by comparing. Nothing was moved because of them: find out what happened, put it right, then close it.',
    button: 'Look',
    list: async (limit) => {
      const rows = await db.select().from(differences).where(isOpen).orderBy(asc(differences.foundAt)).limit(limit);
      const entries = rows.map(({ kind, reference, foundAt, detail }) => ({
        id: `${kind}${SEPARATOR}${reference}`,
        since: foundAt,
        amount: amountOf(detail as Record<string, unknown>),
        what: reference,
        why: words(kind),
      }));
      return { entries, total: await db.$count(differences, isOpen) };
    },
    find: async (id) => {
      const [kind = '', reference = ''] = id.split(SEPARATOR, 2);
      const [row] = await db
        .select()
        .from(differences)
        .where(and(eq(differences.kind, kind), eq(differences.reference, reference)));
      if (!row) return undefined;
      const detail = row.detail as Record<string, unknown>;
      return {
        title: words(kind).replace(/^./, (first) => first.toUpperCase()),
        amount: amountOf(detail),
        state: row.resolvedAt === null ? 'open' : 'dealt with',
        facts: [
          ['Reference', reference],
          ...(row.purchaseId === null ? [] : [['Purchase', toWire('purchase', row.purchaseId)] as [string, string]]),
          ['Found', row.foundAt.toUTCString()],
          ...Object.entries(detail).map(([name, value]): [string, string] => [
            words(name),
            inOneLine({ '': value }).trim(),
          ]),
        ],
        steps: row.purchaseId === null ? [] : (await trailOf(db, row.purchaseId)).map(stepOf),
        actions: row.resolvedAt === null ? [closing(kind, reference)] : [],
      };
    },
  };
}

const closing = (kind: string, reference: string): Action => ({
  name: 'close',
  label: 'Close',
  effect: 'Marks it as dealt with. Nothing is moved. It opens again when the provider shows something new.',
  run: async (tx, by) => {
    await resolveDifference(tx, { kind, reference }, by).catch((fault) => {
      if (fault instanceof Problem) throw new Problem('conflict', 'Somebody has dealt with it meanwhile.');
      throw fault;
    });
  },
});

function amountOf({ amount, currency }: Record<string, unknown>): string {
  if (typeof amount === 'number' && typeof currency === 'string' && /^[A-Z]{3}$/.test(currency))
    return money(BigInt(amount), currency);
  return amount === undefined || amount === null ? '–' : String(amount);
}

/** Money that came in. */
export const paidFigures =
  ({ db, currency }: PaymentsDeps & { currency: string }): Figures =>
  async () => {
    const moment = sql`${claims.createdAt}`;
    const count = (tx: Tx) =>
      tx
        .select({ ago: hoursAgo(moment), sum: sql<string>`sum(${claims.amount})::text` })
        .from(claims)
        .where(and(withinADay(moment), eq(claims.rail, 'omise')))
        .groupBy(sql`1`);
    const stands = and(withinADay(sql`${completions.createdAt}`), isNull(completions.reversedAt));
    const onChain = `and ${counted(await db.$count(completions, stands), 'payment')} on chain`;
    return [{ note: onChain, ...(await figure(db, 'Paid', count, (sum) => money(sum, currency))) }];
  };

/** What did not fit, dealt with or not. */
export const differenceFigures =
  ({ db }: PaymentsDeps): Figures =>
  async () => {
    const moment = sql`${differences.foundAt}`;
    const count = (tx: Tx) =>
      tx
        .select({ ago: hoursAgo(moment), sum: sql<string>`count(*)::text` })
        .from(differences)
        .where(withinADay(moment))
        .groupBy(sql`1`);
    return [await figure(db, 'Differences', count, (sum) => (sum === 0n ? 'none' : String(sum)))];
  };
