import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { expect } from 'vitest';
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
    return { status: response.status, headers: response.headers, text, body: parse(text) };
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

function parse(text: string): Json {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export const PASSWORD = 'correct horse battery staple';

/** A new account, logged in. */
export async function newCustomer(farebox: TestFarebox, email = `${randomUUID()}@example.com`): Promise<Client> {
  const anonymous = clientOf(farebox.url);
  const account = await anonymous.ok('POST', '/v1/auth/register', { body: { email, password: PASSWORD } });
  return logIn(farebox.url, email, account.id);
}

async function logIn(url: string, email: string, accountId: string): Promise<Client> {
  const session = await clientOf(url).ok('POST', '/v1/auth/login', { body: { email, password: PASSWORD } });
  return clientOf(url, { token: session.access_token, accountId, email, password: PASSWORD });
}

/** An operator, whose client speaks to the internal listener. */
export async function newOperator(farebox: TestFarebox): Promise<Client> {
  const customer = await newCustomer(farebox);
  const root = postgres(farebox.database.superuserUrl, { max: 1 });
  await root`update identity.accounts set role = 'operator' where email = ${customer.email}`;
  await root.end();
  const operator = await logIn(farebox.url, customer.email, customer.accountId);
  return clientOf(farebox.internalUrl, operator);
}

/** Waits until a look at the world is as wished; fails with the last look. */
export async function eventually<T>(
  look: () => Promise<T>,
  isDone: (seen: T) => boolean,
  withinMs = 10_000,
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
