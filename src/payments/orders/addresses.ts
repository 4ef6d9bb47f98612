/** Where an order is seen and paid: the addresses of its status page, and the URIs that open a wallet. */

export interface PayTarget {
  /** Host with port, lower case. */
  host: string;
  /** Between host and order, such as `/instances/shop`; empty or beginning with a slash. */
  prefix: string;
  orderId: string;
  /** Empty when the order was not made for a session. */
  sessionId: string;
  /** The claim token. */
  token?: string;
  /** Plain HTTP, for tests. */
  isPlain: boolean;
}

const schemeOf = (isPlain: boolean) => (isPlain ? 'farebox+http' : 'farebox');
const SEGMENT = /^[A-Za-z0-9._~-]+$/;

/** `farebox://pay/{host}{prefix}/{order}/{session}?c={token}`, the grammar of GNU Taler's pay URIs. */
export function payUri({ host, prefix, orderId, sessionId, token, isPlain }: PayTarget): string {
  const query = token === undefined ? '' : `?c=${encodeURIComponent(token)}`;
  return `${schemeOf(isPlain)}://pay/${host}${prefix}/${orderId}/${sessionId}${query}`;
}

/** The same read back; undefined for everything else. The slash before an empty session must be there. */
export function readPayUri(uri: string): PayTarget | undefined {
  const match =
    /^farebox(\+http)?:\/\/pay\/([^/?#]+)((?:\/[^/?#]+)*)\/([^/?#]+)\/([^/?#]*)(?:\?([^#]*))?(?:#.*)?$/i.exec(uri);
  if (!match) return undefined;
  const [, plain, host = '', prefix = '', orderId = '', sessionId = '', query = ''] = match;
  const isGood =
    SEGMENT.test(orderId) && (sessionId === '' || SEGMENT.test(sessionId)) && URL.canParse(`http://${host}/`);
  if (!isGood) return undefined;
  const token = new URLSearchParams(query).get('c') ?? undefined;
  return {
    ...{ host: host.toLowerCase(), prefix, orderId, sessionId, isPlain: plain !== undefined },
    ...(token === undefined ? {} : { token }),
  };
}

export interface StatusTarget {
  orderId: string;
  sessionId: string | null;
  token: string | null;
  /** Known once the order is claimed; then it takes the token's place. */
  hContract: string | null;
}

/** `{base}/orders/{id}?token={t}&session_id={s}` until it is claimed, `?h_contract={h}&session_id={s}` from then on. */
export function statusUrl(publicUrl: string, { orderId, sessionId, token, hContract }: StatusTarget): string {
  const url = new URL(`${publicUrl}/orders/${orderId}`);
  if (hContract !== null) url.searchParams.set('h_contract', hContract);
  else if (token !== null) url.searchParams.set('token', token);
  if (sessionId !== null) url.searchParams.set('session_id', sessionId);
  return url.href;
}

/** The pay URI of an order of this installation. */
export function payUriOf(publicUrl: string, { orderId, sessionId, token }: StatusTarget): string {
  const target = { ...placeOf(publicUrl), orderId, sessionId: sessionId ?? '' };
  return payUri({ ...target, ...(token === null ? {} : { token }) });
}

/** `farebox://refund/{host}{prefix}/{order}/`: it knows no session. */
export function refundUriOf(publicUrl: string, orderId: string): string {
  const { host, prefix, isPlain } = placeOf(publicUrl);
  return `${schemeOf(isPlain)}://refund/${host}${prefix}/${orderId}/`;
}

function placeOf(publicUrl: string): Pick<PayTarget, 'host' | 'prefix' | 'isPlain'> {
  const { protocol, host, pathname } = new URL(publicUrl);
  return { host, prefix: pathname.replace(/\/$/, ''), isPlain: protocol === 'http:' };
}
