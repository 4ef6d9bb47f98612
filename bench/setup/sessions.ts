import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { hashToken, newToken } from '../../src/platform/secrets.ts';
import type { BenchDatabase } from './database.ts';
import { accountId } from './numbers.ts';

const AT_ONCE = 16;

/** Access tokens of customers, by the refresh tokens that a log-in would have left: no passwords are hashed. */
export async function logIn(database: BenchDatabase, url: string, customers: readonly number[]): Promise<string[]> {
  const refreshTokens = customers.map(newToken);
  const client = postgres(database.superuserUrl, { max: 1 });
  await client`
    insert into identity.refresh_tokens (id, family_id, account_id, token_hash, expires_at)
    select id, family, account, decode(hash, 'hex'), now() + interval '1 hour'
    from unnest(${customers.map(() => randomUUID())}::uuid[], ${customers.map(() => randomUUID())}::uuid[],
      ${customers.map(accountId.of)}::uuid[], ${refreshTokens.map((token) => hashToken(token).toString('hex'))}::text[])
      as t (id, family, account, hash)`;
  await client.end();
  const tokens: string[] = [];
  const waiting = refreshTokens.map((token, place) => ({ token, place }));
  const worker = async () => {
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      tokens[next.place] = await accessToken(url, next.token);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return tokens;
}

async function accessToken(url: string, refreshToken: string): Promise<string> {
  const reply = await fetch(`${url}/v1/auth/refresh`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ refresh_token: refreshToken }),
  });
  const body = (await reply.json()) as { access_token?: string };
  if (!reply.ok || !body.access_token) throw new Error(`no session for a customer: ${reply.status}`);
  return body.access_token;
}
