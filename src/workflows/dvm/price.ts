import { eq } from 'drizzle-orm';
import type { Db, Tx } from '../../platform/database/clients.ts';
import { msatPerCredit } from '../asks/policy.ts';
import { asks } from '../asks/tables.ts';
import { runs } from '../tables.ts';
import type { DvmDeps } from './deps.ts';
import type { Price } from './say.ts';

/** What so many credits of an ask cost by Lightning, as its quote says; `undefined` where it is not paid so. */
export async function priceOf(
  on: Db | Tx,
  { invoicing }: Pick<DvmDeps, 'invoicing'>,
  askId: string,
  credits: bigint,
): Promise<Price | undefined> {
  const [row] = await on
    .select({ quote: runs.quote, expiresAt: asks.expiresAt, kind: asks.kind })
    .from(asks)
    .innerJoin(runs, eq(runs.id, asks.runId))
    .where(eq(asks.id, askId));
  const perCredit = row?.quote && msatPerCredit(row.quote);
  if (!row || perCredit === null || perCredit === undefined) return undefined;
  const invoice = await invoicing.shown(on, askId, credits);
  return {
    amountMsat: credits * perCredit,
    ...invoice,
    ...(row.kind === 'result' ? {} : { expiresAt: row.expiresAt }),
  };
}
