import { createHmac, timingSafeEqual } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Problem } from '../http/problem.ts';
import { newToken } from '../secrets.ts';

/** How operators come in; who they are is known to identity. */
export interface Door {
  /** The token of a new session. 401 for wrong credentials, 403 for whoever is no operator. */
  logIn(email: string, password: string, requestId: string): Promise<string>;
  /** Undefined when the session is over, or the account is no operator's any more. */
  whoHas(token: string): Promise<Operator | undefined>;
  logOut(token: string): Promise<void>;
}

export interface Operator {
  accountId: string;
  email: string;
}

const COOKIE = 'farebox_ops';
const TOKEN = /^[\w-]{43}$/;

/** The token in the visitor's cookie: of a session, or of a log-in that is about to be made. */
export function tokenIn({ headers }: FastifyRequest): string | undefined {
  const pairs = (headers.cookie ?? '').split(';').map((pair) => pair.trim().split('=', 2));
  const value = pairs.find(([name]) => name === COOKIE)?.[1] ?? '';
  return TOKEN.test(value) ? value : undefined;
}

/** For this listener's pages only, unreadable for scripts, and never sent along by another site's link or form. */
export function keepToken(request: FastifyRequest, reply: FastifyReply, token: string): void {
  const secure = request.protocol === 'https' ? '; Secure' : '';
  reply.header('Set-Cookie', `${COOKIE}=${token}; Path=/ops; HttpOnly; SameSite=Strict${secure}`);
}

export const freshToken = newToken;

export function dropToken(reply: FastifyReply): void {
  reply.header('Set-Cookie', `${COOKIE}=; Path=/ops; HttpOnly; SameSite=Strict; Max-Age=0`);
}

/** What each form of ours carries, and no other site can know: bound to the cookie's token by a key that stays here. */
export const formToken = (key: Buffer, token: string): string =>
  createHmac('sha256', key).update(token).digest('base64url');

/**
 * 403 unless a form is one of ours, sent from a page of ours. Browsers tell where a request comes from; with
 * `Referrer-Policy: no-referrer` their Origin is `null`, so Sec-Fetch-Site is what counts where it is sent.
 */
export function requireOwnForm(key: Buffer, request: FastifyRequest, told: string): string {
  const token = tokenIn(request);
  const isOwn = token !== undefined && isSame(told, formToken(key, token));
  if (!isOwn || isElsewhere(request))
    throw new Problem('forbidden', 'This form is too old, or it did not come from the work list. Open the page again.');
  return token;
}

function isElsewhere({ headers }: FastifyRequest): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined) return site !== 'same-origin';
  const { origin, host } = headers;
  return origin !== undefined && origin !== 'null' && URL.parse(origin)?.host !== host;
}

function isSame(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
