import { randomUUID } from 'node:crypto';
import type { Secrets } from './home.ts';

/** Farebox as the sandbox calls it: by HTTP, like anybody. */

export async function callApi<T>(
  base: string,
  method: string,
  path: string,
  body?: unknown,
  token?: string,
): Promise<T> {
  const reply = await fetch(base + path, {
    method,
    headers: {
      'content-type': 'application/json',
      ...(token ? { authorization: `Bearer ${token}` } : {}),
      ...(method === 'POST' && token ? { 'idempotency-key': randomUUID() } : {}),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!reply.ok) throw new Error(`${method} ${path} answered ${reply.status}: ${await reply.text()}`);
  return (await reply.json()) as T;
}

/** The access token of whoever has this password. */
export async function logIn(url: string, credentials: { email: string; password: string }): Promise<string> {
  return (await callApi<{ access_token: string }>(url, 'POST', '/v1/auth/login', credentials)).access_token;
}

export async function asOperator(at: { url: string; internalUrl: string; secrets: Secrets }) {
  const { operatorEmail: email, operatorPassword: password } = at.secrets;
  const token = await logIn(at.url, { email, password });
  return <T>(method: string, path: string, body?: unknown) => callApi<T>(at.internalUrl, method, path, body, token);
}
