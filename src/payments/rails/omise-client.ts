import { AsyncLocalStorage } from 'node:async_hooks';
import http, { type ClientRequest, type IncomingMessage } from 'node:http';
import https from 'node:https';
import omise from 'omise';

/**
 * The npm client of Omise, contained. As it comes it has no deadline, hangs on a cut body, resolves on a 503 and cannot
 * be told a port. All of its traffic goes through the global agents, so guarded agents stand there; they act only
 * within `call` and are plain agents for everybody else.
 */

// The client reads these on every call; here the configuration alone decides.
for (const name of ['http_proxy', 'OMISE_SCHEME', 'DEBUG_OMISE']) delete process.env[name];
// Importing the client adds two methods to every promise of the process.
for (const name of ['error', 'done']) Reflect.deleteProperty(Promise.prototype, name);

const MAX_REPLY_BYTES = 8 * 1024 * 1024; // a page of 100 charges or events is below 1 MiB

/** The part of the client that is used. Its own types are not callable under NodeNext and lack members. */
export interface OmiseClient {
  account: { retrieve(): Promise<unknown> };
  capability: { retrieve(): Promise<unknown> };
  charges: {
    create(order: Record<string, unknown>): Promise<unknown>;
    retrieve(id: string): Promise<unknown>;
    list(query: Record<string, unknown>): Promise<unknown>;
    expire(id: string): Promise<unknown>;
    createRefund(id: string, order: Record<string, unknown>): Promise<unknown>;
  };
  events: { list(query: Record<string, unknown>): Promise<unknown> };
}

export const createOmiseClient = omise as unknown as (config: {
  secretKey: string;
  publicKey: string;
  host: string;
  scheme: string;
  omiseVersion: string;
}) => OmiseClient;

/** What the wire showed of a call, beside what the client made of it. */
export interface Trace {
  /** HTTP status, once there was one. */
  status: number | null;
  /** True once the request may have left this machine. */
  isSent: boolean;
}

interface Guard extends Trace {
  port: number;
  headers: Record<string, string>;
  request?: ClientRequest;
}

const current = new AsyncLocalStorage<Guard>();

class DeadlinePassed extends Error {
  readonly code = 'DEADLINE';
}

/** Runs one call of the client with a port, headers and an overall deadline. Rejects with whatever the client throws. */
export async function call<T>(
  options: { port: number; deadlineMs: number; headers: Record<string, string> },
  trace: Trace,
  work: () => Promise<T>,
): Promise<T> {
  const guard: Guard = Object.assign(trace, { port: options.port, headers: options.headers });
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      guard.request?.destroy(new DeadlinePassed('no answer in time'));
      reject(new DeadlinePassed('no answer in time'));
    }, options.deadlineMs);
  });
  try {
    return await Promise.race([current.run(guard, work), deadline]);
  } finally {
    clearTimeout(timer);
  }
}

type AddRequest = (request: ClientRequest, options: { port?: number | string | null }) => void;

/** What both agents do with a request made within `call`. */
function guardRequest(request: ClientRequest, options: { port?: number | string | null }): void {
  const guard = current.getStore();
  if (!guard) return;
  guard.request = request;
  options.port = guard.port;
  for (const [name, value] of Object.entries(guard.headers)) request.setHeader(name, value);
  request.once('socket', (socket) => {
    const sent = () => {
      guard.isSent = true;
    };
    // A socket that is taken from the pool is connected already; over TLS nothing is sent before the handshake is done.
    if (!socket.connecting) sent();
    else socket.once('encrypted' in socket ? 'secureConnect' : 'connect', sent);
  });
  request.once('response', (response) => watchReply(request, response, guard));
}

function watchReply(request: ClientRequest, response: IncomingMessage, guard: Guard): void {
  guard.status = response.statusCode ?? null;
  let size = 0;
  response.on('data', (chunk: string | Buffer) => {
    size += chunk.length;
    if (size > MAX_REPLY_BYTES) request.destroy(new Error('the reply is too large'));
  });
  // The client listens to neither `aborted` nor `error` of the reply, and would wait for ever.
  response.once('close', () => {
    if (!response.complete)
      request.emit('error', Object.assign(new Error('the reply was cut off'), { code: 'TRUNCATED' }));
  });
}

class GuardedHttpAgent extends http.Agent {
  addRequest(...args: Parameters<AddRequest>): void {
    guardRequest(...args);
    (http.Agent.prototype as unknown as { addRequest: AddRequest }).addRequest.apply(this, args);
  }
}

class GuardedHttpsAgent extends https.Agent {
  addRequest(...args: Parameters<AddRequest>): void {
    guardRequest(...args);
    (https.Agent.prototype as unknown as { addRequest: AddRequest }).addRequest.apply(this, args);
  }
}

http.globalAgent = new GuardedHttpAgent({ keepAlive: true });
https.globalAgent = new GuardedHttpsAgent({ keepAlive: true, minVersion: 'TLSv1.2' });
