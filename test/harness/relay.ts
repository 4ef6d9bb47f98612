import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';

/** An HTTP server between a client and Farebox: it counts, and can answer by itself, keep silent or lose answers. */
export interface Relay {
  url: string;
  /** What was asked, oldest first: `POST /orders/…`. */
  calls: string[];
  /** Where calls go from now on. */
  leadTo(url: string): void;
  /** From now on; without an argument everything passes again. */
  meet(trouble?: Trouble): void;
  close(): Promise<void>;
}

/**
 * What happens to a call. `pass` asks Farebox and gives what it answered, for the trouble to do with it as it likes. Whoever
 * returns false has not touched the reply: it passes.
 */
export type Trouble = (call: {
  what: string;
  reply: ServerResponse;
  pass(): Promise<Passed>;
}) => Promise<boolean> | boolean;

interface Passed {
  status: number;
  headers: Record<string, string>;
  body: Buffer;
}

/** Of one connection, not of the message. */
const HOP = new Set(['connection', 'keep-alive', 'transfer-encoding', 'content-length', 'content-encoding', 'host']);

export async function openRelay(): Promise<Relay> {
  let target = '';
  let trouble: Trouble | undefined;
  const calls: string[] = [];
  const handle = async (request: IncomingMessage, reply: ServerResponse) => {
    const what = `${request.method} ${request.url}`;
    calls.push(what);
    const body = await buffer(request);
    let passed: Promise<Passed> | undefined;
    const pass = () => {
      passed ??= forward(target, request, body);
      return passed;
    };
    if (trouble && (await trouble({ what, reply, pass }))) return;
    const { status, headers, body: answer } = await pass();
    reply.writeHead(status, headers).end(answer);
  };
  const server = createServer((request, reply) => {
    handle(request, reply).catch(() => reply.destroy());
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    leadTo: (url) => {
      target = url;
    },
    meet: (next) => {
      trouble = next;
    },
    close: async () => {
      const closed = new Promise((done) => server.close(done));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function forward(target: string, request: IncomingMessage, body: Buffer): Promise<Passed> {
  const headers = Object.entries(request.headers).filter(([name]) => !HOP.has(name));
  const answer = await fetch(target + request.url, {
    ...{ method: request.method ?? 'GET', redirect: 'manual', headers: headers as [string, string][] },
    ...(body.length === 0 ? {} : { body: new Uint8Array(body) }),
  });
  return {
    status: answer.status,
    headers: Object.fromEntries([...answer.headers].filter(([name]) => !HOP.has(name))),
    body: Buffer.from(await answer.arrayBuffer()),
  };
}
