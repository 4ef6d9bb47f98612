import { and, desc, eq, isNull } from 'drizzle-orm';
import { openShadowAccount } from '../../identity/index.ts';
import type { Tx } from '../../platform/database/clients.ts';
import { changeWorkflow, createWorkflow, type Workflow } from '../configure.ts';
import type { Service } from '../services.ts';
import { workflows } from '../tables.ts';
import { customers } from './tables.ts';

/** Whoever asks for a job on Nostr: an account for the key, and a workflow for each service that it has used. */

export const shadowOf = (pubkey: string): string => `nostr:${pubkey}`;

/** The account of a key; a shadow account where it has none. Until the transaction ends, the key is not taken to another one. */
export async function accountOfKey(tx: Tx, pubkey: string): Promise<string> {
  const [known] = await tx
    .select({ accountId: customers.accountId })
    .from(customers)
    .where(eq(customers.pubkey, pubkey))
    .for('share');
  if (known) return known.accountId;
  const { id: accountId } = await openShadowAccount(tx, shadowOf(pubkey));
  const [made] = await tx.insert(customers).values({ pubkey, accountId }).onConflictDoNothing().returning();
  return made ? accountId : accountOfKey(tx, pubkey); // somebody was faster: its holder may have linked it
}

export const isCustomer = async (on: Tx, pubkey: string): Promise<boolean> =>
  (await on.$count(customers, eq(customers.pubkey, pubkey))) > 0;

const NAME = 'Nostr';

/** At the present price of the service: the customer is told of it before anything is paid, or has bid enough. */
export async function workflowFor(tx: Tx, accountId: string, service: Service): Promise<Workflow> {
  const isOurs = and(
    ...[eq(workflows.accountId, accountId), eq(workflows.serviceId, service.id)],
    ...[eq(workflows.name, NAME), isNull(workflows.deletedAt)],
  );
  const [known] = await tx.select().from(workflows).where(isOurs).orderBy(desc(workflows.createdAt)).limit(1);
  if (!known) return createWorkflow(tx, accountId, { serviceId: service.id, name: NAME, inputDefaults: {} });
  if (known.priceVersion === service.priceVersion) return known;
  return changeWorkflow(tx, accountId, known.id, { acceptPriceVersion: service.priceVersion });
}
