import { createHash } from 'node:crypto';
import { and, eq, lt, sql } from 'drizzle-orm';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Db, Tx } from '../database/clients.ts';
import { idempotencyKeys } from '../database/tables.ts';
import type { Worker } from '../delivery/worker.ts';
import { failpoint } from '../failpoints.ts';
import type { Vault } from '../secrets.ts';
import { callerOf } from './access.ts';
import { Problem, retryLater } from './problem.ts';

/**
 * Idempotency-Key (draft-ietf-httpapi-idempotency-key-header, and what Stripe made of it). Scope: account + method +
 * route + key. Kept: what was done. Not kept: refusals, because the same key must be able to succeed later.
 */

const KEPT_HOURS = 72;
const REAPED_AT_ONCE = 1000;
const PURPOSE = 'idempotency-reply';

/** A request that carries a key. */
export interface Keyed {
  accountId: string;
  route: string;
  key: string;
  fingerprint: Buffer;
}

export interface Answer<Body = unknown> {
  status: number;
  body: Body;
  headers?: Record<string, string>;
}

/** The key of a request: required where the route says so (400 without), `null` where the client sent none. */
export function keyOf(request: FastifyRequest): Keyed | null {
  const header = request.headers['idempotency-key'];
  if (header === undefined) {
    if (request.routeOptions.config.idempotency === 'required') throw new Problem('idempotency_key_required');
    return null;
  }
  const route = `${request.method} ${request.routeOptions.url}`;
  return {
    accountId: callerOf(request).accountId,
    route,
    key: parseKey(String(header)),
    fingerprint: fingerprint(request),
  };
}

/** Bare, or a quoted string as the draft writes it; 1 to 255 visible characters. */
function parseKey(header: string): string {
  const quoted = /^"(.*)"$/.exec(header);
  const key = quoted?.[1] ?? header;
  if (!/^[\x21-\x7e]{1,255}$/.test(key)) throw new Problem('idempotency_key_invalid');
  return key;
}

/** SHA-256 over the path and the body with its members in order, so that the same request is the same bytes. */
export function fingerprint(request: FastifyRequest): Buffer {
  const path = request.url.split('?', 1)[0];
  return createHash('sha256')
    .update(`${path}\n${canonical(request.body)}`)
    .digest();
}

function canonical(value: unknown): string {
  if (value instanceof Date) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(',')}}`;
  }
  return typeof value === 'bigint' ? value.toString() : (JSON.stringify(value) ?? 'null');
}

/** What an earlier request with this key led to. */
export interface Remembered {
  resourceId: string | null;
  answer: Answer | null;
}

/**
 * Takes the key for this transaction and tells what it led to before. Of two requests at once one gets the key, the
 * other a 409; the same key for another request is a 422.
 */
export async function takeKey(tx: Tx, vault: Vault, keyed: Keyed): Promise<Remembered | null> {
  const scope = `${keyed.accountId} ${keyed.route} ${keyed.key}`;
  const [lock] = await tx.execute<{ taken: boolean }>(
    sql`select pg_try_advisory_xact_lock(hashtextextended(${scope}, 0)) as taken`,
  );
  if (!lock?.taken) throw retryLater('request_in_flight', 1);
  await failpoint('platform.idempotency.after_take');
  const [row] = await tx.select().from(idempotencyKeys).where(isKey(keyed));
  if (!row) return null;
  if (!row.fingerprint.equals(keyed.fingerprint)) throw new Problem('idempotency_key_reused');
  const answer = row.reply && row.status !== null ? (JSON.parse(vault.open(row.reply, PURPOSE)) as Answer) : null;
  return { resourceId: row.resourceId, answer };
}

/** Remembers, in the transaction that does it, what the key led to: a resource, or a finished answer. */
export async function rememberKey(
  tx: Tx,
  vault: Vault,
  keyed: Keyed,
  outcome: { resourceId?: string; answer?: Answer },
): Promise<void> {
  await tx.insert(idempotencyKeys).values({
    ...keyed,
    resourceId: outcome.resourceId ?? null,
    status: outcome.answer?.status ?? null,
    reply: outcome.answer ? vault.seal(JSON.stringify(outcome.answer), PURPOSE) : null,
    expiresAt: sql`now() + make_interval(hours => ${KEPT_HOURS})`,
  });
}

/** Work whose effects are all in the database: done once, and a repeat is answered with the same bytes. */
export async function once<Body>(
  deps: { db: Db; vault: Vault },
  request: FastifyRequest,
  reply: FastifyReply,
  work: (tx: Tx) => Promise<Answer<Body>>,
): Promise<Body> {
  const keyed = keyOf(request);
  const answer = await deps.db.transaction(async (tx) => {
    const before = keyed && (await takeKey(tx, deps.vault, keyed));
    if (before?.answer) {
      reply.header('Idempotent-Replayed', 'true');
      return before.answer as Answer<Body>;
    }
    const done = await work(tx);
    if (keyed) await rememberKey(tx, deps.vault, keyed, { answer: done });
    await failpoint('platform.idempotency.before_commit');
    return done;
  });
  await failpoint('platform.idempotency.after_commit');
  reply.code(answer.status).headers(answer.headers ?? {});
  return answer.body;
}

const isKey = (keyed: Keyed) =>
  and(
    eq(idempotencyKeys.accountId, keyed.accountId),
    eq(idempotencyKeys.route, keyed.route),
    eq(idempotencyKeys.key, keyed.key),
  );

/** Forgets keys after three days; what moved money keeps its own reference for ever. */
export const keyReaper = (db: Db): Worker => ({
  name: 'idempotency-reaper',
  everyMs: 600_000,
  runOnce: async () => {
    const old = db
      .select({ place: sql`ctid` })
      .from(idempotencyKeys)
      .where(lt(idempotencyKeys.expiresAt, sql`now()`))
      .limit(REAPED_AT_ONCE);
    const gone = await db.delete(idempotencyKeys).where(sql`ctid in ${old}`).returning({ key: idempotencyKeys.key });
    return { more: gone.length === REAPED_AT_ONCE };
  },
});
