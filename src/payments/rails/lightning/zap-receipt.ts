import { createHash } from 'node:crypto';
import { bech32 } from '@scure/base';
import { isGenuine, isHex32, type NostrEvent, readEvent, tagValues } from '../../../platform/nostr/event.ts';
import { type Invoice, type Network, readInvoice } from './invoice.ts';
import { QUARANTINED, type ReceiptCode } from './receipt-codes.ts';

/**
 * Zap receipts (NIP-57, kind 9735). A receipt is what a provider says of a payment, and no proof of one: it is worth as
 * much as the provider's key. Everything here is pure; rules are numbered as in docs/lightning.md.
 */

/** A key that is believed, for receipts made within its time. */
export interface Provider {
  key: string;
  from: Date | null;
  until: Date | null;
}

export interface ReceiptRules {
  providers: readonly Provider[];
  /** Our public key; `null`: nobody can zap us. */
  recipient: string | null;
  networks: ReadonlySet<Network>;
  /** Must the invoice commit to the zap request? Some honest providers make it commit to nothing. */
  descriptionHash: 'strict' | 'bound_if_present' | 'off';
  /** Our own LNURL, in bech32; `null`: not compared. */
  lnurl: string | null;
}

/** What is asked to be paid. */
export interface Asked {
  amountMsat: bigint;
  issuedAt: Date;
  /** The only key that may pay; `null`: anybody may. */
  payer: string | null;
}

/** What a receipt says of a payment. The hash says "once" about money on every rail. */
export interface ZapPayment {
  paymentHash: string;
  /** From the invoice, and from nowhere else. */
  amountMsat: bigint;
  /** The event that was zapped. */
  eventId: string;
  /** Who signed the zap request. */
  payer: string;
  paidAt: Date;
  invoicedAt: Date;
  /** Evidence and no more: `unrelated` is what some providers put there for payments inside their house. */
  preimage: 'hashes' | 'unrelated' | 'absent';
}

/** `quarantined`: everything else about it is right, so that a person looks; see `QUARANTINED`. */
export type ReceiptVerdict = { verdict: 'sound'; payment: ZapPayment } | Quarantined | Refused;
type Quarantined = { verdict: 'quarantined'; code: ReceiptCode } & (
  | { payment: ZapPayment }
  /** The invoice itself cannot be read. */
  | { payment: null }
);
interface Refused {
  verdict: 'refused';
  code: ReceiptCode;
}

const RECEIPT = 9735;
const ZAP_REQUEST = 9734;
const MAX_RECEIPT = 65_536; // characters of its JSON
const MAX_DESCRIPTION = 16_384;
const SKEW_MS = 120_000; // between our clock, the provider's and the relay's

class Refusal extends Error {
  readonly code: ReceiptCode;
  constructor(code: ReceiptCode) {
    super(code);
    this.code = code;
  }
}

/** Throws for what makes a receipt worthless, and collects what only makes it doubtful. */
type Doubt = (code: ReceiptCode) => void;
const refuseUnless = (condition: boolean, code: ReceiptCode): void => {
  if (!condition) throw new Refusal(code);
};

/** Rules 1 to 6, 8 to 13 and 16: whatever can be said of a receipt by itself. */
export function readReceipt(value: unknown, rules: ReceiptRules, now: Date): ReceiptVerdict {
  const doubts: ReceiptCode[] = [];
  try {
    const payment = read(value, rules, now, (code) => doubts.push(code));
    const [code] = doubts;
    return code === undefined ? { verdict: 'sound', payment } : { verdict: 'quarantined', code, payment };
  } catch (refusal) {
    if (!(refusal instanceof Refusal)) throw refusal;
    const { code } = refusal;
    if (!QUARANTINED.has(code)) return { verdict: 'refused', code };
    return { verdict: 'quarantined', code: doubts[0] ?? code, payment: null };
  }
}

function read(value: unknown, rules: ReceiptRules, now: Date, doubt: Doubt): ZapPayment {
  const receipt = readEvent(value);
  if (!receipt || JSON.stringify(receipt).length > MAX_RECEIPT) throw new Refusal('malformed');
  refuseUnless(receipt.kind === RECEIPT, 'wrong_kind');
  if (!isBelieved(receipt, rules.providers)) doubt('signer_not_provider');
  const { recipient, description, bolt11, zapped, payer, preimage, amount } = readTags(receipt);
  refuseUnless(recipient === rules.recipient, 'wrong_recipient');
  const request = readRequest(description);
  refuseUnless(onlyOne(request, 'p', 'request_wrong_recipient') === rules.recipient, 'request_wrong_recipient');
  const eventId = onlyOne(request, 'e', 'request_e_count');
  refuseUnless(isHex32(eventId), 'request_e_count');
  refuseUnless(zapped === undefined || zapped === eventId, 'receipt_e_differs');
  refuseUnless(payer === undefined || payer === request.pubkey, 'payer_mismatch');
  checkLnurl(atMostOne(request, 'lnurl', 'other_lnurl'), rules.lnurl);
  const invoice = readPaid(bolt11, rules.networks);
  if (!invoice) {
    requireGenuine(receipt, request); // what is set aside is right in all else
    throw new Refusal('bad_invoice');
  }
  checkAmounts(invoice, [amount, atMostOne(request, 'amount', 'amount_differs')]);
  if (!commitsTo(invoice, description, rules.descriptionHash)) doubt('description_hash_mismatch');
  if (receipt.created_at * 1000 > now.getTime() + SKEW_MS) doubt('future');
  requireGenuine(receipt, request);
  return {
    ...{ paymentHash: invoice.paymentHash, amountMsat: invoice.amountMsat, eventId, payer: request.pubkey },
    ...{ paidAt: new Date(receipt.created_at * 1000), invoicedAt: invoice.createdAt },
    preimage: evidenceOf(preimage, invoice.paymentHash),
  };
}

