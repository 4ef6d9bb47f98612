import { and, eq, inArray, sql } from 'drizzle-orm';
import type { Tx } from '../platform/database/clients.ts';
import { type Actor, note, type Refund, tellRefund } from './history.ts';
import { subjectOf } from './subjects.ts';
import { type RefundState, refunds } from './tables.ts';

/** Which states follow which. What is completed, rejected or failed stays so. */
const NEXT: Record<RefundState, readonly RefundState[]> = {
  requested: ['awaiting_approval', 'reserved', 'completed', 'failed'],
  awaiting_approval: ['reserved', 'completed', 'rejected', 'failed'],
  reserved: ['sending', 'completed', 'failed'],
  sending: ['reserved', 'completed', 'failed'],
  completed: [],
  rejected: [],
  failed: [],
};

const before = (state: RefundState): RefundState[] =>
  (Object.keys(NEXT) as RefundState[]).filter((one) => NEXT[one].includes(state));

/**
 * Locks a refund, and its subject before it: the order everywhere. What is not locked yet may have changed when it is, so
 * that the state is to be looked at again.
 */
export async function lockRefund(tx: Tx, id: string): Promise<Refund> {
  const [known] = await tx.select().from(refunds).where(eq(refunds.id, id));
  if (!known) throw new Error('there is no such refund');
  await subjectOf(known).lock(tx, known);
  const [refund] = await tx.select().from(refunds).where(eq(refunds.id, id)).for('update');
  if (!refund) throw new Error('a refund that vanished');
  return refund;
}

type Change = Partial<Pick<Refund, 'failureCode' | 'failureMessage' | 'decidedBy' | 'decision' | 'reference' | 'rail'>>;

/** Puts a locked refund into its next state, with its trail and its event. `stepInS`: when the next step is due; null: never by itself. */
export async function move(
  tx: Tx,
  refund: Refund,
  state: RefundState,
  by: { actor: Actor; stepInS?: number | null; change?: Change; detail?: Record<string, unknown> },
): Promise<Refund> {
  const { actor, stepInS = null, change = {}, detail = {} } = by;
  const [moved] = await tx
    .update(refunds)
    .set({
      ...change,
      state,
      looks: 0,
      nextStepAt: stepInS === null ? null : sql`now() + make_interval(secs => ${stepInS}::float8)`,
      ...(state === 'completed' ? { completedAt: sql`now()` } : {}),
    })
    .where(and(eq(refunds.id, refund.id), inArray(refunds.state, before(state))))
    .returning();
  if (!moved) throw new Error(`a refund that is ${refund.state} does not become ${state}`);
  await note(tx, refund.id, { actor, what: state, detail: { from: refund.state, ...detail } });
  await tellRefund(tx, moved);
  return moved;
}

/** The same state, another time for its next step. */
export async function later(tx: Tx, refund: Refund, stepInS: number): Promise<void> {
  await tx
    .update(refunds)
    .set({
      looks: sql`${refunds.looks} + 1`,
      nextStepAt: sql`now() + make_interval(secs => ${stepInS}::float8)`,
    })
    .where(and(eq(refunds.id, refund.id), eq(refunds.state, refund.state)));
}
