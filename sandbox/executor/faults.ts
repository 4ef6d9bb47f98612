import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

/** A bad way of sending a good reply. Settles when it has sent what it sends, or when the caller is gone. */
export type Fault = (wire: Wire) => Promise<void>;

export interface Wire {
  response: ServerResponse;
  status: number;
  headers: Record<string, string>;
  /** The reply that a good executor would send. */
  payload: string;
}

const FLOOD_CHUNK = 'a'.repeat(64 * 1024);

/** Never answers. The caller ends it, or `reset()` or `close()` do. */
export const hang =
  (): Fault =>
  async ({ response }) => {
    await gone(response);
  };

/** Resets the connection (RST) before any reply. */
export const reset =
  (): Fault =>
  async ({ response }) => {
    response.socket?.resetAndDestroy();
  };

/** Announces the whole reply, sends a part of it (half, unless told), and closes the socket. */
export const cut =
  (afterBytes?: number): Fault =>
  async ({ response, status, headers, payload }) => {
    const whole = Buffer.from(payload);
    response.writeHead(status, { ...headers, 'content-length': whole.length });
    const part = whole.subarray(0, afterBytes ?? Math.floor(whole.length / 2));
    if (part.length === 0) response.flushHeaders();
    else await new Promise<void>((sent) => response.write(part, () => sent()));
    response.socket?.destroySoon();
  };

/** The headers at once, then a blank now and then (JSON allows blanks in front), at last the reply. */
export const drip =
  ({ everyMs = 200, bytes = 600 } = {}): Fault =>
  async ({ response, status, headers, payload }) => {
    response.writeHead(status, headers).flushHeaders();
    const left = new AbortController();
    response.once('close', () => left.abort());
    for (let sent = 0; sent < bytes && !response.destroyed; sent += 1) {
      response.write(' ');
      await sleep(everyMs, undefined, { signal: left.signal }).catch(() => {});
    }
    response.end(payload);
  };

/** Declares a length that is wrong by so many bytes: above 0 the reply ends too early, below 0 bytes are left over. */
export const lie =
  (byBytes = 10): Fault =>
  async ({ response, status, headers, payload }) => {
    const length = Math.max(0, Buffer.byteLength(payload) + byBytes);
    const lines = Object.entries({ ...headers, 'content-length': length }).map(([name, value]) => `${name}: ${value}`);
    // Past node:http, which would not let two lengths disagree.
    response.socket?.end(`HTTP/1.1 ${status} OK\r\n${lines.join('\r\n')}\r\n\r\n${payload}`);
  };

/** Well-formed JSON of so many bytes; `declared` says whether the length is announced. */
export const flood =
  ({ bytes = 2 * 1024 * 1024, declared = false } = {}): Fault =>
  async ({ response, status, headers }) => {
    response.writeHead(status, declared ? { ...headers, 'content-length': bytes } : headers);
    const callerLeft = gone(response);
    response.write('"');
    for (let left = bytes - 2; left > 0 && !response.destroyed; left -= FLOOD_CHUNK.length) {
      const more = response.write(left < FLOOD_CHUNK.length ? FLOOD_CHUNK.slice(0, left) : FLOOD_CHUNK);
      if (!more) await Promise.race([once(response, 'drain'), callerLeft]);
    }
    response.end('"');
  };

async function gone(response: ServerResponse): Promise<void> {
  if (!response.destroyed) await new Promise((done) => response.once('close', done));
}
