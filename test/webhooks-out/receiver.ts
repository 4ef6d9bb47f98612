import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'standardwebhooks';
import type { Json } from '../harness/client.ts';

/** One POST as it arrived. */
export interface Letter {
  path: string;
  /** `webhook-id`. */
  id: string;
  at: number;
  headers: IncomingHttpHeaders;
  text: string;
  body: Json;
  /** Checked with the npm package `standardwebhooks` when the receiver knows the secret of the path. */
  verified: boolean | undefined;
}

type Manner = (response: ServerResponse, letter: Letter) => void;

/** An account's own server that takes webhooks: at each path it answers as it was told to, 204 by itself. */
export interface Receiver {
  url: string;
  /** For WEBHOOK_ALLOW. */
  target: string;
  letters: Letter[];
  at(path: string): Letter[];
  answer(path: string, manner: Manner): void;
  expectSecret(path: string, secret: string): void;
  /** Calls that are open now, and the most that ever were. */
  open: Map<string, { now: number; most: number }>;
  close(): Promise<void>;
}

export const status =
  (code: number, headers: Record<string, string> = {}, text = ''): Manner =>
  (response) => {
    response.writeHead(code, headers).end(text);
  };
export const silence: Manner = () => {};

export async function startReceiver(): Promise<Receiver> {
  const letters: Letter[] = [];
  const manners = new Map<string, Manner>();
  const verifiers = new Map<string, Webhook>();
  const open: Receiver['open'] = new Map();
  const verify = (path: string, text: string, headers: IncomingHttpHeaders) => {
    const verifier = verifiers.get(path);
    if (!verifier) return undefined;
    try {
      return Boolean(verifier.verify(text, headers as Record<string, string>));
    } catch {
      return false;
    }
  };
  const server = createServer(async (request, response) => {
    const path = new URL(request.url ?? '/', 'http://x').pathname;
    const count = open.get(path) ?? { now: 0, most: 0 };
    open.set(path, count);
    count.now += 1;
    count.most = Math.max(count.most, count.now);
    response.once('close', () => {
      count.now -= 1;
    });
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString('utf8');
    // Somebody who called whoever had this port before: no letter.
    if (text === '') return void response.writeHead(400).end();
    const { headers } = request;
    const id = String(headers['webhook-id']);
    const verified = verify(path, text, headers);
    const letter = { path, id, at: Date.now(), headers, text, body: JSON.parse(text), verified };
    letters.push(letter);
    (manners.get(path) ?? status(204))(response, letter);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    target: `127.0.0.1:${port}`,
    letters,
    open,
    at: (path) => letters.filter((letter) => letter.path === path),
    answer: (path, manner) => manners.set(path, manner),
    expectSecret: (path, secret) => verifiers.set(path, new Webhook(secret)),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
