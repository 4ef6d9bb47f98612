import { createHash, randomBytes } from 'node:crypto';
import { bech32 } from '@scure/base';
import { type Event, finalizeEvent, getPublicKey, verifyEvent } from 'nostr-tools/pure';
import { publish } from '../nostr/publish.ts';
import { type Minted, mintInvoice } from './mint.ts';

/** A Lightning address that can be zapped (NIP-57, Appendix D): invoices that commit to the zap request, and receipts once they are paid. */

export interface ProviderOptions {
  /** Where receipts go, beside where the zap request wants them. */
  relayUrl: string;
  secret?: string;
}

export interface ZapProvider {
  /** For ZAP_PROVIDERS. */
  publicKey: string;
  /** What the callback answers: an invoice, or why there is none. */
  invoice(query: URLSearchParams): { pr: string; routes: [] } | { status: 'ERROR'; reason: string };
  /** Somebody pays an invoice of this provider; false when it is none of its, or was paid. */
  pay(invoice: string): Promise<boolean>;
  /** What it has published, the oldest first. */
  receipts(): Event[];
}

interface Waiting extends Minted {
  request: string;
  isPaid: boolean;
}

const MAX_RELAYS = 5;

export function createZapProvider({
  relayUrl,
  secret = randomBytes(32).toString('hex'),
}: ProviderOptions): ZapProvider {
  const key = Uint8Array.fromHex(secret);
  const waiting = new Map<string, Waiting>();
  const published: Event[] = [];
  return {
    publicKey: getPublicKey(key),
    invoice: (query) => {
      const [amount, request] = [query.get('amount') ?? '', query.get('nostr') ?? ''];
      const reason = faultIn(amount, request);
      if (reason) return { status: 'ERROR', reason };
      const descriptionHash = createHash('sha256').update(request).digest('hex');
      const minted = mintInvoice({ amountMsat: BigInt(amount), descriptionHash, expiryS: 3_600 });
      waiting.set(minted.invoice, { ...minted, request, isPaid: false });
      return { pr: minted.invoice, routes: [] };
    },
    pay: async (invoice) => {
      const found = waiting.get(invoice.toLowerCase().replace(/^lightning:/, ''));
      if (!found || found.isPaid) return false;
      found.isPaid = true;
      const receipt = receiptOf(found, key);
      published.push(receipt);
      await Promise.all(relaysOf(found.request, relayUrl).map((url) => publish(url, receipt)));
      return true;
    },
    receipts: () => [...published],
  };
}

/** What is wrong with a request for an invoice; a plain payment without a zap is not taken here. */
function faultIn(amount: string, text: string): string | undefined {
  if (!/^[1-9]\d{2,12}$/.test(amount)) return 'amount must be millisatoshi';
  const request = eventIn(text);
  if (request?.kind !== 9734 || !verifyEvent(request)) return 'nostr must be a signed zap request';
  const values = (name: string) => request.tags.filter(([key]) => key === name).map(([, value]) => value);
  if (values('p').length !== 1 || values('e').length > 1)
    return 'the zap request must name one recipient, and one event at most';
  const [told] = values('amount');
  return told === undefined || told === amount ? undefined : 'the amounts differ';
}

function eventIn(text: string): Event | undefined {
  try {
    return JSON.parse(text) as Event;
  } catch {
    return undefined;
  }
}

function receiptOf({ request, invoice, preimage }: Waiting, key: Uint8Array): Event {
  const { tags, pubkey } = JSON.parse(request) as Event;
  const passedOn = tags.filter(([name]) => name === 'p' || name === 'e' || name === 'a');
  const own = [
    ['P', pubkey],
    ['bolt11', invoice],
    ['description', request],
    ['preimage', preimage],
  ];
  const template = { kind: 9735, created_at: Math.floor(Date.now() / 1000), content: '', tags: [...passedOn, ...own] };
  return finalizeEvent(template, key);
}

const relaysOf = (request: string, own: string): string[] => {
  const wanted = (JSON.parse(request) as Event).tags.find(([name]) => name === 'relays')?.slice(1) ?? [];
  const onLoopback = wanted.filter((url) => /^ws:\/\/127\.0\.0\.1:\d+\/?$/.test(url));
  return [...new Set([own, ...onLoopback])].slice(0, MAX_RELAYS);
};

/** LUD-06 in the spelling of LUD-01. */
export const lnurlOf = (url: string): string =>
  bech32.encode('lnurl', bech32.toWords(new TextEncoder().encode(url)), false);

/** And back. */
export const urlOf = (lnurl: string): string => new TextDecoder().decode(bech32.decodeToBytes(lnurl).bytes);
