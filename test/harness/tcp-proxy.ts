import { once } from 'node:events';
import { createServer, type Server, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export type Direction = 'to-server' | 'to-client';

/** `before` is the end of what was let through already, so that a message that two chunks share is still found. */
export type ChunkTest = (chunk: Buffer, direction: Direction, before: Buffer) => boolean;

/** A fault that waits for its moment. */
export interface Trap {
  /** How often it has cut. */
  readonly cuts: number;
  /** Settles at the first cut; rejects when the test itself threw, which cuts, too. */
  readonly sprung: Promise<void>;
  disarm(): void;
}

export interface TcpProxy {
  readonly host: string;
  readonly port: number;
  /** Connections that are open on either side. */
  readonly connections: number;
  /** Connections ever accepted. */
  readonly accepted: number;
  /** The same URL, through the proxy. For `cutOn` the traffic must be readable: no TLS. */
  url(direct: string): string;
  /** Heals: no latency, no black hole, no trap, and it listens. What a black hole held arrives now, as after a lost route. */
  pass(): Promise<void>;
  /** Every chunk, and every end, arrives so much later, in order, in both directions. */
  latency(ms: number): void;
  /** Accepts and says nothing, on open connections, too; no side learns that the other closes. Until `pass`. */
  blackHole(): void;
  /** New connections are refused (ECONNREFUSED), open ones go on. Until `pass`. */
  refuse(): void;
  /** Resets (RST) both sides of every open connection, now. */
  resetAll(): void;
  /** On every open connection that side is gone and the other one has not noticed: what it sends is dropped. */
  halfOpen(gone: 'server' | 'client'): void;
  /** Lets so many more bytes of a connection through in that direction, then closes both sides; on `times` connections. */
  cutAfter(bytes: number, direction: Direction, options?: { times?: number }): Trap;
  /** Destroys both sides when a chunk passes the test, and that chunk never arrives; `times` times. */
  cutOn(test: ChunkTest, options?: { times?: number }): Trap;
  close(): Promise<void>;
}

const HOST = '127.0.0.1';
const MAX_HELD_BYTES = 1024 * 1024; // per direction; beyond it the sender feels a full window
const REMEMBERED_BYTES = 64; // longer than any message that a test looks for
const RELISTEN_MS = 2_000; // another process may have borrowed the port for a moment

/** PostgreSQL's CommandComplete of a COMMIT: type C, length 11, the tag. Who loses it does not know whether it committed. */
const COMMIT_REPLY = Buffer.from('C\0\0\0\x0bCOMMIT\0', 'latin1');

/** For `cutOn`: the server has committed and is about to say so. */
export const commitReply: ChunkTest = (chunk, direction, before) =>
  direction === 'to-client' && Buffer.concat([before.subarray(1 - COMMIT_REPLY.length), chunk]).includes(COMMIT_REPLY);

/** How many bytes of a chunk still pass before the connection is cut; null when it is not cut. */
type Snare = (link: Link, chunk: Buffer, direction: Direction, before: Buffer) => number | null;

/** What all connections of one proxy meet. */
interface Weather {
  latencyMs: number;
  /** Open while no black hole is there: settled. */
  route: Promise<void>;
  heal: () => void;
  snares: Set<Snare>;
  over: AbortSignal;
}

/** A TCP proxy to put between an application and any server, with the faults of a network. After `close` nothing is left. */
export async function startProxy(options: { target: { host?: string; port: number } }): Promise<TcpProxy> {
  const target = { host: HOST, ...options.target };
  const over = new AbortController();
  const weather: Weather = {
    latencyMs: 0,
    route: Promise.resolve(),
    heal: () => {},
    snares: new Set(),
    over: over.signal,
  };
  const links = new Set<Link>();
  let accepted = 0;
  const accept = (client: Socket) => {
    accepted += 1;
    const link = new Link(client, target, weather);
    links.add(link);
    void link.closed.then(() => links.delete(link));
  };
  let listener: Server | null = await listen(0, accept);
  const address = listener.address();
  if (address === null || typeof address === 'string') throw new Error('no address');
  const { port } = address;

  return {
    host: HOST,
    port,
    get connections() {
      return links.size;
    },
    get accepted() {
      return accepted;
    },
    url: (direct) => Object.assign(new URL(direct), { host: `${HOST}:${port}` }).href,
    pass: async () => {
      weather.latencyMs = 0;
      weather.snares.clear();
      weather.heal();
      listener ??= await listen(port, accept);
    },
    latency: (ms) => {
      weather.latencyMs = ms;
    },
    blackHole: () => {
      weather.heal(); // two black holes are one: who waits for the first goes on to wait for the second
      const { promise, resolve } = Promise.withResolvers<void>();
      Object.assign(weather, { route: promise, heal: resolve });
    },
    refuse: () => {
      listener?.close();
      listener = null;
    },
    resetAll: () => {
      for (const link of links) link.reset();
    },
    halfOpen: (gone) => {
      for (const link of links) link.lose(gone);
    },
    cutAfter: (bytes, direction, { times = 1 } = {}) => {
      const seen = new WeakMap<Link, number>();
      return setTrap(weather.snares, times, (link, chunk, going) => {
        if (going !== direction) return null;
        const before = seen.get(link) ?? 0;
        seen.set(link, before + chunk.length);
        return before + chunk.length >= bytes ? bytes - before : null;
      });
    },
    cutOn: (test, { times = 1 } = {}) =>
      setTrap(weather.snares, times, (_link, ...chunk) => (test(...chunk) ? 0 : null)),
    close: async () => {
      over.abort();
      weather.heal();
      listener?.close();
      for (const link of links) link.destroy();
      await Promise.all([...links].map((link) => link.closed));
    },
  };
}

async function listen(port: number, accept: (client: Socket) => void): Promise<Server> {
  for (const until = Date.now() + RELISTEN_MS; ; await sleep(20)) {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, accept);
    try {
      server.listen(port, HOST);
      await once(server, 'listening');
      return server;
    } catch (error) {
      if (Date.now() > until) throw error;
    }
  }
}

