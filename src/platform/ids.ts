import { randomUUIDv7 } from 'node:crypto';
import { fromString, TypeID, toUUID } from 'typeid-js';
import { Problem } from './http/problem.ts';

/** What an id names, and the prefix it carries on the wire (TypeID: prefix, underscore, 26 characters of base32). */
const prefixes = {
  account: 'acct',
  apiKey: 'key',
  ask: 'ask',
  challenge: 'chal',
  did: 'did',
  event: 'evt',
  hold: 'hold',
  order: 'ord',
  package: 'pkg',
  paymentRequest: 'preq',
  purchase: 'pur',
  receipt: 'rcpt',
  refund: 'rfd',
  run: 'run',
  service: 'svc',
  settlement: 'stl',
  transfer: 'xfer',
  wallet: 'wal',
  webhookDelivery: 'whd',
  webhookEndpoint: 'whe',
  workflow: 'wf',
} as const;

export type IdKind = keyof typeof prefixes;
export const prefixOf = (kind: IdKind): string => prefixes[kind];

export const isIdKind = (kind: string): kind is IdKind => kind in prefixes;

/** A new uuid v7: sorted by its time of birth. */
export const newId = (): string => randomUUIDv7();

/** uuid → `run_01jd…` */
export const toWire = (kind: IdKind, uuid: string): string => TypeID.fromUUID(prefixes[kind], uuid).toString();

/** `run_01jd…` → uuid. A wrong prefix or form is a 400. */
export function fromWire(kind: IdKind, id: string): string {
  try {
    return toUUID(fromString(id, prefixes[kind]));
  } catch {
    throw new Problem('invalid_id', `An id that begins with ${prefixes[kind]}_ is expected here.`);
  }
}
