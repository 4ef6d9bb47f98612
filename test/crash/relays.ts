import { randomBytes } from 'node:crypto';
import type { NostrEvent } from 'nostr-tools/pure';
import { startRelay } from '../../sandbox/nostr/relay.ts';
import { publicKeyOf } from '../../src/platform/nostr/event.ts';
import { type Customer, newCustomer, settingsOf } from '../dvm/stage.ts';

/** Two relays that live on, whoever dies; both replicas listen to both. */
export interface RelaysHere {
  env: Record<string, string>;
  us: string;
  customer(): Customer;
  /** What was said about an event, in the order of its time; each once, on whichever relay it is. */
  about(id: string): NostrEvent[];
  /** Every connection ends, and whoever comes back is told again what it has not taken. */
  cut(): void;
  close(): Promise<void>;
}

export async function openRelaysHere(): Promise<RelaysHere> {
  const relays = [await startRelay(), await startRelay()];
  const secret = new Uint8Array(randomBytes(32));
  const us = publicKeyOf(secret);
  const urls = relays.map(({ url }) => url);
  return {
    env: settingsOf(secret, urls),
    us,
    customer: () => newCustomer(us, urls),
    about: (id) => {
      const all = relays.flatMap(({ control }) => control.events()).filter((one) => one.pubkey === us);
      const told = all.filter(({ tags }) => tags.some(([name, value]) => name === 'e' && value === id));
      return [...new Map(told.map((event) => [event.id, event])).values()].toSorted(
        (a, b) => a.created_at - b.created_at,
      );
    },
    cut: () => {
      for (const { control } of relays) control.cut();
    },
    close: async () => {
      for (const relay of relays) await relay.close();
    },
  };
}
