import { isObject, type Json, type JsonObject } from '../json.ts';
import { badRequest } from './refusals.ts';

// Form fields and query values are always text, so "500" and "true" count as a number and a boolean everywhere.

export function textField(input: JsonObject, name: string): string | null {
  const value = input[name];
  if (value === undefined || value === null || value === '') return null;
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return String(value);
  throw badRequest(`${name} must be a string`);
}

export function requiredText(input: JsonObject, name: string): string {
  const value = textField(input, name);
  if (value === null) throw badRequest(`${name} can't be blank`);
  return value;
}

export function integerField(input: JsonObject, name: string): number | null {
  const value = input[name];
  if (value === undefined || value === null || value === '') return null;
  const number = typeof value === 'string' && /^-?\d+$/.test(value) ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isSafeInteger(number)) throw badRequest(`${name} must be an integer`);
  return number;
}

export function requiredInteger(input: JsonObject, name: string): number {
  const value = integerField(input, name);
  if (value === null) throw badRequest(`${name} can't be blank`);
  return value;
}

export function flagField(input: JsonObject, name: string): boolean | null {
  const value = input[name];
  if (value === undefined || value === null || value === '') return null;
  if (value === true || value === 'true') return true;
  if (value === false || value === 'false') return false;
  throw badRequest(`${name} must be true or false`);
}

export function objectField(input: JsonObject, name: string): JsonObject | null {
  const value = input[name];
  if (value === undefined || value === null) return null;
  if (!isObject(value)) throw badRequest(`${name} must be an object`);
  return value;
}

/** Milliseconds; accepts a date or a date with time. */
export function timeField(input: JsonObject, name: string): number | null {
  const value = textField(input, name);
  if (value === null) return null;
  const time = Date.parse(value);
  if (Number.isNaN(time)) throw badRequest(`${name} is not a valid date`);
  return time;
}

export function textList(input: JsonObject, name: string): string[] {
  const value: Json | undefined = input[name];
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw badRequest(`${name} must be an array`);
  return value.map((entry) => {
    if (typeof entry !== 'string') throw badRequest(`${name} must be an array of strings`);
    return entry;
  });
}
