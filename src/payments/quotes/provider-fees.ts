/**
 * What the provider takes of a payment, as far as it can be said before it is made: the provider tells the fee of a charge
 * only once that is paid. The operator's contract decides, so the range is a setting.
 */
export interface ProviderFees {
  /** By kind of method, in basis points of the amount. */
  ranges: ReadonlyMap<string, { least: number; most: number }>;
  /** Tax on the fee, in basis points of it. */
  tax: number;
}

const WHOLE = 10_000n; // basis points

/** In minor units, tax included, the ends rounded outwards; `undefined`: nobody has said. */
export function providerFee(
  { ranges, tax }: ProviderFees,
  method: string,
  amount: bigint,
): { least: bigint; most: bigint } | undefined {
  const range = ranges.get(method.startsWith('mobile_banking_') ? 'mobile_banking' : method);
  if (!range) return undefined;
  const exact = (points: number) => amount * BigInt(points) * (WHOLE + BigInt(tax)); // times WHOLE²
  const [least, most] = [exact(range.least), exact(range.most)];
  return { least: least / WHOLE ** 2n, most: (most + WHOLE ** 2n - 1n) / WHOLE ** 2n };
}
