import type { FastifyReply, FastifyRequest } from 'fastify';
import type { FeedEvent } from '../delivery/feed.ts';
import { Problem } from './problem.ts';

/** Server-sent events (WHATWG HTML §9.2): `id` is a cursor that a reader sends back as Last-Event-ID. */

const HEARTBEAT_MS = 15_000; // below the idle time-outs of proxies
const MAX_UNSENT_BYTES = 1024 * 1024; // a reader that does not read is let go, and may come back
const LONGEST_MS = 3_600_000; // then the reader connects again, with its cursor
/** For routes that stream: the general limit on handlers is for replies that end. */
export const STREAM_TIMEOUT_MS = LONGEST_MS + 60_000;

/** Position after which the reader wants to go on; a cursor that is not ours is a 400. */
export function readCursor(request: FastifyRequest): bigint {
  const header = request.headers['last-event-id'];
  if (header === undefined || header === '') return 0n;
  if (typeof header !== 'string' || !/^e\d{1,18}$/.test(header)) throw new Problem('invalid_cursor');
  return BigInt(header.slice(1));
}

/** Writes batches of events until the source ends, the reader leaves, or an hour is over. */
export async function streamEvents(
  request: FastifyRequest,
  reply: FastifyReply,
  source: (signal: AbortSignal) => AsyncIterable<FeedEvent[] | bigint>,
  isLast: (event: FeedEvent) => boolean,
  write: (event: FeedEvent) => string = named,
): Promise<void> {
  const gone = new AbortController();
  const { raw } = reply;
  raw.once('close', () => gone.abort());
  if (raw.destroyed) gone.abort(); // the reader left before
  reply.hijack();
  raw.writeHead(200, {
    ...(reply.getHeaders() as Record<string, string>),
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no', // nginx would hold events back
  });
  raw.write(': farebox\nretry: 1000\n\n');
  const heartbeat = setInterval(() => raw.write(': still here\n\n'), HEARTBEAT_MS);
  const end = AbortSignal.any([gone.signal, AbortSignal.timeout(LONGEST_MS)]);
  try {
    for await (const batch of source(end)) {
      if (typeof batch === 'bigint') {
        raw.write(`id: ${placeId(batch)}\n\n`); // a reader that hears nothing comes back with it nevertheless
        continue;
      }
      raw.write(batch.map(write).join(''));
      if (batch.some(isLast) || raw.writableLength > MAX_UNSENT_BYTES) break;
    }
  } catch (fault) {
    // The head is sent, so no problem document can follow: the reader comes back with its cursor.
    request.log.warn({ err: fault, request_id: request.id }, 'an event stream broke off');
  } finally {
    clearInterval(heartbeat);
    raw.end();
  }
}

const body = (event: FeedEvent) =>
  JSON.stringify({ type: event.type, created_at: event.createdAt.toISOString(), data: event.payload });
/** An event of one subject. */
const named = (event: FeedEvent) => `id: e${event.seq}\nevent: ${event.type}\ndata: ${body(event)}\n\n`;
/** For a page of ours: it needs to know only that something happened. */
export const unnamed = (event: FeedEvent): string => `id: e${event.seq}\ndata: ${body(event)}\n\n`;

/** A place among the events of an account, as a reader keeps it. */
export const placeId = (place: bigint): string => `a${place.toString(36)}`;

/** The place after which a reader wants to go on, or null; one that is not ours is a 400. */
export function readPlace(request: FastifyRequest): bigint | null {
  const header = request.headers['last-event-id'];
  if (header === undefined || header === '') return null;
  if (typeof header !== 'string' || !/^a[0-9a-z]{1,25}$/.test(header)) throw new Problem('invalid_cursor');
  const place = [...header.slice(1)].reduce((sum, digit) => sum * 36n + BigInt(Number.parseInt(digit, 36)), 0n);
  if (place >= 1n << 127n || BigInt.asUintN(64, place) >= 1n << 63n) throw new Problem('invalid_cursor');
  return place;
}
