import { eq } from 'drizzle-orm';
import type { PricedRun } from '../../payments/index.ts';
import type { Db } from '../../platform/database/clients.ts';
import { Problem } from '../../platform/http/problem.ts';
import { ownWorkflow } from '../configure.ts';
import { services } from '../tables.ts';
import { chooseMode, fits } from './policy.ts';
import { isDemoted } from './tab.ts';

/** What a run would cost and how it would be paid, without starting one. Nothing is kept. */
export async function quoteRun(
  db: Db,
  accountId: string,
  workflowId: string,
  wished: 'upfront' | 'after' | undefined,
): Promise<PricedRun> {
  const { serviceId, creditCost, milestones } = await ownWorkflow(db, accountId, workflowId);
  const [service] = await db
    .select({ payment: services.payment, active: services.active })
    .from(services)
    .where(eq(services.id, serviceId));
  if (!service?.active) throw new Problem('service_inactive');
  const { payment } = service;
  const { mode, info } = chooseMode(payment, wished, await isDemoted(db, { accountId, serviceId }));
  const parts = mode === 'after' ? null : milestones;
  const first = parts?.[0] ? BigInt(parts[0]) : creditCost;
  return {
    ...{ mode, info, cost: creditCost, milestones: parts, first },
    priceHoldsS: payment.quote_ttl_s,
    graceS: mode === 'after' ? payment.after.grace_s : null,
    rails: payment.rails.filter((rail) => fits(rail, first)),
  };
}