function requireGenuine(receipt: NostrEvent, request: NostrEvent): void {
  refuseUnless(isGenuine(receipt), 'bad_signature');
  refuseUnless(isGenuine(request), 'bad_request_signature');
}

const isBelieved = ({ pubkey, created_at }: NostrEvent, providers: readonly Provider[]): boolean =>
  providers.some(
    ({ key, from, until }) =>
      key === pubkey &&
      (from === null || created_at * 1000 >= from.getTime()) &&
      (until === null || created_at * 1000 <= until.getTime()),
  );

/** Twice is read differently by different readers, so it is read by none. */
function atMostOne(event: NostrEvent, name: string, code: ReceiptCode): string | undefined {
  const values = tagValues(event, name);
  refuseUnless(values.length <= 1, code);
  return values[0];
}

function onlyOne(event: NostrEvent, name: string, code: ReceiptCode): string {
  const value = atMostOne(event, name, code);
  if (value === undefined) throw new Refusal(code);
  return value;
}

const readTags = (receipt: NostrEvent) => ({
  recipient: onlyOne(receipt, 'p', 'tag_count'),
  bolt11: onlyOne(receipt, 'bolt11', 'tag_count'),
  description: onlyOne(receipt, 'description', 'tag_count'),
  zapped: atMostOne(receipt, 'e', 'tag_count'),
  payer: atMostOne(receipt, 'P', 'tag_count'),
  preimage: atMostOne(receipt, 'preimage', 'tag_count'),
  amount: atMostOne(receipt, 'amount', 'tag_count'),
});

/** The zap request, byte for byte as the payer has signed it. */
function readRequest(description: string): NostrEvent {
  if (description.length > MAX_DESCRIPTION) throw new Refusal('bad_description');
  const request = readEvent(jsonOf(description));
  if (!request) throw new Refusal('bad_description');
  refuseUnless(request.kind === ZAP_REQUEST, 'not_a_zap_request');
  return request;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** `undefined`: it cannot be read. */
function readPaid(bolt11: string, networks: ReadonlySet<Network>): (Invoice & { amountMsat: bigint }) | undefined {
  const invoice = readInvoice(bolt11);
  if ('unreadable' in invoice) return undefined;
  refuseUnless(networks.has(invoice.network), 'wrong_network');
  const { amountMsat } = invoice;
  if (amountMsat === null) throw new Refusal('amountless_invoice');
  return { ...invoice, amountMsat };
}

function checkAmounts({ amountMsat }: { amountMsat: bigint }, told: (string | undefined)[]): void {
  for (const one of told) refuseUnless(one === undefined || one === amountMsat.toString(), 'amount_differs');
}

/** Clients put all sorts of things there; only what is an LNURL can be another one than ours. */
function checkLnurl(told: string | undefined, ours: string | null): void {
  if (told === undefined || ours === null || !isLnurl(told)) return;
  refuseUnless(told.toLowerCase() === ours.toLowerCase(), 'other_lnurl');
}

function isLnurl(text: string): boolean {
  const decoded = bech32.decodeUnsafe(text, false);
  return decoded?.prefix === 'lnurl';
}

function commitsTo(
  { descriptionHash }: Invoice,
  description: string,
  policy: ReceiptRules['descriptionHash'],
): boolean {
  if (policy === 'off' || (policy === 'bound_if_present' && descriptionHash === null)) return true;
  return descriptionHash === createHash('sha256').update(description).digest('hex');
}

function evidenceOf(preimage: string | undefined, paymentHash: string): ZapPayment['preimage'] {
  if (preimage === undefined || preimage === '') return 'absent';
  if (!isHex32(preimage)) return 'unrelated';
  const hash = createHash('sha256').update(Buffer.from(preimage, 'hex')).digest('hex');
  return hash === paymentHash ? 'hashes' : 'unrelated';
}

/** What a receipt comes to for what was asked. `underpaid` is a payment, too: what is done about it is the asker's policy. */
export type Match = { verdict: 'paid' | 'overpaid' | 'underpaid'; payment: ZapPayment } | Quarantined | Refused;

/**
 * Rules 7 and 13 to 15: a receipt that was read, against what its event asks for. `asked`: what `payment.eventId` asks;
 * `undefined` when it asks nothing here, or not of this account. `isCounted`: the payment hash was booked, on any rail.
 */
export function matchReceipt(read: ReceiptVerdict, asked: Asked | undefined, isCounted: boolean): Match {
  if (read.verdict === 'refused') return read;
  if (read.payment === null) return read;
  const { payment } = read;
  if (!asked) return { verdict: 'refused', code: 'request_for_other_event' };
  if (asked.payer !== null && asked.payer !== payment.payer) return { verdict: 'refused', code: 'other_payer' };
  if (isCounted) return { verdict: 'refused', code: 'replayed_payment' };
  if (read.verdict === 'quarantined') return { ...read, payment };
  const earliest = asked.issuedAt.getTime() - SKEW_MS;
  const isOld = payment.paidAt.getTime() < earliest || payment.invoicedAt.getTime() < earliest;
  if (isOld) return { verdict: 'quarantined', code: 'too_old', payment };
  const { amountMsat } = payment;
  const verdict = amountMsat === asked.amountMsat ? 'paid' : amountMsat > asked.amountMsat ? 'overpaid' : 'underpaid';
  return { verdict, payment };
}
