import { and, desc, eq, isNull, sql } from 'drizzle-orm';
import type { Db, Tx } from '../database/clients.ts';
import { webhookEndpoints } from '../database/tables.ts';
import { newSigningSecret, replaceSigningSecret, signingSecrets } from '../delivery/signing-secrets.ts';
import { Problem } from '../http/problem.ts';
import { newId } from '../ids.ts';
import type { Vault } from '../secrets.ts';

export type Endpoint = typeof webhookEndpoints.$inferSelect;

/** What an account says of an endpoint; the rest is ours. */
export interface EndpointTerms {
  url: string;
  events: string[];
  description: string;
  enabled: boolean;
}

type Change = { [Term in keyof EndpointTerms]?: EndpointTerms[Term] | undefined };

/** Each costs a delivery per event and holds calls while it is slow. */
const MAX_ENDPOINTS = 10;

/** A new endpoint, which is told of what begins from now on, and its signing secret, which is told this once. */
export async function createEndpoint(
  tx: Tx,
  vault: Vault,
  accountId: string,
  terms: EndpointTerms,
): Promise<{ endpoint: Endpoint; secret: string }> {
  await countIn(tx, accountId);
  const id = newId();
  const { secret, sealed } = newSigningSecret(vault, purposeOf(id));
  const [endpoint] = await tx
    .insert(webhookEndpoints)
    .values({ id, accountId, ...terms, disabledReason: terms.enabled ? null : 'owner', signingSecret: sealed })
    .returning();
  if (!endpoint) throw new Error('no endpoint was made');
  return { endpoint, secret };
}

/** Refuses one endpoint too many; those that are made at once wait for each other. */
async function countIn(tx: Tx, accountId: string): Promise<void> {
  await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${`platform.webhooks ${accountId}`}, 0))`);
  if ((await tx.$count(webhookEndpoints, isOf(accountId))) >= MAX_ENDPOINTS)
    throw new Problem('conflict', `An account has at most ${MAX_ENDPOINTS} webhook endpoints. Delete one first.`);
}

/** Changes an endpoint. One that is enabled again starts with a clean slate: what waits for it has three days anew. */
export async function changeEndpoint(
  tx: Tx,
  accountId: string,
  id: string,
  { enabled, ...terms }: Change,
): Promise<Endpoint | undefined> {
  const before = await holdEndpoint(tx, accountId, id);
  if (!before) return undefined;
  const isSwitched = enabled !== undefined && enabled !== before.enabled;
  const [endpoint] = await tx
    .update(webhookEndpoints)
    .set({
      ...terms,
      ...(terms.events && { toldSince: sql`now()` }),
      ...(isSwitched ? switched(enabled) : { enabled: before.enabled }),
    })
    .where(eq(webhookEndpoints.id, id))
    .returning();
  return endpoint;
}

const switched = (enabled: boolean) =>
  enabled
    ? { enabled, disabledReason: null, toldSince: sql`now()`, failingSince: null }
    : { enabled, disabledReason: 'owner' as const };

/** Replaces the signing secret; the former one signs along for a day. */
export async function rotateSecret(tx: Tx, vault: Vault, accountId: string, id: string): Promise<string | undefined> {
  const endpoint = await holdEndpoint(tx, accountId, id);
  if (!endpoint) return undefined;
  const { secret, sealed } = replaceSigningSecret(vault, purposeOf(id), endpoint.signingSecret);
  await tx.update(webhookEndpoints).set({ signingSecret: sealed }).where(eq(webhookEndpoints.id, id));
  return secret;
}

/** Nothing more is told to it; a call that is under way comes to its end. */
export async function deleteEndpoint(tx: Tx, accountId: string, id: string): Promise<boolean> {
  const gone = await tx
    .update(webhookEndpoints)
    .set({ ...switched(false), deletedAt: sql`now()` })
    .where(isOne(accountId, id))
    .returning({ id: webhookEndpoints.id });
  return gone.length === 1;
}

export async function findEndpoint(db: Db, accountId: string, id: string): Promise<Endpoint | undefined> {
  const [endpoint] = await db.select().from(webhookEndpoints).where(isOne(accountId, id));
  return endpoint;
}

/** Newest first; `after` is the id of the last one seen. */
export const listEndpoints = (db: Db, accountId: string, after: string | null, limit: number): Promise<Endpoint[]> =>
  db
    .select()
    .from(webhookEndpoints)
    .where(
      and(
        isOf(accountId),
        after === null
          ? undefined
          : sql`(created_at, id) < (select created_at, id from ${webhookEndpoints} where id = ${after}::uuid)`,
      ),
    )
    .orderBy(desc(webhookEndpoints.createdAt), desc(webhookEndpoints.id))
    .limit(limit);

/** The secrets that sign a call now, newest first. */
export const signingSecretsOf = (vault: Vault, { id, signingSecret }: Endpoint): string[] =>
  signingSecrets(vault, purposeOf(id), signingSecret);

/** An endpoint that nobody else changes, counts or tells anything while this transaction lasts. */
export async function holdEndpoint(tx: Tx, accountId: string, id: string): Promise<Endpoint | undefined> {
  const [endpoint] = await tx.select().from(webhookEndpoints).where(isOne(accountId, id)).for('no key update');
  return endpoint;
}

const purposeOf = (id: string) => `webhook-signing-secret:${id}`;
const isOf = (accountId: string) => and(eq(webhookEndpoints.accountId, accountId), isNull(webhookEndpoints.deletedAt));
const isOne = (accountId: string, id: string) => and(isOf(accountId), eq(webhookEndpoints.id, id));
