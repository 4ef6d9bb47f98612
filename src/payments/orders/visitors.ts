import { createHash, createHmac, randomBytes } from 'node:crypto';
import type { Vault } from '../../platform/secrets.ts';
import { isSameText } from './read.ts';

/**
 * Browsers that come to a status page from an e-mail or a message, and so without a session of the shop's. They get one of
 * their own: a secret in a cookie of this host, and for each order a public id that is a hash of it. What is paid for that
 * id is led to the shop with a one-time code, by which it becomes the shop's own session (`moveSession`).
 */
export interface Visitors {
  /** The public session id of this browser for an order; undefined when it has no cookie of ours. */
  sessionOf(cookies: string | undefined, orderId: string): string | undefined;
  /** A new browser: its public id, and the header that makes it known again. */
  welcome(orderId: string): { sessionId: string; setCookie: string };
  /** Lets whoever brings it to the shop take the session's place. For minutes, and as long as the session is alive. */
  codeFor(orderId: string, sessionId: string): string;
  /** Whom a code stands for; undefined when it is not ours, or too old. */
  readCode(code: string): { orderId: string; sessionId: string } | undefined;
}

/** Added to the address that an order leads to. */
export const CODE_PARAMETER = 'farebox_code';

const SECRET = /^[\w-]{32}$/;
const SECRET_BYTES = 24;
const MAX_AGE_S = 7 * 86_400; // an order is paid within a day, unless its shop says otherwise
const CODE_S = 300; // one redirect, on a slow line

export function createVisitors({ vault, publicUrl }: { vault: Vault; publicUrl: string }): Visitors {
  const key = vault.derive('order-visitors');
  const isHttps = publicUrl.startsWith('https:');
  // With the prefix no other host of the domain can put a secret of its own into a browser (RFC 6265bis §4.1.3.2).
  const name = isHttps ? '__Host-farebox_visit' : 'farebox_visit';
  const publicId = (secret: string, orderId: string) =>
    createHash('sha256').update(`farebox visit ${secret} ${orderId}`).digest('base64url');
  const sign = (text: string) => createHmac('sha256', key).update(text).digest('base64url');

  return {
    sessionOf(cookies = '', orderId) {
      const values = cookies.split(';').map((pair) => pair.trim().split('=', 2));
      const secret = values.find(([one, value = '']) => one === name && SECRET.test(value))?.[1];
      return secret === undefined ? undefined : publicId(secret, orderId);
    },
    welcome(orderId) {
      const secret = randomBytes(SECRET_BYTES).toString('base64url');
      const rest = `Path=/; Max-Age=${MAX_AGE_S}; HttpOnly; SameSite=Lax${isHttps ? '; Secure' : ''}`;
      return { sessionId: publicId(secret, orderId), setCookie: `${name}=${secret}; ${rest}` };
    },
    codeFor(orderId, sessionId) {
      const told = `${orderId}~${sessionId}~${Math.floor(Date.now() / 1000) + CODE_S}`;
      return `${told}~${sign(told)}`;
    },
    readCode(code) {
      const [orderId = '', sessionId = '', until = '', signature = '', ...more] = code.split('~');
      const isOurs = more.length === 0 && isSameText(signature, sign(`${orderId}~${sessionId}~${until}`));
      return isOurs && Number(until) * 1000 > Date.now() ? { orderId, sessionId } : undefined;
    },
  };
}
