import type { IncomingMessage } from 'node:http';
import { isObject, type JsonObject } from '../json.ts';
import { badRequest } from './refusals.ts';

const BODY_LIMIT_BYTES = 1_048_576; // far above any real request; keeps a runaway test from filling the memory

export async function readBody(req: IncomingMessage, limitBytes = BODY_LIMIT_BYTES): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of req) {
    size += chunk.length;
    if (size > limitBytes) throw badRequest('request body is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** JSON or form fields, whichever the content type says; an empty body is an empty object. */
export function parseBody(contentType: string | undefined, body: Buffer): JsonObject {
  if (body.length === 0) return {};
  const text = body.toString('utf8');
  if (contentType?.startsWith('application/x-www-form-urlencoded')) return parseFields(text);
  return parseJson(text);
}

function parseJson(text: string): JsonObject {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw badRequest('request body is not valid JSON');
  }
  if (!isObject(parsed)) throw badRequest('request body must be a JSON object');
  return parsed;
}

/** `card[name]=A&webhook_endpoints[]=…` as Rails reads it; query strings are read the same way. */
export function parseFields(text: string): JsonObject {
  const root: JsonObject = {};
  for (const [name, value] of new URLSearchParams(text)) place(root, pathOf(name), value);
  return root;
}

function pathOf(name: string): string[] {
  const [head = '', ...rest] = name.split('[');
  return [head, ...rest.map((part) => part.replace(/\]$/, ''))];
}

function place(root: JsonObject, path: string[], value: string): void {
  const [key = '', next, ...rest] = path;
  if (key === '__proto__') return;
  if (next === undefined) {
    root[key] = value;
  } else if (next === '' && rest.length === 0) {
    const list = root[key];
    root[key] = Array.isArray(list) ? [...list, value] : [value];
  } else {
    const child = root[key];
    const holder = isObject(child) ? child : {};
    root[key] = holder;
    place(holder, [next, ...rest], value);
  }
}
