import { and, desc, eq, isNull, sql } from 'drizzle-orm';
import { z } from 'zod';
import type { Db, Tx } from '../platform/database/clients.ts';
import { Problem } from '../platform/http/problem.ts';
import { amount, amountOut, head, headOut, idOut, JsonObject } from '../platform/http/wire.ts';
import { newId, toWire } from '../platform/ids.ts';
import { findService, type Service } from './services.ts';
import { workflows } from './tables.ts';

export type Workflow = typeof workflows.$inferSelect;

export const WorkflowOut = z
  .object({
    ...headOut('workflow'),
    service_id: idOut('service'),
    name: z.string(),
    credit_cost: amountOut.describe('what a run costs, as agreed'),
    price_version: z.int(),
    milestones: z.array(amountOut).nullable().describe('the cost part by part, where it is paid so'),
    input_defaults: JsonObject,
  })
  .meta({ id: 'Workflow' });

export const renderWorkflow = (workflow: Workflow): z.infer<typeof WorkflowOut> => ({
  ...head('workflow', workflow),
  service_id: toWire('service', workflow.serviceId),
  name: workflow.name,
  credit_cost: amount(workflow.creditCost),
  price_version: workflow.priceVersion,
  milestones: workflow.milestones,
  input_defaults: workflow.inputDefaults as Record<string, unknown>,
});

const MAX_WORKFLOWS = 1000;

/** A workflow from a service of the catalogue, at the service's present cost. */
export async function createWorkflow(
  tx: Tx,
  accountId: string,
  wanted: { serviceId: string; name: string; inputDefaults: object },
): Promise<Workflow> {
  const service = await findService(tx, wanted.serviceId);
  if (!service) throw new Problem('not_found', 'There is no such service.');
  if (!service.active) throw new Problem('service_inactive');
  // One at a time, so that the count holds.
  await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${`workflows.create ${accountId}`}, 0))`);
  const count = await tx.$count(workflows, and(eq(workflows.accountId, accountId), isNull(workflows.deletedAt)));
  if (count >= MAX_WORKFLOWS) throw new Problem('conflict', `An account has at most ${MAX_WORKFLOWS} workflows.`);
  const [workflow] = await tx
    .insert(workflows)
    .values({ id: newId(), accountId, ...wanted, ...priceOf(service) })
    .returning();
  if (!workflow) throw new Error('no workflow was made');
  return workflow;
}

/** A workflow of the account; 404 when there is none, 403 when it is another's (E5.4). */
export async function ownWorkflow(on: Db | Tx, accountId: string, id: string): Promise<Workflow> {
  const [workflow] = await on
    .select()
    .from(workflows)
    .where(and(eq(workflows.id, id), isNull(workflows.deletedAt)));
  if (!workflow) throw new Problem('workflow_not_found');
  if (workflow.accountId !== accountId) throw new Problem('not_workflow_owner');
  return workflow;
}

/**
 * Changes a workflow. `acceptPriceVersion` agrees to the service's present cost and must name its version, so that
 * nobody agrees to a price that was changed a moment ago.
 */
export async function changeWorkflow(
  tx: Tx,
  accountId: string,
  id: string,
  change: { name?: string | undefined; inputDefaults?: object | undefined; acceptPriceVersion?: number | undefined },
): Promise<Workflow> {
  const before = await ownWorkflow(tx, accountId, id);
  const price = change.acceptPriceVersion === undefined ? {} : await agreedPrice(tx, before, change.acceptPriceVersion);
  const [workflow] = await tx
    .update(workflows)
    .set({
      ...(change.name === undefined ? {} : { name: change.name }),
      ...(change.inputDefaults === undefined ? {} : { inputDefaults: change.inputDefaults }),
      ...price,
      version: sql`${workflows.version} + 1`,
    })
    .where(and(eq(workflows.id, id), isNull(workflows.deletedAt)))
    .returning();
  if (!workflow) throw new Problem('workflow_not_found');
  return workflow;
}

async function agreedPrice(tx: Tx, workflow: Workflow, version: number): Promise<Agreed> {
  const service = await findService(tx, workflow.serviceId);
  if (!service) throw new Error('a workflow without its service');
  if (service.priceVersion !== version) {
    throw new Problem('price_changed', `The present price version is ${service.priceVersion}.`, {
      extra: { price_version: service.priceVersion, credit_cost: Number(service.creditCost) },
    });
  }
  return priceOf(service);
}

type Agreed = Pick<Workflow, 'creditCost' | 'priceVersion' | 'milestones'>;
const priceOf = ({ creditCost, priceVersion, payment }: Service): Agreed => ({
  ...{ creditCost, priceVersion, milestones: payment.milestones },
});

/** Takes a workflow out of use; its runs stay. */
export async function deleteWorkflow(tx: Tx, accountId: string, id: string): Promise<void> {
  await ownWorkflow(tx, accountId, id);
  await tx
    .update(workflows)
    .set({ deletedAt: sql`now()`, version: sql`${workflows.version} + 1` })
    .where(eq(workflows.id, id));
}

/** Newest first; `after` is the id of the last one seen. */
export const listWorkflows = (db: Db, accountId: string, after: string | null, limit: number): Promise<Workflow[]> =>
  db
    .select()
    .from(workflows)
    .where(
      and(
        eq(workflows.accountId, accountId),
        isNull(workflows.deletedAt),
        after === null
          ? undefined
          : sql`(${workflows.createdAt}, ${workflows.id}) < (select created_at, id from ${workflows} where id = ${after}::uuid)`,
      ),
    )
    .orderBy(desc(workflows.createdAt), desc(workflows.id))
    .limit(limit);
