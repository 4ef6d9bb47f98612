import type { LookupFunction } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';

/**
 * A connection that comes back: pinged, so that a cut network is noticed, and made anew with longer and longer pauses. By
 * the `ws` package: under Node's own WebSocket nothing can be pinged, and an abrupt end is not always told.
 */
export interface Socket {
  readonly isOpen: boolean;
  /** False when it could not be sent: there is no connection, or it does not take any more. */
  send(message: unknown[]): boolean;
  /** Stops reading until `resume`: whoever sends too much has to wait. */
  pause(): void;
  resume(): void;
  close(): void;
}

export interface SocketOptions {
  url: string;
  /** How names become addresses; guarded where a stranger has named the relay. */
  lookup?: LookupFunction | undefined;
  onOpen(): void;
  onMessage(message: unknown[]): void;
  onDown(): void;
  /** `false`: it ends with its first connection, or with the attempt. */
  isLasting: boolean;
  /** It will not come back. */
  onEnded(): void;
  pingEveryMs?: number | undefined;
}

const MAX_MESSAGE_BYTES = 512 * 1024; // relays take events of up to 256 KiB
const MAX_ANSWER_BYTES = 16 * 1024; // on one errand: what became of an event, or who we are
const MAX_ANSWERS = 50; // on one errand: whoever was asked for nothing has little to say
const MAX_WAITING_BYTES = 4 * 1024 * 1024; // written, and not taken by the other side
const HANDSHAKE_MS = 10_000;
const PING_EVERY_MS = 20_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 60_000;
/** A connection that has lasted so long was a good one: the next pause is a short one again. */
const GOOD_AFTER_MS = 10_000;

export function openSocket(options: SocketOptions): Socket {
  const ending = new AbortController();
  let current: WebSocket | undefined;
  let isPaused = false;

  /** One connection, from the attempt to its end; resolves to how long it was open. */
  const connectOnce = async (): Promise<number> => {
    const { url, lookup, isLasting } = options;
    const over = Promise.withResolvers<void>();
    const socket = dial(url, lookup, isLasting ? MAX_MESSAGE_BYTES : MAX_ANSWER_BYTES);
    if (!socket) return 0;
    current = socket;
    let openedAt: number | undefined;
    let isAnswering = true;
    let answers = 0;
    const ping = setInterval(() => {
      if (isPaused || openedAt === undefined) return; // nothing is read meanwhile, answers included
      if (!isAnswering) return socket.terminate();
      isAnswering = false;
      socket.ping();
    }, options.pingEveryMs ?? PING_EVERY_MS);
    socket.on('open', () => {
      openedAt = performance.now();
      isPaused = false;
      options.onOpen();
    });
    socket.on('pong', () => {
      isAnswering = true;
    });
    socket.on('message', (data, isBinary) => {
      isAnswering = true;
      answers += 1;
      if (!isLasting && answers > MAX_ANSWERS) return socket.terminate();
      const message = isBinary ? undefined : arrayOf(String(data));
      if (message) options.onMessage(message);
    });
    socket.on('error', () => {}); // a close follows
    socket.on('close', () => over.resolve());
    const end = () => socket.terminate();
    ending.signal.addEventListener('abort', end);
    await over.promise;
    ending.signal.removeEventListener('abort', end);
    clearInterval(ping);
    current = undefined;
    if (openedAt !== undefined) options.onDown();
    return openedAt === undefined ? 0 : performance.now() - openedAt;
  };

  const keepConnected = async () => {
    for (let failures = 0; !ending.signal.aborted; ) {
      const lastedMs = await connectOnce();
      if (!options.isLasting || ending.signal.aborted) return options.onEnded();
      failures = lastedMs > GOOD_AFTER_MS ? 0 : failures + 1;
      const pause = Math.min(FIRST_PAUSE_MS * 2 ** failures, LONGEST_PAUSE_MS) * (0.5 + Math.random() / 2);
      await sleep(pause, undefined, { signal: ending.signal }).catch(() => {});
    }
    options.onEnded();
  };
  void keepConnected();

  return {
    get isOpen() {
      return current?.readyState === WebSocket.OPEN;
    },
    send: (message) => {
      if (current?.readyState !== WebSocket.OPEN || current.bufferedAmount > MAX_WAITING_BYTES) return false;
      current.send(JSON.stringify(message));
      return true;
    },
    pause: () => {
      isPaused = true;
      current?.pause();
    },
    resume: () => {
      isPaused = false;
      current?.resume();
    },
    close: () => ending.abort(),
  };
}

/** `undefined` for an address that the library does not even try, such as one with a fragment. */
function dial(url: string, lookup: LookupFunction | undefined, maxPayload: number): WebSocket | undefined {
  try {
    return new WebSocket(url, {
      ...{ maxPayload, perMessageDeflate: false, handshakeTimeout: HANDSHAKE_MS },
      ...{ followRedirects: false, minVersion: 'TLSv1.2' as const },
      ...(lookup ? { lookup } : {}),
    });
  } catch {
    return undefined;
  }
}

function arrayOf(text: string): unknown[] | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
