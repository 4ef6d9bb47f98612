/** Numbers as people read them, on every page alike. */

/** `฿500.00`; minor units of an ISO 4217 currency. */
export function money(minor: bigint, currency: string): string {
  const format = new Intl.NumberFormat('en-US', { style: 'currency', currency, currencyDisplay: 'narrowSymbol' });
  const digits = format.resolvedOptions().maximumFractionDigits ?? 2;
  return format.format(Number(minor) / 10 ** digits);
}

/** `1,200 credits` */
export const count = (credits: bigint): string => counted(credits, 'credit');

/** `1 refund`, `1,200 refunds` */
export const counted = (n: bigint | number, noun: string): string =>
  `${new Intl.NumberFormat('en-US').format(n)} ${noun}${BigInt(n) === 1n ? '' : 's'}`;
