import { type IdKind, isIdKind, toWire } from '../ids.ts';

/**
 * Every type of event that an account can be told of, and what its subject is: something with an id of its own kind, or
 * a word for a cause whose id is shown as it is. Each context lists its own; `src/events.ts` collects them.
 */
export type EventTypes = Readonly<Record<string, IdKind | 'grant' | 'adjustment'>>;

/** What the platform itself tells. */
export const platformEvents = {
  'platform.webhook_endpoint_disabled': 'webhookEndpoint',
} as const satisfies EventTypes;

/** An event as it lies in the database. */
export interface StoredEvent {
  id: string;
  seq: bigint;
  type: string;
  accountId: string | null;
  subjectId: string;
  payload: unknown;
  createdAt: Date;
}

/** An event as accounts see it: in a webhook, a list or a stream alike. Within a subject `seq` is the order. */
export interface WireEvent {
  id: string;
  type: string;
  timestamp: string;
  seq: number;
  data: Record<string, unknown>;
}

/** `data` is as thin as the payload: who wants more reads the object, whose state may be a newer one by now. */
export function renderEvent(types: EventTypes, event: StoredEvent): WireEvent {
  return {
    id: toWire('event', event.id),
    type: event.type,
    timestamp: event.createdAt.toISOString(),
    seq: Number(event.seq),
    data: {
      ...subjectOf(types[event.type], event.subjectId),
      ...(event.accountId === null ? {} : { account_id: toWire('account', event.accountId) }),
      ...(event.payload as Record<string, unknown>),
    },
  };
}

function subjectOf(kind: EventTypes[string] | undefined, id: string) {
  if (kind === undefined) return {};
  return { object: snakeCase(kind), id: isIdKind(kind) ? toWire(kind, id) : id };
}

const snakeCase = (word: string) => word.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** What an endpoint may ask for: a type, all types of a context (`payments.*`), or all (`*`). */
export const filtersOf = (types: EventTypes): string[] => {
  const names = Object.keys(types);
  return ['*', ...new Set(names.map((name) => `${name.split('.', 1)[0]}.*`)), ...names];
};
