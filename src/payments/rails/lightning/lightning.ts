import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Log } from '../../../platform/log.ts';
import type { WalletConnection } from '../../../platform/nostr/settings.ts';
import { type Outcome, UNREADABLE } from '../rail.ts';
import { type Network, readInvoice } from './invoice.ts';
import { createNwc } from './nwc.ts';

/** Invoices of a wallet that is asked by NWC. It is trusted for what was paid, and for nothing that can be checked. */
export interface LightningRail {
  /** Never twice the same: one that was not answered is given up, for nobody has seen it. */
  makeInvoice(order: InvoiceOrder): Promise<Outcome<NewInvoice>>;
  /** What became of an invoice; `rejected` with `NOT_FOUND` when the wallet knows none. */
  look(paymentHash: string): Promise<Outcome<Seen>>;
  /** What was received since then, the newest first; `offset` pages on. */
  list(since: Date, offset: number): Promise<Outcome<{ payments: Seen[]; hasMore: boolean }>>;
  close(): void;
}

export interface InvoiceOrder {
  amountMsat: bigint;
  /** Shown by the payer's wallet. */
  description: string;
  expiryS: number;
}

export interface NewInvoice {
  bolt11: string;
  paymentHash: string;
  expiresAt: Date;
}

export interface Seen {
  paymentHash: string;
  /** What the wallet says that it has, or is to get. */
  amountMsat: bigint;
  isSettled: boolean;
}

export interface LightningOptions {
  connection: WalletConnection;
  networks: ReadonlySet<Network>;
  deadlineMs: number;
  log: Log;
  onCall(method: string, outcome: string): void;
  onReceived(paymentHash: string): void;
}

const PAGE = 20; // wallets give no more at once (NIP-47, list_transactions)
const MAX_DESCRIPTION = 500;
const SKEW_S = 120; // between our clock and the wallet's, which says when an invoice was made

const hash = z.string().regex(/^[0-9a-f]{64}$/);
const msat = z.int().min(0).transform(BigInt);
const seconds = z.int().min(0).nullish();
const Made = z.looseObject({ invoice: z.string(), payment_hash: hash.nullish() });
const Transaction = z
  .looseObject({
    type: z.literal('incoming').nullish(),
    state: z.string().nullish(),
    payment_hash: hash,
    amount: msat,
    preimage: z.string().nullish(),
    settled_at: seconds,
  })
  .transform(({ payment_hash: paymentHash, amount: amountMsat, state, settled_at, preimage }) => ({
    // Not all wallets tell the state; a preimage alone says nothing, for the payee knows it from the beginning.
    ...{ paymentHash, amountMsat, isSettled: state ? state === 'settled' : Boolean(settled_at) },
    preimage: preimage ?? '',
  }))
  .refine(({ isSettled, preimage, paymentHash }) => !isSettled || !isHex32(preimage) || hashes(preimage, paymentHash))
  .transform(({ preimage: _, ...seen }): Seen => seen);
const List = z.looseObject({ transactions: z.array(z.looseObject({})).max(1_000) });

const isHex32 = (text: string) => /^[0-9a-f]{64}$/.test(text);
const hashes = (preimage: string, paymentHash: string) =>
  createHash('sha256').update(Buffer.from(preimage, 'hex')).digest('hex') === paymentHash;

export function createLightningRail({ networks, ...options }: LightningOptions): LightningRail {
  const wallet = createNwc(options);
  return {
    makeInvoice: async ({ amountMsat, description, expiryS }) => {
      const params = {
        amount: Number(amountMsat),
        description: description.slice(0, MAX_DESCRIPTION),
        expiry: expiryS,
      };
      const made = await wallet.ask('make_invoice', params, Made);
      return made.outcome === 'ok' ? check(made.value, amountMsat, networks) : made;
    },
    look: async (paymentHash) => {
      const seen = await wallet.ask('lookup_invoice', { payment_hash: paymentHash }, Transaction);
      if (seen.outcome !== 'ok' || seen.value.paymentHash === paymentHash) return seen;
      return { outcome: 'unknown', reason: UNREADABLE };
    },
    list: async (since, offset) => {
      const from = Math.floor(since.getTime() / 1000) - SKEW_S;
      const params = { from, limit: PAGE, offset, unpaid: false, type: 'incoming' };
      const listed = await wallet.ask('list_transactions', params, List);
      if (listed.outcome !== 'ok') return listed;
      const { transactions } = listed.value;
      const payments = transactions.flatMap((one) => Transaction.safeParse(one).data ?? []);
      return { outcome: 'ok', value: { payments, hasMore: transactions.length >= PAGE } };
    },
    close: wallet.close,
  };
}

/** Whatever the wallet says beside it: what the payer's wallet will do, the invoice alone decides. */
function check(
  { invoice: bolt11, payment_hash: told }: z.infer<typeof Made>,
  amountMsat: bigint,
  networks: ReadonlySet<Network>,
): Outcome<NewInvoice> {
  const invoice = readInvoice(bolt11);
  const refuse = (reason: string): Outcome<NewInvoice> => ({ outcome: 'unknown', reason });
  if ('unreadable' in invoice) return refuse(UNREADABLE);
  if (!networks.has(invoice.network)) return refuse('wrong_network');
  if (invoice.amountMsat !== amountMsat) return refuse('amount_differs');
  if (told && told !== invoice.paymentHash) return refuse('payment_hash_differs');
  if (invoice.expiresAt.getTime() <= Date.now()) return refuse('expired');
  const { paymentHash, expiresAt } = invoice;
  return { outcome: 'ok', value: { bolt11: bolt11.toLowerCase(), paymentHash, expiresAt } };
}
