import { and, eq, inArray, sql } from 'drizzle-orm';
import {
  countDifferences,
  differ,
  isDealtWith,
  isPaymentCounted,
  matchReceipt,
  type ReceiptCode,
  readReceipt,
  settle,
  settleDifferences,
  type ZapPayment,
} from '../../payments/index.ts';
import type { Db, Tx } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import type { NostrEvent } from '../../platform/nostr/event.ts';
import { msatPerCredit } from '../asks/policy.ts';
import { purposeOf } from '../asks/settle.ts';
import { asks } from '../asks/tables.ts';
import { runs } from '../tables.ts';
import type { DvmDeps } from './deps.ts';
import { jobs, words } from './tables.ts';

/**
 * Zap receipts (NIP-57) that pay asks. What is believed of one is decided by the rules of payments; here is what it was
 * for. Money that came and fits nothing is never dropped: a person gets to see it.
 */

export interface ReceiptOutcome {
  verdict: 'settled' | 'known' | 'quarantined' | 'refused';
  code: ReceiptCode | 'unmatched' | 'above_limit' | 'too_small' | null;
  payment: ZapPayment | null;
}

export type ReceiptDeps = Pick<DvmDeps, 'db' | 'rules' | 'maxZapMsat' | 'metrics'>;

/** Takes a receipt; the same one again, or another one for the same payment, changes nothing. */
export async function takeReceipt(deps: ReceiptDeps, receipt: NostrEvent): Promise<ReceiptOutcome> {
  const outcome = await judge(deps, receipt);
  deps.metrics.nostrEvents.inc({ what: `receipt_${outcome.verdict}` });
  return outcome;
}

async function judge(deps: ReceiptDeps, receipt: NostrEvent): Promise<ReceiptOutcome> {
  const { db, rules, maxZapMsat } = deps;
  const read = readReceipt(receipt, rules, new Date());
  if (read.verdict === 'refused') return { verdict: 'refused', code: read.code, payment: null };
  if (read.payment === null) return quarantine(db, receipt, read.code, null);
  const { payment } = read;
  if (await isPaymentCounted(db, payment.paymentHash)) return { verdict: 'known', code: 'replayed_payment', payment };
  const zapped = await whatWasZapped(db, payment.eventId);
  if (!zapped)
    return read.verdict === 'sound'
      ? quarantine(db, receipt, 'unmatched', payment)
      : { verdict: 'refused', code: 'request_for_other_event', payment };
  const match = matchReceipt(read, { amountMsat: zapped.amountMsat, issuedAt: zapped.issuedAt, payer: null }, false);
  if (match.verdict === 'refused') return { verdict: 'refused', code: match.code, payment };
  if (match.verdict === 'quarantined') return quarantine(db, receipt, match.code, payment);
  if (payment.amountMsat > maxZapMsat) return quarantine(db, receipt, 'above_limit', payment);
  const credits = payment.amountMsat / zapped.perCredit;
  if (credits === 0n) return quarantine(db, receipt, 'too_small', payment);
  const isNew = await db.transaction(async (tx) => {
    await lockPayment(tx, payment.paymentHash);
    if (await isDealtWith(tx, KIND, [payment.paymentHash, receipt.id])) return false;
    return book(tx, zapped, payment, receipt, credits);
  });
  return { verdict: isNew ? 'settled' : 'known', code: null, payment };
}

async function book(
  tx: Tx,
  zapped: Zapped,
  payment: ZapPayment,
  receipt: NostrEvent,
  credits: bigint,
): Promise<boolean> {
  const arrival = await settle(tx, {
    ...{
      rail: 'lightning',
      key: payment.paymentHash,
      accountId: zapped.accountId,
      credits,
      purpose: purposeOf({ id: zapped.askId }),
    },
    evidence: {
      receipt_id: receipt.id,
      amount_msat: String(payment.amountMsat),
      payer: payment.payer,
      preimage: payment.preimage,
    },
  });
  await settleDifferences(tx, KIND, [payment.paymentHash, receipt.id]);
  await failpoint('workflows.nostr.before_zap_commit');
  return arrival !== undefined;
}

