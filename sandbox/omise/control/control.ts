import type { IncomingHttpHeaders } from 'node:http';
import { stamp } from '../clock.ts';
import type { ArmedFault } from '../faults/book.ts';
import type { FaultRule } from '../faults/rules.ts';
import type { JsonObject } from '../json.ts';
import type { AccountSettings } from '../objects/account.ts';
import { type EventRecord, eventJson } from '../objects/events.ts';
import type { World } from '../state.ts';
import { act, type ChargeOperations, chargeOperations } from './operations.ts';

/** The test's hand on the stand-in; the control port offers the same over HTTP. */
export interface OmiseControl extends ChargeOperations {
  now(): Date;
  /** Moves the stand-in's clock; what expires meanwhile expires now, with its events. */
  advanceClock(ms: number): Date;

  /** Arms a rule and returns its id. Rules stay until they are cleared or used up. */
  fault(rule: FaultRule): string;
  faults(): ArmedFault[];
  clearFaults(id?: string): void;

  events(): JsonObject[];
  /** Delivers past events again, without faults; returns how many. */
  replayWebhooks(which?: WhichEvents): number;
  /** Resolves when no delivery is in flight, delayed or held back. */
  settled(): Promise<void>;

  /** Changes what is given and returns the whole. */
  account(change?: Partial<AccountSettings>): AccountSettings;
  /** One secret, two while it is being rotated, none for unsigned deliveries; base64. */
  webhookSecrets(secrets: string[]): void;
  honourIdempotencyKey(honour: boolean): void;

  /** Number of calls by endpoint: `POST /charges`, `GET /charges/:id`. */
  calls(): Record<string, number>;
  lastHeaders(endpoint: string): IncomingHttpHeaders | null;
  /** Charges made by calls to the API, by `metadata.attempt_id`. */
  chargesPerAttempt(): Record<string, number>;
  state(): OmiseState;
}

interface WhichEvents {
  event?: string;
  charge?: string;
  key?: string;
}

interface OmiseState {
  now: string;
  account: AccountSettings;
  faults: ArmedFault[];
  calls: Record<string, number>;
  last_headers: Record<string, IncomingHttpHeaders>;
  charges_per_attempt: Record<string, number>;
  deliveries_in_flight: number;
  charges: JsonObject[];
  events: JsonObject[];
}

export function createControl(world: World): OmiseControl {
  const control: OmiseControl = {
    ...chargeOperations(world),
    now: () => new Date(world.clock.now()),
    advanceClock: (ms) => advance(world, ms),
    fault: (rule) => world.faults.arm(rule),
    faults: () => world.faults.list(),
    clearFaults: (id) => world.faults.clear(id),
    events: () => act(world, () => [...world.events.values()].map(eventJson)),
    replayWebhooks: (which = {}) => replay(world, which),
    settled: () => world.post.settled(),
    account: (change = {}) => Object.assign(world.account, change),
    webhookSecrets: (secrets) => {
      world.webhookSecrets = secrets;
    },
    honourIdempotencyKey: (honour) => {
      world.honourIdempotencyKey = honour;
    },
    calls: () => world.traffic.calls(),
    lastHeaders: (endpoint) => world.traffic.lastHeaders()[endpoint] ?? null,
    chargesPerAttempt: () => chargesPerAttempt(world),
    state: () => stateOf(world, control),
  };
  return control;
}

function advance(world: World, ms: number): Date {
  world.clock.advance(ms);
  return act(world, () => new Date(world.clock.now()));
}

function replay(world: World, which: WhichEvents): number {
  const events = [...world.events.values()].filter((event) => isMeant(event, which));
  for (const event of events) world.post.replay(world, event);
  return events.length;
}

function isMeant(event: EventRecord, { event: id, charge, key }: WhichEvents): boolean {
  return (id ?? event.id) === event.id && (charge ?? event.charge) === event.charge && (key ?? event.key) === event.key;
}

/** Twins and link payments are not counted: the merchant did not make them; nor does a spoofed id count. */
function chargesPerAttempt(world: World): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { attempt } of world.charges.values()) {
    if (attempt !== null) counts[attempt] = (counts[attempt] ?? 0) + 1;
  }
  return counts;
}

function stateOf(world: World, control: OmiseControl): OmiseState {
  return {
    now: stamp(world.clock.now()),
    account: world.account,
    faults: control.faults(),
    calls: control.calls(),
    last_headers: world.traffic.lastHeaders(),
    charges_per_attempt: control.chargesPerAttempt(),
    deliveries_in_flight: world.post.inFlight(),
    charges: control.charges(),
    events: control.events(),
  };
}
