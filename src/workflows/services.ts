import { and, desc, eq, sql } from 'drizzle-orm';
import { z } from 'zod';
import type { Db, Tx } from '../platform/database/clients.ts';
import { events } from '../platform/database/tables.ts';
import { newSigningSecret, replaceSigningSecret, signingSecrets } from '../platform/delivery/signing-secrets.ts';
import { sqlState } from '../platform/http/failures.ts';
import { invalidField } from '../platform/http/problem.ts';
import { amount, amountOut, head, headOut, JsonObject } from '../platform/http/wire.ts';
import { newId } from '../platform/ids.ts';
import type { Vault } from '../platform/secrets.ts';
import { checkPolicy, type PaymentPolicy, PolicyOut } from './asks/policy.ts';
import { services, workflows } from './tables.ts';

export type Service = typeof services.$inferSelect;

export const ServiceOut = z
  .object({
    ...headOut('service'),
    name: z.string(),
    description: z.string(),
    credit_cost: amountOut,
    price_version: z.int(),
    input_schema: JsonObject,
    payment: PolicyOut,
    active: z.boolean(),
  })
  .meta({ id: 'Service' });

export const renderService = (service: Service): z.infer<typeof ServiceOut> => ({
  ...head('service', service),
  name: service.name,
  description: service.description,
  credit_cost: amount(service.creditCost),
  price_version: service.priceVersion,
  input_schema: service.inputSchema as Record<string, unknown>,
  payment: service.payment,
  active: service.active,
});

/** What an operator says of a service; the rest is ours. */
export interface ServiceTerms {
  name: string;
  description: string;
  creditCost: bigint;
  inputSchema: object;
  endpoint: string;
  timeoutMs: number;
  maxAttempts: number;
  deadlineS: number;
  reportIntervalS: number;
  maxConcurrency: number;
  refundOnFailure: 'full' | 'none';
  payment: PaymentPolicy;
  nostrKind: number | null;
  active: boolean;
}

/** A new service and its signing secret, which is told this once. */
export async function createService(
  tx: Tx,
  vault: Vault,
  terms: ServiceTerms,
): Promise<{ service: Service; secret: string }> {
  checkPolicy(terms.payment, terms.creditCost);
  const id = newId();
  const { secret, sealed } = newSigningSecret(vault, purposeOf(id));
  const [service] = await tx
    .insert(services)
    .values({ id, ...terms, signingSecret: sealed })
    .returning()
    .catch(explain);
  if (!service) throw new Error('no service was made');
  return { service, secret };
}

/** Changes a service. A new cost, or a new division of it, is a new price version: existing workflows keep what they agreed to. */
export async function changeService(tx: Tx, id: string, change: Partial<ServiceTerms>): Promise<Service | undefined> {
  const before = await holdService(tx, id);
  if (!before) return undefined;
  const after = { ...before, ...change };
  checkPolicy(after.payment, after.creditCost);
  const isRepriced = priceOf(before) !== priceOf(after);
  const [service] = await tx
    .update(services)
    .set({ ...change, version: before.version + 1, priceVersion: before.priceVersion + (isRepriced ? 1 : 0) })
    .where(eq(services.id, id))
    .returning()
    .catch(explain);
  return service;
}

function explain(fault: unknown): never {
  if (sqlState(fault)?.constraint === 'services_nostr_kind')
    throw invalidField('/nostr_kind', 'is done by another active service', 'conflict');
  throw fault;
}

const priceOf = ({ creditCost, payment }: Pick<Service, 'creditCost' | 'payment'>): string =>
  `${creditCost} ${payment.milestones ?? ''}`;

/** Replaces the signing secret; the former one signs along for a day. */
export async function rotateSecret(tx: Tx, vault: Vault, id: string): Promise<string | undefined> {
  const service = await holdService(tx, id);
  if (!service) return undefined;
  const { secret, sealed } = replaceSigningSecret(vault, purposeOf(id), service.signingSecret);
  await tx.update(services).set({ signingSecret: sealed }).where(eq(services.id, id));
  return secret;
}

/** The secrets that sign a call now, newest first. */
export const signingSecretsOf = (
  vault: Vault,
  { id, signingSecret }: Pick<Service, 'id' | 'signingSecret'>,
): string[] => signingSecrets(vault, purposeOf(id), signingSecret);

/** Moves every workflow of a service to its present price, and tells their owners. Resolves to how many there were. */
export async function repriceWorkflows(tx: Tx, service: Service): Promise<number> {
  // One statement: a popular service has more workflows than a statement can have parameters.
  const [moved] = await tx.execute<{ count: number }>(sql`
    with moved as (
      update ${workflows} set credit_cost = ${service.creditCost}::bigint, price_version = ${service.priceVersion}::int,
        milestones = ${service.payment.milestones === null ? null : JSON.stringify(service.payment.milestones)}::text::jsonb, version = version + 1
      where service_id = ${service.id}::uuid and price_version <> ${service.priceVersion}::int and deleted_at is null
      returning id, account_id
    ), told as (
      insert into ${events} (account_id, type, subject_id, payload)
      select account_id, 'workflows.workflow_repriced', id, jsonb_build_object(
        'credit_cost', ${service.creditCost}::bigint, 'price_version', ${service.priceVersion}::int)
      from moved
    )
    select count(*)::int as count from moved`);
  return moved?.count ?? 0;
}

/** A service that nobody changes while this transaction lasts. */
export async function holdService(tx: Tx, id: string): Promise<Service | undefined> {
  const [service] = await tx.select().from(services).where(eq(services.id, id)).for('update');
  return service;
}

export async function findService(on: Db | Tx, id: string): Promise<Service | undefined> {
  const [service] = await on.select().from(services).where(eq(services.id, id));
  return service;
}

/** Newest first; customers see the active ones. */
export const listServices = (db: Db, onlyActive: boolean, after: string | null, limit: number): Promise<Service[]> =>
  db
    .select()
    .from(services)
    .where(
      and(
        onlyActive ? eq(services.active, true) : undefined,
        after === null
          ? undefined
          : sql`(${services.createdAt}, ${services.id}) < (select created_at, id from ${services} where id = ${after}::uuid)`,
      ),
    )
    .orderBy(desc(services.createdAt), desc(services.id))
    .limit(limit);

const purposeOf = (id: string) => `service-signing-secret:${id}`;
