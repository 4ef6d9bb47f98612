import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { expect } from 'vitest';
import { hashPassword } from '../../src/identity/passwords.ts';
import { newId, toWire } from '../../src/platform/ids.ts';
import { hashToken, newToken } from '../../src/platform/secrets.ts';
import type { TestFarebox } from './farebox.ts';

/** JSON as it came; tests look into it freely. */
// biome-ignore lint/suspicious/noExplicitAny: a reply under test may hold anything
export type Json = any;

export interface Reply {
  status: number;
  headers: Headers;
  body: Json;
  text: string;
}

export interface CallOptions {
  body?: unknown;
  key?: string;
  headers?: Record<string, string>;
  token?: string | null;
}

/** A person or program that calls Farebox over HTTP, with a token of its own. */
export interface Client {
  call(method: string, path: string, options?: CallOptions): Promise<Reply>;
  get(path: string, options?: CallOptions): Promise<Reply>;
  /** Sends a fresh Idempotency-Key unless one is given. */
  post(path: string, body?: unknown, options?: CallOptions): Promise<Reply>;
  /** As `call`, for what must succeed: the body. */
  ok(method: string, path: string, options?: CallOptions): Promise<Json>;
  token: string;
  accountId: string;
  email: string;
  password: string;
}

export function clientOf(
  url: string,
  identity: Partial<Pick<Client, 'token' | 'accountId' | 'email' | 'password'>> = {},
): Client {
  const token = identity.token ?? '';
  const call: Client['call'] = async (method, path, options = {}) => {
    const auth = options.token === undefined ? token : options.token;
    const response = await fetch(url + path, {
      method,
      redirect: 'manual',
      headers: {
        ...(auth ? { authorization: `Bearer ${auth}` } : {}),
        ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(options.key === undefined ? {} : { 'idempotency-key': options.key }),
        ...options.headers,
      },
      ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
    });
    const text = await response.text();
    const reply = { status: response.status, headers: response.headers, text, body: parse(text) };
    expect(isUndeclared5xx(path, reply), `${method} ${path}: ${reply.status} ${text}`).toBe(false);
    return reply;
  };
  return {
    call,
    get: (path, options) => call('GET', path, options),
    post: (path, body, options) =>
      call('POST', path, { key: randomUUID(), ...(body === undefined ? {} : { body }), ...options }),
    ok: async (method, path, options) => {
      const reply = await call(method, path, { ...(method === 'POST' ? { key: randomUUID() } : {}), ...options });
      expect(reply.status, `${method} ${path}: ${reply.text}`).toBeLessThan(300);
      return reply.body;
    },
    token,
    accountId: identity.accountId ?? '',
    email: identity.email ?? '',
    password: identity.password ?? '',
  };
}

/**
 * Nothing that a client sends or the world does is answered by a 5xx, but for the 503 that says when to try again (and
 * for the probe that says 503 to whoever balances the load).
 */
const isUndeclared5xx = (path: string, { status, headers, body }: Reply) =>
  status >= 500 &&
  !(status === 503 && (path === '/readyz' || (typeof body?.code === 'string' && headers.has('retry-after'))));

function parse(text: string): Json {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export const PASSWORD = 'correct horse battery staple';

type Role = 'user' | 'merchant' | 'operator';

/**
 * A new account, logged in. Both without the work of hashing the password, which would be most of the tests' work; the
 * tests of identity register and log in as people do.
 */
export async function newCustomer(farebox: TestFarebox, email = `${randomUUID()}@example.com`): Promise<Client> {
  return newAccount(farebox, email, 'user', farebox.url);
}

/** An operator, whose client speaks to the internal listener. */
export async function newOperator(farebox: TestFarebox): Promise<Client> {
  return newAccount(farebox, `${randomUUID()}@example.com`, 'operator', farebox.internalUrl);
}

/** A shop or billing service. */
export async function newMerchant(farebox: TestFarebox): Promise<Client> {
  return newAccount(farebox, `${randomUUID()}@example.com`, 'merchant', farebox.url);
}

let knownHash: Promise<string> | undefined;

async function newAccount(farebox: TestFarebox, email: string, role: Role, url: string): Promise<Client> {
  knownHash ??= hashPassword(PASSWORD);
  const passwordHash = await knownHash;
  const [id, refreshToken] = [newId(), newToken()];
  const root = postgres(farebox.database.superuserUrl, { max: 1 });
  await root`with account as (
    insert into identity.accounts (id, email, password_hash, role) values (${id}, ${email}, ${passwordHash}, ${role})
    returning id
  ) insert into identity.refresh_tokens (id, family_id, account_id, token_hash, expires_at)
    select ${newId()}, ${newId()}, id, ${hashToken(refreshToken)}, now() + interval '1 hour' from account`;
  await root.end();
  const session = await clientOf(farebox.url).ok('POST', '/v1/auth/refresh', { body: { refresh_token: refreshToken } });
  return clientOf(url, { token: session.access_token, accountId: toWire('account', id), email, password: PASSWORD });
}

/** Waits until a look at the world is as wished; fails with the last look. */
export async function eventually<T>(
  look: () => Promise<T>,
  isDone: (seen: T) => boolean,
  withinMs = 60_000, // many times what anything takes on a quiet machine
): Promise<T> {
  const end = Date.now() + withinMs;
  for (;;) {
    const seen = await look();
    if (isDone(seen)) return seen;
    if (Date.now() > end)
      throw new Error(`not within ${withinMs} ms; last seen: ${JSON.stringify(seen)?.slice(0, 2000)}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
