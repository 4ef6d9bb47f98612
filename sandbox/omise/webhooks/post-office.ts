import { setTimeout as sleep } from 'node:timers/promises';
import { newId } from '../ids.ts';
import type { EventRecord } from '../objects/events.ts';
import type { World } from '../state.ts';
import { type Letter, lettersFor, plainLetter } from './letters.ts';
import { createPoster, type Poster } from './poster.ts';
import { corrupted, signatures } from './signature.ts';

/** The deliveries of one operation: in flight for `settled()` from now on, on their way when told. */
export interface Batch {
  /** Delivers what must overtake the answer to the call that caused it. */
  beforeAnswer(): Promise<void>;
  release(): void;
}

export interface PostOffice {
  take(world: World, events: EventRecord[]): Batch;
  /** Delivers once more, without any fault. */
  replay(world: World, event: EventRecord): void;
  /** Resolves when nothing is in flight, also nothing that is delayed or held back. */
  settled(): Promise<void>;
  inFlight(): number;
  close(): void;
}

const TIMEOUT_MS = 10_000;
/** A letter that waits for a later one goes anyway after this, or the last event of a test would never arrive. */
const HOLD_MS = 500;

export function createPostOffice(timeoutMs = TIMEOUT_MS): PostOffice {
  const poster: Poster = createPoster(timeoutMs);
  const flights = new Set<Promise<void>>();
  let waiting: (() => void)[] = [];

  function track(flight: Promise<void>): Promise<void> {
    // What fails here is aborted by close(): a failed delivery is recorded, not thrown.
    const safe = flight.catch(() => {}).finally(() => flights.delete(safe));
    flights.add(safe);
    return safe;
  }

  async function carry(world: World, letter: Letter): Promise<void> {
    const { signal } = world.stopping;
    if (letter.delayMs > 0) await sleep(letter.delayMs, undefined, { signal });
    if (letter.heldBack) await laterArrival(signal);
    await Promise.all(letter.event.endpoints.map((uri) => deliver(world, poster, letter, uri)));
    if (letter.heldBack) return;
    for (const go of waiting.splice(0)) go();
  }

  function laterArrival(signal: AbortSignal): Promise<unknown> {
    const called = new Promise<void>((resolve) => waiting.push(resolve));
    return Promise.race([called, sleep(HOLD_MS, undefined, { signal })]);
  }

  return {
    take(world, events) {
      const letters = events.flatMap((event) => lettersFor(world, event));
      const early = letters.filter((letter) => letter.beforeAnswer);
      const { promise: released, resolve: release } = Promise.withResolvers<void>();
      for (const letter of letters) {
        if (!letter.beforeAnswer) track(released.then(() => carry(world, letter)));
      }
      return {
        async beforeAnswer() {
          await Promise.all(early.map((letter) => track(carry(world, letter))));
        },
        release,
      };
    },
    replay(world, event) {
      track(carry(world, plainLetter(event)));
    },
    async settled() {
      while (flights.size > 0) await Promise.all(flights);
    },
    inFlight: () => flights.size,
    close() {
      poster.close();
      waiting = [];
    },
  };
}

const SECOND_MS = 1000;

async function deliver(world: World, poster: Poster, letter: Letter, uri: string): Promise<void> {
  // As recorded: indented, with a line feed at the end. Whoever verifies a re-serialised body will notice.
  const payload = `${JSON.stringify(letter.body, null, 2)}\n`;
  const outcome = await poster.post(uri, payload, sealOf(world, letter, payload));
  letter.event.deliveries.push({
    id: newId(world, 'whdl'),
    uri,
    key: String(letter.body['key']),
    payload,
    at: world.clock.now(),
    ...outcome,
  });
}

function sealOf(world: World, letter: Letter, payload: string): Record<string, string> {
  if (letter.seal === 'none' || world.webhookSecrets.length === 0) return {};
  const timestamp = String(Math.floor(world.clock.wall() / SECOND_MS) - letter.ageS);
  const valid = signatures(world.webhookSecrets, timestamp, payload);
  return {
    'omise-signature': letter.seal === 'corrupt' ? corrupted(valid) : valid,
    'omise-signature-timestamp': timestamp,
  };
}

/** Sends what the operation just done has recorded, when there is no API answer to wait for. */
export function flush(world: World): void {
  world.post.take(world, world.outbox.splice(0)).release();
}