const KIND = 'zap_receipt';
const MAX_BY_STRANGERS = 200; // of what is open at a time: a person looks at each

/**
 * One at a time about one payment. What was for nothing may be for something when its receipt is told again: it is booked, or
 * waits for a person, and never both; and what a person has dealt with is not booked by itself.
 */
const lockPayment = (tx: Tx, paymentHash: string) =>
  tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${`${KIND} ${paymentHash}`}, 0))`);

async function quarantine(
  db: Db,
  receipt: NostrEvent,
  code: NonNullable<ReceiptOutcome['code']>,
  payment: ZapPayment | null,
): Promise<ReceiptOutcome> {
  const detail = {
    code,
    ...(payment ? { payment_hash: payment.paymentHash, amount_msat: String(payment.amountMsat) } : {}),
    ...(payment ? { event_id: payment.eventId, payer: payment.payer } : {}),
  };
  // Of a payment only its provider tells: what a stranger has made up about it stands beside it, and not in its place.
  const reference = payment && code !== 'signer_not_provider' ? payment.paymentHash : receipt.id;
  const isKnown = await db.transaction(async (tx) => {
    await lockPayment(tx, payment?.paymentHash ?? receipt.id);
    if (await isDealtWith(tx, KIND, [reference, receipt.id])) return true;
    if (payment && (await isPaymentCounted(tx, payment.paymentHash))) return true;
    // Whoever makes receipts of their own for money that nobody has paid fills the work list, and not the disk; what a
    // provider tells was paid, and is written down however full it is.
    const isStrangers = code === 'signer_not_provider';
    if (!isStrangers || (await countDifferences(tx, KIND)) < MAX_BY_STRANGERS)
      await differ(tx, KIND, reference, null, detail);
    return false;
  });
  if (isKnown) return { verdict: 'known', code: null, payment };
  return { verdict: 'quarantined', code, payment };
}

interface Zapped {
  askId: string;
  accountId: string;
  amountMsat: bigint;
  issuedAt: Date;
  perCredit: bigint;
}

/** The event that asked, or the request itself where its run asks for one thing: customers zap either (NIP-90 leaves it open). */
async function whatWasZapped(db: Db, eventId: string): Promise<Zapped | undefined> {
  const [asked] = await db.select().from(words).where(eq(words.id, eventId));
  if (asked?.askId && asked.amountMsat !== null) return zappedOf(db, asked.askId, asked.amountMsat, asked.createdAt);
  const [job] = await db.select().from(jobs).where(eq(jobs.id, eventId));
  if (!job) return undefined;
  const [last] = await db
    .select({ word: words })
    .from(words)
    .innerJoin(asks, and(eq(asks.id, words.askId), inArray(asks.state, ['open', 'part_paid', 'written_off'])))
    .where(eq(words.jobId, job.id))
    .orderBy(sql`${words.seq} desc`)
    .limit(1);
  if (!last?.word.askId || last.word.amountMsat === null) return undefined;
  return zappedOf(db, last.word.askId, last.word.amountMsat, last.word.createdAt);
}

async function zappedOf(db: Db, askId: string, amountMsat: bigint, issuedAt: Date): Promise<Zapped | undefined> {
  const [row] = await db
    .select({ accountId: asks.accountId, quote: runs.quote })
    .from(asks)
    .innerJoin(runs, and(eq(runs.accountId, asks.accountId), eq(runs.id, asks.runId)))
    .where(eq(asks.id, askId));
  const perCredit = row?.quote ? msatPerCredit(row.quote) : null;
  return row && perCredit !== null ? { askId, accountId: row.accountId, amountMsat, issuedAt, perCredit } : undefined;
}
