import { and, eq, lte, sql } from 'drizzle-orm';
import type { EvmRail, Rail } from '../payments/index.ts';
import type { Db } from '../platform/database/clients.ts';
import { inParallel } from '../platform/delivery/in-parallel.ts';
import type { Worker } from '../platform/delivery/worker.ts';
import { failpoint } from '../platform/failpoints.ts';
import type { Log } from '../platform/log.ts';
import type { Refund } from './history.ts';
import type { Limits } from './limits.ts';
import { lockRefund } from './move.ts';
import { lookAtChain } from './on-chain.ts';
import { lookAtProvider, sendToProvider } from './provider.ts';
import { reserve } from './reserve.ts';
import { refunds } from './tables.ts';

export interface DriveDeps {
  db: Db;
  rail: Rail;
  evm: EvmRail;
  limits: Limits;
  log: Log;
  /** For one call to the provider: until then nobody else looks for what it did. */
  deadlineMs: number;
}

const EVERY_MS = 2_000;
const AT_ONCE = 20;
const IN_PARALLEL = 4;
/** Whoever took a refund and died leaves it to others after this; longer than all calls of one step. */
const LEASE_S = 60;
/** More than any saga takes in one go. */
const MAX_STEPS = 6;
const OFF_PAUSE_S = 60;

/**
 * Takes the steps that can be taken now. Each is a short transaction that begins by looking at the state again, with one
 * call to somebody else between them at most: whoever dies in between leaves a row that says where to go on.
 */
async function drive(deps: DriveDeps, id: string): Promise<void> {
  for (let steps = 0; steps < MAX_STEPS; steps += 1) {
    const [refund] = await deps.db.select().from(refunds).where(eq(refunds.id, id));
    if (!refund || !(await step(deps, refund))) return;
  }
}

/** The same for whoever has just recorded or decided something: that stands, and a worker goes on where this ends. */
export const driveOn = (deps: DriveDeps, id: string): Promise<void> =>
  drive(deps, id).catch((fault) => {
    deps.log.error({ err: fault, refund: id }, 'a refund could not be moved on; it is tried again');
  });

/** True when there may be more to do at once. */
async function step(deps: DriveDeps, refund: Refund): Promise<boolean> {
  switch (refund.state) {
    case 'requested':
      if (!deps.limits.isOn) return wait(deps, refund);
      await deps.db.transaction(async (tx) => {
        const locked = await lockRefund(tx, refund.id);
        if (locked.state === 'requested') await reserve(tx, locked, 'saga');
      });
      await failpoint('refunds.reserve.after_commit');
      return true;
    case 'reserved':
      if (refund.rail !== 'omise') return false;
      return deps.limits.isOn ? sendToProvider(deps, refund) : wait(deps, refund);
    case 'sending':
      return refund.rail === 'omise' ? lookAtProvider(deps, refund) : lookAtChain(deps, refund);
    default:
      return false;
  }
}

/** Refunds are off: nothing new is set aside or sent. */
async function wait({ db }: DriveDeps, { id, state }: Refund): Promise<false> {
  await db
    .update(refunds)
    .set({ nextStepAt: sql`now() + make_interval(secs => ${OFF_PAUSE_S})` })
    .where(and(eq(refunds.id, id), eq(refunds.state, state)));
  return false;
}

/** Goes on with refunds whose next step is due, whoever has begun them. */
export const refundDriver = (deps: DriveDeps): Worker => ({
  name: 'refunds',
  everyMs: EVERY_MS,
  runOnce: async () => {
    const due = await lease(deps.db);
    if (due.length > 0) await failpoint('refunds.drive.after_lease');
    await inParallel(due, IN_PARALLEL, ({ id }) => driveOn(deps, id));
    return { more: due.length === AT_ONCE };
  },
});

async function lease(db: Db): Promise<{ id: string }[]> {
  const due = db
    .select({ id: refunds.id })
    .from(refunds)
    .where(lte(refunds.nextStepAt, sql`now()`))
    .orderBy(refunds.nextStepAt)
    .limit(AT_ONCE)
    .for('update', { skipLocked: true });
  return db
    .update(refunds)
    .set({ nextStepAt: sql`now() + make_interval(secs => ${LEASE_S})` })
    .where(sql`${refunds.id} in ${due}`)
    .returning({ id: refunds.id });
}
