import { readPayUri } from '../orders/addresses.ts';
import { notDone } from './fault.ts';

/** Where an order is, and what its address tells of it. */
export interface Place {
  /** Of the Farebox that has it, without a slash at its end. */
  base: string;
  orderId: string;
  /** The browser that shows the address; null when it was sent by mail. */
  sessionId: string | null;
  /** The claim token. */
  token: string | undefined;
  hContract: string | undefined;
}

const SESSION = /^[A-Za-z0-9_-]{8,64}$/;
const MAX_URI = 2_000; // characters; ours have about 200

/** Reads `farebox://pay/…`, `farebox+http://pay/…` and the address of a status page. */
export function readPlace(uri: string): Place {
  const place = uri.length > MAX_URI ? undefined : (ofPayUri(uri) ?? ofStatusUrl(uri));
  const isGood = place && (place.sessionId === null || SESSION.test(place.sessionId));
  if (!isGood)
    throw notDone(
      'This is not the address of an order.',
      'It is neither farebox://pay/… nor the address of a status page (https://…/orders/…), or a part of it is missing.',
      'Copy it whole, in quotes: "farebox://pay/pay.example.com/ord_…/…?c=…".',
    );
  return place;
}

function ofPayUri(uri: string): Place | undefined {
  const target = readPayUri(uri);
  if (!target) return undefined;
  const { host, prefix, orderId, sessionId, token, isPlain } = target;
  const url = new URL(`${isPlain ? 'http' : 'https'}://${host}${prefix}`);
  return { base: baseOf(url, prefix), orderId, sessionId: sessionId || null, token, hContract: undefined };
}

function ofStatusUrl(uri: string): Place | undefined {
  if (!URL.canParse(uri)) return undefined;
  const url = new URL(uri);
  const [, prefix = '', orderId] = /^(.*)\/orders\/([A-Za-z0-9._-]{1,60})$/.exec(url.pathname) ?? [];
  const isSafe = url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname));
  if (!isSafe || orderId === undefined || url.username !== '' || url.password !== '') return undefined;
  const told = (name: string) => url.searchParams.get(name) ?? undefined;
  const token = told('token') ?? told('claim_token');
  return {
    base: baseOf(url, prefix),
    orderId,
    sessionId: told('session_id') ?? null,
    token,
    hContract: told('h_contract'),
  };
}

const baseOf = ({ origin }: URL, prefix: string): string => origin + prefix.replace(/\/+$/, '');

const isLoopback = (host: string): boolean => /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(host);

/** A password or token may go there without being read on the way. */
export const isPrivateWay = ({ base }: Place): boolean => {
  const { protocol, hostname } = new URL(base);
  return protocol === 'https:' || isLoopback(hostname);
};
