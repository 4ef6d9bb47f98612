import { stamp } from '../clock.ts';
import { notFound } from '../http/refusals.ts';
import { type Call, idOf } from '../http/router.ts';
import { newId } from '../ids.ts';
import type { JsonObject } from '../json.ts';
import type { World } from '../state.ts';
import { listPage } from './lists.ts';
import { inVersion } from './versions.ts';

interface Delivery {
  id: string;
  uri: string;
  /** HTTP status of the receiver, or null when there was none. */
  status: number | null;
  error: string | null;
  key: string;
  payload: string;
  at: number;
}

export interface EventRecord {
  id: string;
  key: string;
  createdAt: number;
  livemode: boolean;
  /** The object as it was at that moment, in the account's API version of that moment. */
  data: JsonObject;
  /** The charge it is about, for fault rules and replays. */
  charge: string | null;
  /** Addresses to deliver to. */
  endpoints: string[];
  deliveries: Delivery[];
}

export interface Subject {
  /** The charge it is about. */
  charge?: string | null;
  /** Addresses of that charge, in place of the account's. */
  endpoints?: string[];
}

/** Notes that something happened; the delivery begins when the operation under way is over. */
export function record(world: World, key: string, data: JsonObject, subject: Subject = {}): EventRecord {
  const account = world.account.webhook_uri === null ? [] : [world.account.webhook_uri];
  const event: EventRecord = {
    id: newId(world, 'evnt'),
    key,
    createdAt: world.clock.now(),
    livemode: world.account.livemode,
    data: structuredClone(inVersion(world.account.api_version, data)),
    charge: subject.charge ?? null,
    endpoints: subject.endpoints?.length ? subject.endpoints : account,
    deliveries: [],
  };
  world.events.set(event.id, event);
  world.outbox.push(event);
  return event;
}

export function eventJson(event: EventRecord): JsonObject {
  return { ...eventBody(event), webhook_deliveries: event.deliveries.map(deliveryJson) };
}

/** The event as it is posted: before any delivery. */
export function eventBody(event: EventRecord): JsonObject {
  return {
    object: 'event',
    id: event.id,
    livemode: event.livemode,
    location: `/events/${event.id}`,
    webhook_deliveries: [],
    data: event.data,
    key: event.key,
    created_at: stamp(event.createdAt),
  };
}

function deliveryJson(delivery: Delivery): JsonObject {
  const { id, uri, status, key, error, payload, at } = delivery;
  // Recorded as `2023-03-02 10:27:09 UTC`, unlike every other time.
  const created_at = `${stamp(at).slice(0, 19).replace('T', ' ')} UTC`;
  return { object: 'webhook_delivery', id, uri, status, key, error, payload, created_at };
}

export function listEvents(call: Call): JsonObject {
  return listPage(call, {
    items: call.world.events.values(),
    createdAt: (event) => event.createdAt,
    json: eventJson,
    location: '/events',
  });
}

export function readEvent(call: Call): JsonObject {
  const event = call.world.events.get(idOf(call));
  if (event === undefined) throw notFound('event', idOf(call));
  return eventJson(event);
}
