import { sql } from 'drizzle-orm';
import { type Challenge, consumeChallenge } from '../identity/index.ts';
import type { Db, Tx } from '../platform/database/clients.ts';
import { failpoint } from '../platform/failpoints.ts';
import { type Keyed, rememberKey, takeKey } from '../platform/http/idempotency.ts';
import { newId } from '../platform/ids.ts';
import type { Vault } from '../platform/secrets.ts';
import { note, type Refund, tellRefund } from './history.ts';
import { checkLimits, type Limits, needsApproval, requireOn } from './limits.ts';
import { type Order, subjectOf } from './subjects.ts';
import { refunds } from './tables.ts';

/** Until then the request itself takes the steps; then it is a worker's. */
const OWN_STEPS_S = 30;

/** The refund that an earlier request with this key has led to. */
export async function refundOfKey(db: Db, vault: Vault, keyed: Keyed): Promise<string | undefined> {
  const before = await db.transaction((tx) => takeKey(tx, vault, keyed));
  return before?.resourceId ?? undefined;
}

/**
 * Records what is wanted back, and speaks for it: from here on nobody else gets that part of the subject. The same key
 * again finds the refund. `challenge` is the answered one of whoever paid on chain.
 */
export async function requestRefund(
  deps: { db: Db; vault: Vault; limits: Limits },
  keyed: Keyed,
  order: Order & { reason: string },
  challenge: Challenge | null,
): Promise<{ refundId: string; replayed: boolean }> {
  const { db, vault, limits } = deps;
  const asked = await db.transaction(async (tx) => {
    const before = await takeKey(tx, vault, keyed);
    if (before?.resourceId) return { refundId: before.resourceId, replayed: true };
    requireOn(limits);
    const { id } = await recordRefund(tx, limits, order, challenge);
    await rememberKey(tx, vault, keyed, { resourceId: id });
    await failpoint('refunds.request.before_commit');
    return { refundId: id, replayed: false };
  });
  await failpoint('refunds.request.after_commit');
  return asked;
}

/** Records what is wanted back; `askedBy` when it is not the account that gets it. */
export async function recordRefund(
  tx: Tx,
  limits: Limits,
  order: Order & { reason: string; askedBy?: string },
  challenge: Challenge | null,
): Promise<Refund> {
  const { accountId, subject, reason, askedBy = accountId } = order;
  const [subjectType, subjectId] = [subject.type, subject.id];
  if (challenge) await consumeChallenge(tx, challenge);
  const { needsApproval: needed, ...quote } = await subjectOf({ subjectType }).quote(tx, order);
  await checkLimits(tx, limits, accountId, { ...quote, needsApproval: needed });
  const isForPerson = needsApproval(limits, { ...quote, needsApproval: needed });
  const row = { ...{ accountId, subjectId }, ...quote, amount: quote.amount.toString() };
  await subjectOf({ subjectType }).claim(tx, row);
  const [refund] = await tx
    .insert(refunds)
    .values({
      ...{ id: newId(), subjectType, reason, challengeId: challenge?.id ?? null, ...row },
      state: isForPerson ? 'awaiting_approval' : 'requested',
      nextStepAt: isForPerson ? null : sql`now() + make_interval(secs => ${OWN_STEPS_S})`,
    })
    .returning();
  if (!refund) throw new Error('no refund was recorded');
  const { rail, part, credits, amount, unit } = refund;
  const detail = { rail, part, credits: Number(credits), amount, unit, needs_approval: isForPerson };
  await note(tx, refund.id, { actor: `account:${askedBy}`, what: 'requested', detail });
  await tellRefund(tx, refund);
  return refund;
}
