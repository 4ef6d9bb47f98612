import { eq, inArray } from 'drizzle-orm';
import { z } from 'zod';
import type { Db, Tx } from '../../platform/database/clients.ts';
import { type invoices, lightningPrices } from './tables.ts';

const MsatOut = z.string().describe('millisatoshi, a decimal string');
/** Some 21 bitcoin: more is mistyped. */
export const MsatIn = z
  .string()
  .regex(/^[1-9]\d{0,15}$/, 'must be a positive whole number of millisatoshi, as a string')
  .transform(BigInt)
  .refine((msat) => msat <= 2_100_000_000_000_000n, 'must be 21000 bitcoin at most');

export const LightningPriceOut = z
  .object({ amount_msat: MsatOut, display: z.string().describe('for people, such as "1,500 sat"') })
  .meta({ id: 'LightningPrice' });

export const renderMsat = (msat: bigint): z.infer<typeof LightningPriceOut> => ({
  ...{ amount_msat: msat.toString(), display: displayMsat(msat) },
});

/** What a payer pays, while it can be paid. */
export const InvoiceOut = LightningPriceOut.extend({
  invoice: z.string().describe('BOLT 11'),
  payment_hash: z.string(),
});

export function renderInvoice({
  bolt11,
  paymentHash,
  amountMsat,
}: Pick<typeof invoices.$inferSelect, 'bolt11' | 'paymentHash' | 'amountMsat'>): z.infer<typeof InvoiceOut> {
  if (bolt11 === null || paymentHash === null) throw new Error('an open invoice that is none');
  return { invoice: bolt11, payment_hash: paymentHash, ...renderMsat(amountMsat) };
}

/** Satoshi, with up to three decimals. */
export function displayMsat(msat: bigint): string {
  const whole = new Intl.NumberFormat('en').format(msat / 1_000n);
  const rest = (msat % 1_000n).toString().padStart(3, '0').replace(/0+$/, '');
  return `${whole}${rest === '' ? '' : `.${rest}`} sat`;
}

/** Sets what a package costs in Lightning; `null`: it is not sold so. */
export async function setPrice(tx: Tx, packageId: string, amountMsat: bigint | null): Promise<void> {
  if (amountMsat === null) await tx.delete(lightningPrices).where(eq(lightningPrices.packageId, packageId));
  else
    await tx
      .insert(lightningPrices)
      .values({ packageId, amountMsat })
      .onConflictDoUpdate({ target: lightningPrices.packageId, set: { amountMsat } });
}

/** By the id of the package. */
export async function lightningPricesOf(on: Db | Tx, packageIds: string[]): Promise<Map<string, bigint>> {
  if (packageIds.length === 0) return new Map();
  const rows = await on.select().from(lightningPrices).where(inArray(lightningPrices.packageId, packageIds));
  return new Map(rows.map(({ packageId, amountMsat }) => [packageId, amountMsat]));
}
