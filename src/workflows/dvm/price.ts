import { eq } from 'drizzle-orm';
import type { Db, Tx } from '../../platform/database/clients.ts';
import type { RunQuote } from '../asks/policy.ts';
import { asks } from '../asks/tables.ts';
import { runs } from '../tables.ts';
import type { Price } from './say.ts';

/** What so many credits of an ask cost by Lightning, as its quote says; `undefined` where it is not paid so. */
export async function priceOf(on: Db | Tx, askId: string, credits: bigint): Promise<Price | undefined> {
  const [row] = await on
    .select({ quote: runs.quote, expiresAt: asks.expiresAt, kind: asks.kind })
    .from(asks)
    .innerJoin(runs, eq(runs.id, asks.runId))
    .where(eq(asks.id, askId));
  const perCredit = row?.quote && msatPerCredit(row.quote);
  if (!row || perCredit === null || perCredit === undefined) return undefined;
  return { amountMsat: credits * perCredit, ...(row.kind === 'result' ? {} : { expiresAt: row.expiresAt }) };
}

export const msatPerCredit = ({ rails }: Pick<RunQuote, 'rails'>): bigint | null => {
  const terms = rails.find((one) => one.rail === 'lightning');
  return terms ? BigInt(terms.price_per_credit) : null;
};
