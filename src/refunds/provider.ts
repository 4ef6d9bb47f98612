import { eq } from 'drizzle-orm';
import { type Charge, lockPaidPurchase, type ProviderRefund } from '../payments/index.ts';
import type { Tx } from '../platform/database/clients.ts';
import { failpoint } from '../platform/failpoints.ts';
import { toWire } from '../platform/ids.ts';
import { beginAttempt, closeAttempt, countAttempts, openAttempt } from './attempts.ts';
import type { DriveDeps } from './drive.ts';
import { completePaid, undo } from './end.ts';
import { note, type Refund } from './history.ts';
import { later, lockRefund, move } from './move.ts';
import { refunds } from './tables.ts';

/**
 * Money back through the provider. The attempt is committed, then the provider is asked, then its answer is written
 * down. An answer that was lost is looked for on the charge, by our refund's id, before anything is asked again.
 */

const LOOK_AFTER_DEADLINE_S = 5;
const AGAIN_S = 30;
/** A refund that was made is on the charge by then; two looks, so that one stale answer does not decide. */
const GIVE_UP_AFTER_S = 120;
const GIVE_UP_LOOKS = 2;
/** Then the credits go back, and a person has to find out. */
const MAX_ATTEMPTS = 5;

type Seen = Extract<Awaited<ReturnType<DriveDeps['rail']['check']>>, { outcome: 'ok' | 'rejected' }>;
type Answer = Awaited<ReturnType<DriveDeps['rail']['refund']>>;

/** Looks whether the charge lets money go, then asks for it. */
export async function sendToProvider(deps: DriveDeps, refund: Refund): Promise<boolean> {
  const chargeId = await chargeOf(deps, refund);
  const seen = await deps.rail.check(chargeId);
  await failpoint('refunds.send.after_check');
  if (seen.outcome === 'unavailable' || seen.outcome === 'unknown') return postpone(deps, refund);
  const number = await deps.db.transaction((tx) => intend(tx, deps, refund.id, chargeId, seen));
  await failpoint('refunds.send.before_call');
  if (number === undefined) return false;
  const { id, amount } = refund;
  const answer = await deps.rail.refund({ refundId: toWire('refund', id), chargeId, amount: BigInt(amount) });
  await failpoint('refunds.send.after_call');
  await write(deps, refund, number, answer);
  await failpoint('refunds.send.after_commit');
  return false;
}

/** Commits the attempt, if the charge lets money go; undefined when it does not, and what follows from that is done. */
async function intend(
  tx: Tx,
  { deadlineMs }: DriveDeps,
  id: string,
  chargeId: string,
  seen: Seen,
): Promise<number | undefined> {
  const locked = await lockRefund(tx, id);
  if (locked.state !== 'reserved' || locked.rail !== 'omise') return undefined;
  const made = seen.outcome === 'ok' ? madeFor(seen.value, locked) : undefined;
  if (made) {
    await complete(locked, made, tx); // an earlier attempt, which was given up
    return undefined;
  }
  const isTired = (await countAttempts(tx, locked.id)) >= MAX_ATTEMPTS;
  const obstacle =
    seen.outcome === 'rejected' ? 'charge_unknown' : isTired ? 'provider_silent' : obstacleOf(seen.value, locked);
  if (obstacle === 'bank') {
    // Not by this way, as PromptPay, or what is too old: an operator sends it by bank transfer.
    const detail = { reason: 'not_refundable_at_provider' };
    await tx.update(refunds).set({ rail: 'bank', nextStepAt: null }).where(eq(refunds.id, locked.id));
    await note(tx, locked.id, { actor: 'provider', what: 'left_to_bank', detail });
    return undefined;
  }
  if (obstacle) {
    await undo(tx, locked, 'failed', { actor: 'provider', code: obstacle, message: MESSAGES[obstacle] });
    return undefined;
  }
  const attempt = await beginAttempt(tx, locked, chargeId);
  await move(tx, locked, 'sending', {
    ...{ actor: 'saga', stepInS: deadlineMs / 1000 + LOOK_AFTER_DEADLINE_S },
    detail: { attempt, charge_id: chargeId },
  });
  await failpoint('refunds.send.before_commit');
  return attempt;
}

const MESSAGES = {
  charge_unknown: 'The provider does not know the charge.',
  disputed: 'The payment is disputed: its bank decides.',
  provider_silent: 'The provider has not made the refund, however often it was asked.',
  refunded_elsewhere: 'The money went back by another way.',
} as const;

