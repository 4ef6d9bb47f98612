/** `Math.min` knows no bigint. */
export function least(first: bigint, ...others: bigint[]): bigint {
  let found = first;
  for (const one of others) if (one < found) found = one;
  return found;
}
