import { createHash, randomBytes } from 'node:crypto';
import { type Mint, mintInvoice } from '../../sandbox/lightning/mint.ts';
import {
  type Asked,
  matchReceipt,
  type ReceiptRules,
  readReceipt,
} from '../../src/payments/rails/lightning/zap-receipt.ts';
import { type EventTemplate, type NostrEvent, publicKeyOf, signEvent } from '../../src/platform/nostr/event.ts';

/** Zap receipts as providers make them, and as they should not. */

export interface Keys {
  secret: Uint8Array;
  public: string;
}
function newKeys(): Keys {
  const secret = new Uint8Array(randomBytes(32));
  return { secret, public: publicKeyOf(secret) };
}

export const [provider, us, customer, stranger] = [newKeys(), newKeys(), newKeys(), newKeys()];
export const ASK = 'a5'.repeat(32);
const NOW = new Date('2026-06-01T12:00:00Z');
const at = (minutes: number) => Math.floor(NOW.getTime() / 1000) + minutes * 60;

export const rules: ReceiptRules = {
  providers: [{ key: provider.public, from: null, until: null }],
  recipient: us.public,
  networks: new Set(['bcrt']),
  descriptionHash: 'strict',
  lnurl: null,
};
export const asked: Asked = { amountMsat: 21_000n, issuedAt: new Date(NOW.getTime() - 300_000), payer: null };

/** What is changed of a good zap, at its place on the way from the payer to us. */
export interface ZapChange {
  request?: (template: EventTemplate) => EventTemplate;
  /** After signing. */
  requestEvent?: (event: NostrEvent) => NostrEvent;
  requestKey?: Keys;
  /** In place of the JSON of the request. */
  description?: string;
  invoice?: Partial<Mint>;
  bolt11?: (invoice: string) => string;
  receipt?: (template: EventTemplate) => EventTemplate;
  receiptEvent?: (event: NostrEvent) => NostrEvent;
  receiptKey?: Keys;
}

/** A zap of what is asked, one minute ago. */
export function zap(change: ZapChange = {}): NostrEvent {
  const payer = change.requestKey ?? customer;
  const template: EventTemplate = {
    ...{ kind: 9734, created_at: at(-2), content: '' },
    tags: [
      ['relays', 'wss://relay.example.com'],
      ['amount', '21000'],
      ['p', us.public],
      ['e', ASK],
    ],
  };
  const signed = signEvent(change.request?.(template) ?? template, payer.secret);
  const description = change.description ?? JSON.stringify(change.requestEvent?.(signed) ?? signed);
  const descriptionHash = createHash('sha256').update(description).digest('hex');
  const minted = mintInvoice({
    ...{ amountMsat: 21_000n, descriptionHash, createdAt: new Date(at(-2) * 1000) },
    ...change.invoice,
  });
  const receipt: EventTemplate = {
    ...{ kind: 9735, created_at: at(-1), content: '' },
    tags: [
      ['p', us.public],
      ['e', ASK],
      ['P', payer.public],
      ['bolt11', change.bolt11?.(minted.invoice) ?? minted.invoice],
      ['description', description],
      ['preimage', minted.preimage],
    ],
  };
  const event = signEvent(change.receipt?.(receipt) ?? receipt, (change.receiptKey ?? provider).secret);
  return change.receiptEvent?.(event) ?? event;
}

/** Tags of a template: changed, left out, or more of them. */
const withTags =
  (change: (tags: string[][]) => string[][]) =>
  <T extends Pick<EventTemplate, 'tags'>>(one: T): T => ({ ...one, tags: change(one.tags) });
export const without = (name: string) => withTags((tags) => tags.filter(([key]) => key !== name));
export const plus = (...more: string[][]) => withTags((tags) => [...tags, ...more]);
export const replacing = (name: string, value: string) =>
  withTags((tags) => tags.map((tag) => (tag[0] === name ? [name, value] : tag)));

/** All rules at once. */
export function judge(
  receipt: unknown,
  { ask = asked, counted = false, under = rules }: { ask?: Asked | null; counted?: boolean; under?: ReceiptRules } = {},
) {
  return matchReceipt(readReceipt(receipt, under, NOW), ask ?? undefined, counted);
}

export { at };
