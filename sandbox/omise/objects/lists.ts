import { stamp } from '../clock.ts';
import { integerField, textField, timeField } from '../http/fields.ts';
import { badRequest } from '../http/refusals.ts';
import type { Call } from '../http/router.ts';
import type { Json, JsonObject } from '../json.ts';

const DEFAULT_LIMIT = 20;
const MAXIMUM_LIMIT = 100; // a guess: the vendor publishes none; more is cut down, not refused
const SECOND_MS = 1000;

export interface Shelf<T> {
  items: Iterable<T>;
  createdAt(item: T): number;
  json(item: T): Json;
  location: string;
}

/** A page of a list, with `from`, `to`, `order`, `limit` and `offset` of the query. */
export function listPage<T>(call: Call, shelf: Shelf<T>): JsonObject {
  const now = call.world.clock.now();
  const from = timeField(call.query, 'from') ?? 0;
  const to = timeField(call.query, 'to') ?? now;
  const order = orderOf(call.query);
  const limit = bounded(integerField(call.query, 'limit') ?? DEFAULT_LIMIT, 'limit', 1);
  const offset = bounded(integerField(call.query, 'offset') ?? 0, 'offset', 0);
  // Times on the wire have whole seconds, so a charge made in the second of `from` or `to` is inside.
  const inside = [...shelf.items].filter(
    (item) => shelf.createdAt(item) >= from && shelf.createdAt(item) < to + SECOND_MS,
  );
  if (order === 'reverse_chronological') inside.reverse();
  const taken = Math.min(limit, MAXIMUM_LIMIT);
  const data = inside.slice(offset, offset + taken).map(shelf.json);
  return envelope({ data, limit: taken, offset, total: inside.length, location: shelf.location, order, from, to });
}

/** A list inside an object, such as the refunds of a charge. */
export function embeddedList(data: Json[], location: string, now: number): JsonObject {
  const limit = DEFAULT_LIMIT;
  return envelope({ data, limit, offset: 0, total: data.length, location, order: 'chronological', from: 0, to: now });
}

interface Envelope {
  data: Json[];
  limit: number;
  offset: number;
  total: number;
  location: string;
  order: string;
  from: number;
  to: number;
}

function envelope({ from, to, ...rest }: Envelope): JsonObject {
  return { object: 'list', ...rest, from: stamp(from), to: stamp(to) };
}

export function orderOf(query: JsonObject, fallback = 'chronological'): string {
  const order = textField(query, 'order') ?? fallback;
  if (order !== 'chronological' && order !== 'reverse_chronological') throw badRequest('order is not valid');
  return order;
}

function bounded(value: number, name: string, least: number): number {
  if (value < least) throw badRequest(`${name} must be at least ${least}`);
  return value;
}
