/** A behaviour was asked for in a way that it does not know; answered with 400, so that a typing error in a test shows. */
export class BadOption extends Error {}

/** A whole number from the query string, within bounds. */
export function wholeNumber(query: URLSearchParams, name: string, otherwise: number, max: number, min = 0): number {
  const text = query.get(name);
  if (text === null) return otherwise;
  const value = Number(text);
  if (text.trim() === '' || !Number.isSafeInteger(value) || value < min || value > max) {
    throw new BadOption(`${name} must be a whole number from ${min} to ${max}`);
  }
  return value;
}

/** `?name=1` or `?name=0`. */
export const yesOrNo = (query: URLSearchParams, name: string, otherwise: boolean): boolean =>
  wholeNumber(query, name, otherwise ? 1 : 0, 1) === 1;
