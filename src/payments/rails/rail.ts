/**
 * What every way to move money offers: `start` asks it to begin, `check` reads back what became of it. A rail never
 * sees a transaction and never writes; what it answers is for the caller to write down.
 */

/**
 * `ok`: the provider answered; the value says what (a declined card is an answer: a failed charge).
 * `rejected`: it refused, and nothing exists there.
 * `unavailable`: certainly nothing was done, and it may be asked again.
 * `unknown`: it may have been done. To be found out by looking, never by doing it again.
 */
export type Outcome<T> =
  | { outcome: 'ok'; value: T }
  | { outcome: 'rejected'; code: string; message: string }
  | { outcome: 'unavailable'; reason: string }
  | { outcome: 'unknown'; reason: string };

/** Reason of an `unknown` outcome: there was an answer, but not one that can be relied on. */
export const UNREADABLE = 'unreadable_reply';

/** A provider's charge, as far as it matters here. Amounts are minor units. */
export interface Charge {
  id: string;
  status: 'pending' | 'successful' | 'failed' | 'expired' | 'reversed';
  paid: boolean;
  reversed: boolean;
  voided: boolean;
  livemode: boolean;
  amount: bigint;
  /** Absent on charges that are captured whole. */
  capturedAmount: bigint | null;
  refundedAmount: bigint;
  /** ISO 4217, upper case. */
  currency: string;
  hasOpenDispute: boolean;
  /** The provider lets money go back by `refund`. */
  refundable: boolean;
  /** Each refund and void that the charge shows. */
  refunds: ProviderRefund[];
  dispute: { id: string; status: string; amount: bigint } | null;
  /** Ours, from the metadata; `null` on charges that others made. */
  attemptId: string | null;
  authorizeUri: string | null;
  qrUri: string | null;
  failureCode: string | null;
  failureMessage: string | null;
  expiresAt: Date | null;
  createdAt: Date;
}

export interface ProviderRefund {
  id: string;
  amount: bigint;
  voided: boolean;
  /** Ours, from the metadata; `null` on those that others made. */
  refundId: string | null;
}

export interface RefundOrder {
  /** Goes into the metadata, where a refund whose answer was lost is found again. */
  refundId: string;
  chargeId: string;
  amount: bigint;
}

/** An order to make a charge. */
export interface ChargeOrder {
  /** Goes into the metadata, where an attempt whose answer was lost is found again. */
  attemptId: string;
  purchaseId: string;
  amount: bigint;
  currency: string;
  description: string;
  method: ChargeMethod;
  /** Where the payer's browser comes back to; for methods that lead away. */
  returnUri: string;
}

export type ChargeMethod =
  | { type: 'promptpay' }
  | { type: 'card'; token: string }
  | { type: 'truemoney'; phoneNumber: string }
  | { type: `mobile_banking_${string}` };

/** A charge that is there, but not in a form that can be relied on. */
export interface Unreadable {
  id: string;
  attemptId: string | null;
}

export interface Change {
  eventId: string;
  chargeId: string | null;
}

export interface ChargePage {
  charges: Charge[];
  unreadable: Unreadable[];
  hasMore: boolean;
}

/** What the account at the provider can do. */
export interface Capability {
  livemode: boolean;
  currency: string;
  apiVersion: string;
  webhookUri: string | null;
  minAmount: bigint;
  maxAmount: bigint;
  /** Method types, in the provider's words. */
  methods: Set<string>;
}

export interface Rail {
  /** The charge that is answered carries the attempt's id; everything else is `unknown`. */
  start(order: ChargeOrder): Promise<Outcome<Charge>>;
  check(chargeId: string): Promise<Outcome<Charge>>;
  /** Charges made since then, oldest first, so that new ones do not shift the pages; `offset` pages on. */
  list(since: Date, offset: number): Promise<Outcome<ChargePage>>;
  /** What happened since then, oldest first, with the charge that it happened to. */
  changedSince(since: Date, offset: number): Promise<Outcome<{ changes: Change[]; hasMore: boolean }>>;
  /** Ends an unpaid charge; the answer is the charge as it is then, which may be paid. */
  expire(chargeId: string): Promise<Outcome<Charge>>;
  /** Gives money of a charge back, or voids it. The refund that is answered carries our id; everything else is `unknown`. */
  refund(order: RefundOrder): Promise<Outcome<ProviderRefund>>;
  capability(): Promise<Outcome<Capability>>;
  /** The QR image of a charge; `rejected` when it is none, too large, or not where the provider lives. */
  image(uri: string): Promise<Outcome<{ type: string; bytes: Buffer }>>;
  close(): void;
}
