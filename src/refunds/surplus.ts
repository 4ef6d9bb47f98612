import { z } from 'zod';
import type { Subscriber } from '../platform/delivery/subscriptions.ts';
import { Problem } from '../platform/http/problem.ts';
import { fromWire } from '../platform/ids.ts';
import { type Limits, requireOn } from './limits.ts';
import { recordRefund } from './request.ts';

const Surplus = z.object({ account_id: z.string(), credits: z.int() });

/**
 * Hears that a purchase brought more than was asked for, where that is to go back: it is asked back as its payer would. What
 * cannot go back by the provider (it was paid on chain, a limit is reached) stays what it is: the payer's credits.
 */
export const onSurplus =
  (limits: Limits): Subscriber =>
  async (tx, { subjectId: id, payload }) => {
    const { account_id, credits } = Surplus.parse(payload);
    const subject = { type: 'purchase', id, part: null } as const;
    const order = { accountId: fromWire('account', account_id), subject, amount: BigInt(credits) };
    try {
      requireOn(limits);
      await recordRefund(tx, limits, { ...order, target: 'original', reason: 'More than was asked for' }, null);
    } catch (fault) {
      if (!(fault instanceof Problem)) throw fault;
    }
  };
