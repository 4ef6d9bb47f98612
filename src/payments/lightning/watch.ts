import { and, eq, gte, inArray, lt, or, sql } from 'drizzle-orm';
import type { Alarm } from '../../platform/audit-log.ts';
import type { Db } from '../../platform/database/clients.ts';
import { inParallel } from '../../platform/delivery/in-parallel.ts';
import type { Worker } from '../../platform/delivery/worker.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { Problem, retryLater } from '../../platform/http/problem.ts';
import type { Log } from '../../platform/log.ts';
import type { Metrics } from '../../platform/metrics.ts';
import type { Actor } from '../purchases/history.ts';
import type { LightningRail, Seen } from '../rails/lightning/lightning.ts';
import { giveUp, type Invoice } from './open.ts';
import { applySeen, type Outcome } from './settle.ts';
import { invoices } from './tables.ts';

export interface WatchDeps {
  db: Db;
  /** `null`: no wallet is connected, and nothing is looked at. */
  lightning: LightningRail | null;
  metrics: Metrics;
  alarm: Alarm;
  log: Log;
}

const EVERY_MS = 1_000;
const AT_ONCE = 16;
const IN_PARALLEL = 4;
/** Nobody else looks meanwhile; longer than the wallet has time for an answer. */
const LEASE_S = 30;
const TROUBLE_PAUSE_S = 30;
const SWEEP_EVERY_MS = 600_000;
/** Money that came after the end is found for so long: after it, because an invoice of an ask lives for a day itself. */
const SWEEP_BACK_S = 86_400;
const MAX_PAGES = 50; // of twenty

/** Asks the wallet about every invoice that is not over; what the wallet tells by itself only makes it sooner. */
export const invoiceWatcher = (deps: WatchDeps): Worker => ({
  name: 'invoice-watch',
  everyMs: EVERY_MS,
  runOnce: async () => {
    const { lightning } = deps;
    if (!lightning) return { more: false };
    const due = await lease(deps.db);
    if (due.length > 0) await failpoint('payments.invoice.after_lease');
    await inParallel(
      due,
      IN_PARALLEL,
      async (invoice) => void (await look({ ...deps, lightning }, invoice, 'reconciler')),
    );
    return { more: due.length === AT_ONCE };
  },
});

async function lease(db: Db): Promise<Invoice[]> {
  const due = db
    .select({ id: invoices.id })
    .from(invoices)
    .where(lt(invoices.nextCheckAt, sql`now()`))
    .orderBy(invoices.nextCheckAt)
    .limit(AT_ONCE)
    .for('update', { skipLocked: true });
  return db
    .update(invoices)
    .set({ nextCheckAt: sql`now() + make_interval(secs => ${LEASE_S})` })
    .where(sql`${invoices.id} in ${due}`)
    .returning();
}

type Connected = WatchDeps & { lightning: LightningRail };

/** One look, and what follows. `unknown`: the wallet could not be asked, which says nothing about the payment. */
async function look(deps: Connected, invoice: Invoice, actor: Actor): Promise<Outcome['applied'] | 'unknown'> {
  const { db, lightning, log } = deps;
  if (invoice.paymentHash === null) {
    // The wallet was asked, and whoever asked is gone.
    await db.transaction((tx) => giveUp(tx, invoice, 'not_answered', actor));
    return 'ended';
  }
  const answer = await lightning.look(invoice.paymentHash);
  await failpoint('payments.invoice.after_look');
  if (answer.outcome === 'ok') return apply(deps, invoice, answer.value, actor);
  if (answer.outcome === 'rejected' && answer.code === 'NOT_FOUND') return apply(deps, invoice, null, actor);
  const reason = answer.outcome === 'rejected' ? answer.code : answer.reason;
  log.warn({ payment_hash: invoice.paymentHash, reason }, 'the wallet could not be asked about an invoice');
  await db
    .update(invoices)
    .set({ nextCheckAt: sql`now() + make_interval(secs => ${TROUBLE_PAUSE_S})` })
    .where(and(eq(invoices.id, invoice.id), eq(invoices.state, 'open')));
  return 'unknown';
}

