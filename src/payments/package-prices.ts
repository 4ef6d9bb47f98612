import { asc, eq, inArray } from 'drizzle-orm';
import { z } from 'zod';
import type { Db, Tx } from '../platform/database/clients.ts';
import { invalidField } from '../platform/http/problem.ts';
import type { EvmRail } from './rails/evm/evm.ts';
import { displayAmount, readAmount } from './rails/evm/terms.ts';
import { packagePrices } from './tables.ts';

/** What packages cost on chain. The operator sets it; nobody else's rate decides what a customer pays. */

export const PriceOut = z
  .object({
    asset: z.string().describe('CAIP-19'),
    amount: z.string().describe('base units, a decimal string'),
    display: z.string().describe('for people, such as "12.5 USDC"'),
  })
  .meta({ id: 'PackagePrice' });

export interface Price {
  packageId: string;
  asset: string;
  amount: string;
}

/** Replaces the prices of a package. A 422 for an asset that is not taken here, or an amount that is none. */
export async function setPrices(
  tx: Tx,
  evm: EvmRail,
  packageId: string,
  prices: { asset: string; amount: string }[],
): Promise<Price[]> {
  prices.forEach(({ asset, amount }, at) => {
    if (!evm.assets.some(({ id }) => id === asset))
      throw invalidField(`/prices/${at}/asset`, 'is not taken here', 'asset_unsupported');
    if (readAmount(amount) === undefined)
      throw invalidField(`/prices/${at}/amount`, 'is not a positive number of base units', 'amount_invalid');
    if (prices.findIndex((one) => one.asset === asset) !== at)
      throw invalidField(`/prices/${at}/asset`, 'is named twice', 'validation_failed');
  });
  await tx.delete(packagePrices).where(eq(packagePrices.packageId, packageId));
  const rows = prices.map((one) => ({ packageId, ...one }));
  if (rows.length > 0) await tx.insert(packagePrices).values(rows);
  return rows;
}

export const pricesOf = (on: Db | Tx, packageIds: string[]): Promise<Price[]> =>
  packageIds.length === 0
    ? Promise.resolve([])
    : on
        .select()
        .from(packagePrices)
        .where(inArray(packagePrices.packageId, packageIds))
        .orderBy(asc(packagePrices.packageId), asc(packagePrices.asset));

/** In assets that are still taken. */
export const renderPrices = (evm: EvmRail, prices: Pick<Price, 'asset' | 'amount'>[]): z.infer<typeof PriceOut>[] =>
  prices.flatMap(({ asset, amount }) => {
    const known = evm.assets.find(({ id }) => id === asset);
    return known ? [{ asset, amount, display: `${displayAmount(amount, known.decimals)} ${known.symbol}` }] : [];
  });
