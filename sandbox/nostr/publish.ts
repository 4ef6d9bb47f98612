import { type Event, finalizeEvent } from 'nostr-tools/pure';
import { WebSocket } from 'ws';

const WITHIN_MS = 3_000;

/** One connection for one event; a relay that is away is passed over. */
export async function publish(url: string, event: Event): Promise<void> {
  const socket = new WebSocket(url);
  const over = Promise.withResolvers<void>();
  const late = setTimeout(over.resolve, WITHIN_MS);
  socket.on('open', () => socket.send(JSON.stringify(['EVENT', event])));
  socket.on('message', () => over.resolve());
  socket.on('error', () => over.resolve());
  await over.promise;
  clearTimeout(late);
  socket.close();
}

/** The profile of a key (NIP-01, kind 0), as whoever holds it publishes it with any client. */
export const profileOf = (secret: string, profile: Record<string, string>): Event =>
  finalizeEvent(
    { kind: 0, created_at: Math.floor(Date.now() / 1000), tags: [], content: JSON.stringify(profile) },
    Uint8Array.fromHex(secret),
  );