/** What stands in the way of the provider's refund; `bank`: nothing but that it does not make one. */
function obstacleOf(charge: Charge, refund: Refund): keyof typeof MESSAGES | 'bank' | undefined {
  if (charge.hasOpenDispute) return 'disputed';
  const left = (charge.capturedAmount ?? charge.amount) - charge.refundedAmount;
  if (charge.voided || left < BigInt(refund.amount)) return 'refunded_elsewhere';
  return charge.refundable ? undefined : 'bank';
}

/** Keeps the answer. What is unknown stays `sending`, and is looked for when it is due. */
async function write({ db }: DriveDeps, { id }: Refund, number: number, answer: Answer): Promise<void> {
  await db.transaction(async (tx) => {
    const refund = await lockRefund(tx, id);
    const isOpen = await openAttempt(tx, id);
    if (refund.state !== 'sending' || isOpen?.number !== number) return; // somebody has found it already
    switch (answer.outcome) {
      case 'ok':
        await closeAttempt(tx, id, 'done', answer.value.id);
        return complete(refund, answer.value, tx);
      case 'rejected':
        await closeAttempt(tx, id, 'refused', answer.code);
        if (number > 1) {
          // Perhaps because an earlier attempt was executed after all: the charge says.
          await move(tx, refund, 'reserved', { actor: 'provider', stepInS: AGAIN_S, detail: { reason: answer.code } });
          return;
        }
        await undo(tx, refund, 'failed', { actor: 'provider', code: answer.code, message: answer.message });
        return;
      case 'unavailable':
        await closeAttempt(tx, id, 'unavailable', answer.reason);
        await move(tx, refund, 'reserved', { actor: 'provider', stepInS: AGAIN_S, detail: { reason: answer.reason } });
        return;
      case 'unknown':
        await note(tx, id, { actor: 'provider', what: 'unknown', detail: { reason: answer.reason } });
    }
  });
}

async function complete(refund: Refund, made: ProviderRefund, tx: Tx): Promise<void> {
  const paid = { rail: 'omise', reference: made.id } as const;
  const done = await completePaid(tx, refund, paid, { actor: 'provider', detail: { voided: made.voided } });
  if (!done) throw new Error('a refund of the provider that was claimed before');
}

/** What became of a sending whose answer was lost. */
export async function lookAtProvider(deps: DriveDeps, refund: Refund): Promise<boolean> {
  const attempt = await openAttempt(deps.db, refund.id);
  if (!attempt) return true; // somebody has found out meanwhile: the state says what
  const seen = await deps.rail.check(attempt.target);
  await failpoint('refunds.look.after_check');
  if (seen.outcome !== 'ok') return postpone(deps, refund);
  return deps.db.transaction(async (tx) => {
    const locked = await lockRefund(tx, refund.id);
    if (locked.state !== 'sending') return false;
    const made = madeFor(seen.value, locked);
    if (made) {
      await closeAttempt(tx, locked.id, 'done', made.id);
      await complete(locked, made, tx);
      return false;
    }
    const isClear = isWhole(seen.value) && attempt.ageS >= GIVE_UP_AFTER_S && locked.looks + 1 >= GIVE_UP_LOOKS;
    if (!isClear) {
      await later(tx, locked, AGAIN_S);
      return false;
    }
    await closeAttempt(tx, locked.id, 'not_found', null);
    await move(tx, locked, 'reserved', { actor: 'provider', stepInS: 0, detail: { reason: 'not_found' } });
    await failpoint('refunds.look.before_commit');
    return true;
  });
}

const madeFor = ({ refunds: made }: Charge, { id }: Refund): ProviderRefund | undefined =>
  made.find(({ refundId }) => refundId === toWire('refund', id));

/** What the charge says has gone back is what its refunds are together: none is missing in the list. */
export const isWhole = ({ refundedAmount, refunds: made }: Charge): boolean =>
  made.reduce((sum, { amount }) => sum + amount, 0n) === refundedAmount;

async function postpone({ db }: DriveDeps, refund: Refund): Promise<false> {
  await db.transaction((tx) => later(tx, refund, AGAIN_S));
  return false;
}

async function chargeOf({ db }: DriveDeps, { subjectId }: Refund): Promise<string> {
  const { chargeId } = await db.transaction((tx) => lockPaidPurchase(tx, subjectId));
  if (chargeId === null) throw new Error('a refund through the provider of what it was not paid for');
  return chargeId;
}
