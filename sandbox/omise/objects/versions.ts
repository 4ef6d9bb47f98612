import { badRequest } from '../http/refusals.ts';
import { isObject, type Json, type JsonObject } from '../json.ts';

export const CURRENT_VERSION = '2019-05-29';

/** Names before 2019-05-29. */
const OLD_NAMES: Record<string, string> = { created_at: 'created', paid: 'captured', refunded_amount: 'refunded' };
const LOWER_CASE = new Set(['currency', 'funding_currency']);

export function checkedVersion(version: string): string {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(version)) throw badRequest(`API version ${version} is not supported`);
  return version;
}

/** An object as a version of the API writes it; the objects of the stand-in are of the current one. */
export function inVersion(version: string, body: JsonObject): JsonObject {
  return version < CURRENT_VERSION ? olderObject(body) : body;
}

function olderObject(body: JsonObject): JsonObject {
  // Events keep the version they were recorded in, whatever version the reader asks for.
  if (body['object'] === 'event') return body;
  const renamed = Object.entries(body).map(([name, value]) => [OLD_NAMES[name] ?? name, olderValue(name, value)]);
  return Object.fromEntries(renamed);
}

function olderValue(name: string, value: Json): Json {
  if (name === 'metadata') return value; // the merchant's own words
  if (LOWER_CASE.has(name) && typeof value === 'string') return value.toLowerCase();
  if (Array.isArray(value)) return value.map((entry) => olderValue('', entry));
  return isObject(value) ? olderObject(value) : value;
}
