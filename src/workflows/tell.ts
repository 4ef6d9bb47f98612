import { sql } from 'drizzle-orm';
import type { Tx } from '../platform/database/clients.ts';
import { appendEvents } from '../platform/delivery/events.ts';
import type { Run } from './runs.ts';

/** Tells of runs whose rows the caller has just changed. */
export const tell = (tx: Tx, changed: Run | Run[], what: string, more: Record<string, unknown> = {}): Promise<void> =>
  appendEvents(
    tx,
    [changed].flat().map((run) => ({
      accountId: run.accountId,
      type: `workflows.${what}`,
      subjectId: run.id,
      payload: {
        state: run.state,
        attempt: run.attempt,
        cost: Number(run.cost),
        returned: Number(run.returned),
        ...(run.quote === null
          ? {}
          : { payment_state: run.paymentState, paid: Number(run.paid), due: Number(run.due) }),
        ...more,
      },
      inward: run.quote !== null,
    })),
  );

/** A JSON `null` is a value here, not an absent column. */
export const asJson = (value: unknown) => sql`${JSON.stringify(value ?? null)}::text::jsonb`;
