import { and, eq, gt, ne, notInArray, sql } from 'drizzle-orm';
import type { Config } from '../platform/config.ts';
import type { Tx } from '../platform/database/clients.ts';
import { Problem, retryLater } from '../platform/http/problem.ts';
import type { Quote } from './subjects.ts';
import { refunds } from './tables.ts';

/** What goes back at most, and what goes back without anybody looking. All in credits, whatever money it is. */
export interface Limits {
  isOn: boolean;
  /** Up to this no operator is asked. */
  auto: bigint;
  each: bigint;
  perDay: bigint;
  perAccountDay: bigint;
}

export const limitsOf = (config: Config): Limits => ({
  isOn: config.REFUNDS === 'on',
  auto: BigInt(config.REFUND_AUTO_CREDITS),
  each: BigInt(config.REFUND_MAX_CREDITS),
  perDay: BigInt(config.REFUND_MAX_CREDITS_PER_DAY),
  perAccountDay: BigInt(config.REFUND_MAX_CREDITS_PER_ACCOUNT_DAY),
});

const ON_AGAIN_S = 300;

/** 503 while the operator has stopped refunds. */
export function requireOn({ isOn }: Limits): void {
  if (!isOn) throw retryLater('refunds_off', ON_AGAIN_S);
}

/** Without a price in credits it is a person's to decide. */
export const needsApproval = ({ auto }: Limits, quote: Quote): boolean =>
  quote.needsApproval || quote.worth === null || quote.worth > auto;

/**
 * 409 when a refund of money would be more than goes back at once. Whoever asks at the same moment waits, so that all of
 * them together stay below. Credits for credits leave no money: they are not counted.
 */
export async function checkLimits(tx: Tx, limits: Limits, accountId: string, { rail, worth }: Quote): Promise<void> {
  if (rail === 'credits' || worth === null) return;
  if (worth > limits.each) throw new Problem('refund_limit_reached');
  await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended('refunds.limits', 0))`);
  const counted = and(
    gt(refunds.createdAt, sql`now() - interval '1 day'`),
    ne(refunds.rail, 'credits'),
    notInArray(refunds.state, ['rejected', 'failed']),
  );
  const [sums] = await tx
    .select({
      all: sql<string>`coalesce(sum(${refunds.worth}), 0)`,
      own: sql<string>`coalesce(sum(${refunds.worth}) filter (where ${eq(refunds.accountId, accountId)}), 0)`,
    })
    .from(refunds)
    .where(counted);
  const [all, own] = [BigInt(sums?.all ?? 0), BigInt(sums?.own ?? 0)];
  if (all + worth > limits.perDay || own + worth > limits.perAccountDay) throw new Problem('refund_limit_reached');
}
