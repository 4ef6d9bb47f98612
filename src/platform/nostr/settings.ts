import { decode } from 'nostr-tools/nip19';
import { z } from 'zod';
import { list } from '../setting-shapes.ts';
import { isHex32, publicKeyOf } from './event.ts';

/** How settings that have to do with Nostr are written. Values are never told: most of them are secrets. */

/** A secret key, as hex or `nsec1…` (NIP-19). */
export const secretKey = z
  .string()
  .transform(keyOf)
  .refine((key) => key !== undefined && isKey(key), 'must be a secret key of Nostr: nsec1… or 64 hex digits')
  .transform((key) => key as Uint8Array);

function keyOf(text: string): Uint8Array | undefined {
  if (isHex32(text)) return Uint8Array.fromHex(text);
  try {
    const { type, data } = decode(text as `nsec1${string}`);
    return type === 'nsec' ? data : undefined;
  } catch {
    return undefined;
  }
}

function isKey(key: Uint8Array): boolean {
  try {
    return publicKeyOf(key) !== '';
  } catch {
    return false; // zero, or beyond the order of the curve
  }
}

const PROVIDER = /^([0-9a-f]{64})(?:@(\d{4}-\d\d-\d\d)?\.\.(\d{4}-\d\d-\d\d)?)?$/;

/** `key` or `key@2026-01-01..2026-06-30`, either end left out: whose zap receipts are believed, and of which days. */
export const zapProviders = list
  .pipe(z.array(z.string().regex(PROVIDER, 'must hold entries such as 64 hex digits, or those with @2026-01-01..')))
  .transform((entries) =>
    entries.map((entry) => {
      const [, key = '', from, until] = PROVIDER.exec(entry) ?? [];
      return { key, from: from ? new Date(from) : null, until: until ? endOf(until) : null };
    }),
  )
  .refine((all) => all.every(({ from, until }) => isDate(from) && isDate(until)), 'must hold days of the calendar');

const endOf = (day: string) => new Date(new Date(day).getTime() + 86_399_999);
const isDate = (date: Date | null) => date === null || !Number.isNaN(date.getTime());

/** A connection to a wallet (NIP-47): whom to ask, where, and as whom. */
export interface WalletConnection {
  walletKey: string;
  relays: string[];
  secret: Uint8Array;
}

const MAX_RELAYS = 4;
const isRelayUrl = (text: string) => {
  const url = URL.parse(text);
  const isOwn = url !== null && /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
  return url !== null && url.username === '' && (url.protocol === 'wss:' || (url.protocol === 'ws:' && isOwn));
};
const MAX_OWN_RELAYS = 20;

/** Relays to be connected with, by their addresses. */
export const relayUrls = list.pipe(
  z.array(z.string().refine(isRelayUrl, 'must hold addresses such as wss://relay.example.com')).max(MAX_OWN_RELAYS),
);

/** `nostr+walletconnect://<key of the wallet>?relay=…&secret=…`, as wallets show it. */
export const walletConnection = z.string().transform((text, context): WalletConnection => {
  const url = URL.parse(text.replace(/^nostr\+?walletconnect:(\/\/)?/, 'nostr://'));
  const relays = url?.searchParams.getAll('relay') ?? [];
  const secret = keyOf(url?.searchParams.get('secret') ?? '');
  const refuse = (message: string) => {
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  };
  if (!/^nostr\+?walletconnect:/.test(text) || !url || !isHex32(url.hostname))
    return refuse('must be a connection as the wallet shows it: nostr+walletconnect://…');
  if (relays.length === 0 || relays.length > MAX_RELAYS || !relays.every(isRelayUrl))
    return refuse(`must name one to ${MAX_RELAYS} relays by wss (ws is accepted on this machine only)`);
  if (!secret || !isKey(secret)) return refuse('must carry its secret');
  return { walletKey: url.hostname, relays, secret };
});