async function apply(deps: Connected, invoice: Invoice, seen: Seen | null, actor: Actor): Promise<Outcome['applied']> {
  const { applied, purchase } = await deps.db.transaction(async (tx) => {
    const outcome = await applySeen(tx, invoice, seen, actor);
    await failpoint('payments.invoice.before_look_commit');
    return outcome;
  });
  await failpoint('payments.invoice.after_look_commit');
  if (applied === 'credited' || applied === 'ended') deps.metrics.purchases.inc({ state: purchase.state });
  if (applied === 'review') {
    const detail = { payment_hash: invoice.paymentHash };
    deps.alarm({ actor, action: 'security.payment_review', subjectId: purchase.id, detail });
  }
  return applied;
}

/** All invoices of a purchase, for whoever wants to know now. 503 when the wallet could not be asked. */
export async function lookAtInvoices(deps: WatchDeps, purchaseId: string, actor: Actor): Promise<void> {
  const { lightning } = deps;
  if (!lightning) throw new Problem('conflict', 'No wallet is connected.');
  const known = and(eq(invoices.purchaseId, purchaseId), inArray(invoices.state, ['open', 'expired']));
  for (const invoice of await deps.db.select().from(invoices).where(known)) {
    if ((await look({ ...deps, lightning }, invoice, actor)) === 'unknown') throw retryLater('provider_unavailable', 5);
  }
}

/** The wallet says that an invoice was paid: it is looked at now, even when it counted as over. */
export const hurryInvoice = (db: Db, paymentHash: string): Promise<unknown> =>
  db
    .update(invoices)
    .set({ nextCheckAt: sql`now()` })
    .where(and(eq(invoices.paymentHash, paymentHash), inArray(invoices.state, ['open', 'expired'])));

/**
 * Reads what the wallet has received, at the start and now and then, and applies it: what was paid while nobody looked, and
 * what came after the last look.
 */
export const invoiceSweeper = (deps: WatchDeps): Worker => ({
  name: 'invoice-sweep',
  everyMs: SWEEP_EVERY_MS,
  runOnce: async () => {
    const { db, lightning } = deps;
    const since = lightning && (await oldestUnpaid(db));
    if (!lightning || !since) return { more: false };
    for (let page = 0; page < MAX_PAGES; page += 1) {
      const answer = await lightning.list(since, page * 20);
      if (answer.outcome !== 'ok') return { more: false };
      await failpoint('payments.invoice.after_list');
      const settled = answer.value.payments.filter(({ isSettled }) => isSettled);
      for (const { invoice, seen } of await unpaidOf(db, settled)) {
        await apply({ ...deps, lightning }, invoice, seen, 'reconciler');
      }
      if (!answer.value.hasMore) break;
    }
    return { more: false };
  },
});

const isUnpaid = or(
  eq(invoices.state, 'open'),
  and(eq(invoices.state, 'expired'), gte(invoices.expiresAt, sql`now() - make_interval(secs => ${SWEEP_BACK_S})`)),
);

async function oldestUnpaid(db: Db): Promise<Date | null> {
  const [oldest] = await db
    .select({ at: invoices.createdAt })
    .from(invoices)
    .where(isUnpaid)
    .orderBy(invoices.createdAt)
    .limit(1);
  return oldest?.at ?? null;
}

async function unpaidOf(db: Db, settled: Seen[]): Promise<{ invoice: Invoice; seen: Seen }[]> {
  if (settled.length === 0) return [];
  const hashes = settled.map(({ paymentHash }) => paymentHash);
  const found = await db
    .select()
    .from(invoices)
    .where(and(isUnpaid, inArray(invoices.paymentHash, hashes)));
  return found.flatMap((invoice) => {
    const seen = settled.find(({ paymentHash }) => paymentHash === invoice.paymentHash);
    return seen ? [{ invoice, seen }] : [];
  });
}