function setTrap(snares: Set<Snare>, times: number, allows: Snare): Trap {
  const { promise: sprung, resolve, reject } = Promise.withResolvers<void>();
  let cuts = 0;
  const judge: Snare = (...chunk) => {
    try {
      return allows(...chunk);
    } catch (error) {
      reject(error); // unhandled unless somebody waits for it: a mistake in a test is loud
      return 0;
    }
  };
  const snare: Snare = (...chunk) => {
    const allowed = judge(...chunk);
    if (allowed === null) return null;
    cuts += 1;
    if (cuts >= times) snares.delete(snare);
    resolve();
    return allowed;
  };
  snares.add(snare);
  return {
    get cuts() {
      return cuts;
    },
    sprung,
    disarm: () => void snares.delete(snare),
  };
}

/** One connection: the application's socket and the one to the server. */
class Link {
  readonly closed: Promise<unknown>;
  readonly #client: Socket;
  readonly #server = new Socket({ allowHalfOpen: true });
  readonly #weather: Weather;
  /** Nothing passes any more: it was cut, reset, or is half open. */
  #silent = false;

  constructor(client: Socket, target: { host: string; port: number }, weather: Weather) {
    this.#client = client;
    this.#weather = weather;
    const sides = [client, this.#server];
    this.closed = Promise.all(sides.map((side) => new Promise((done) => side.once('close', done))));
    const dialled = weather.route.then(() => {
      if (!this.#silent) this.#server.setNoDelay(true).connect(target);
    });
    this.#carry(client, this.#server, 'to-server', dialled);
    this.#carry(this.#server, client, 'to-client', dialled);
  }

  reset(): void {
    this.#silent = true;
    this.#client.resetAndDestroy();
    // A socket that was never connected has nothing to reset.
    if (this.#server.pending) this.#server.destroy();
    else this.#server.resetAndDestroy();
  }

  lose(gone: 'server' | 'client'): void {
    this.#silent = true;
    (gone === 'server' ? this.#server : this.#client).destroy();
  }

  destroy(): void {
    this.#silent = true;
    this.#client.destroy();
    this.#server.destroy();
  }

  /** Everything that `from` says, its end and its loss included, goes through one queue: latency and black hole delay all alike. */
  #carry(from: Socket, to: Socket, direction: Direction, dialled: Promise<void>): void {
    const { over } = this.#weather;
    let tail = dialled;
    let held = 0;
    let before: Buffer = Buffer.alloc(0);
    const enqueue = (bytes: number, deliver: () => unknown) => {
      const due = performance.now() + this.#weather.latencyMs;
      held += bytes;
      if (held > MAX_HELD_BYTES) from.pause();
      tail = tail
        .then(async () => {
          const early = due - performance.now();
          if (early > 0) await sleep(early, undefined, { signal: over });
          await this.#weather.route;
          if (!this.#silent) await deliver();
        })
        .catch(() => {}) // closed meanwhile
        .then(() => {
          held -= bytes;
          if (held <= MAX_HELD_BYTES) from.resume();
        });
    };
    from.on('error', () => {}); // 'close' follows and tells
    from.on('data', (chunk: Buffer) => {
      enqueue(chunk.length, async () => {
        for (const snare of this.#weather.snares) {
          const allowed = snare(this, chunk, direction, before);
          if (allowed !== null) return this.#cut(from, to, chunk.subarray(0, allowed));
        }
        before = Buffer.concat([before, chunk]).subarray(-REMEMBERED_BYTES);
        if (!to.write(chunk)) await Promise.race([once(to, 'drain'), once(to, 'close')]);
      });
    });
    from.on('end', () => {
      if (this.#silent) from.destroy();
      else enqueue(0, () => to.end());
    });
    from.on('close', (hadError) => enqueue(0, () => (hadError ? to.resetAndDestroy() : to.destroySoon())));
  }

  #cut(from: Socket, to: Socket, last: Buffer): void {
    this.#silent = true;
    if (last.length > 0) to.write(last);
    to.destroySoon(); // what was let through before still arrives
    from.destroy();
  }
}
