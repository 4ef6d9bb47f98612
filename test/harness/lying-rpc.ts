import { createServer, type ServerResponse } from 'node:http';
import { onTestFinished } from 'vitest';

// biome-ignore lint/suspicious/noExplicitAny: replies of a node, to be bent at will
type Json = any;
/** A node that stands between, and tells what the test wants it to. */
export interface LyingRpc {
  url: string;
  /** How often it was asked for each method. */
  asked: Map<string, number>;
  /** Changes what was really answered; `undefined` leaves it. */
  lie(about: Lie): void;
  /** Refuses, as JSON-RPC does, what the test picks. */
  refuse(which: (method: string, params: Json[]) => boolean): void;
  /** Answers by itself, whatever was asked. */
  say(answer: (response: ServerResponse, method: string) => void): void;
  honest(): void;
}

export type Lie = (method: string, result: Json, params: Json[]) => Json | undefined;

export async function startLyingRpc(upstream: string): Promise<LyingRpc> {
  let lie: Lie = () => undefined;
  let refuses = (_method: string, _params: Json[]) => false;
  let say: ((response: ServerResponse, method: string) => void) | undefined;
  const asked = new Map<string, number>();
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString('utf8');
    const { id, method, params } = JSON.parse(body);
    asked.set(method, (asked.get(method) ?? 0) + 1);
    if (say) return say(response, method);
    if (refuses(method, params)) {
      const error = { code: -32_005, message: 'query returned more than the allowed number of results' };
      response.end(JSON.stringify({ jsonrpc: '2.0', id, error }));
      return;
    }
    const reply = await fetch(upstream, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    const told: Json = await reply.json();
    const lied = lie(method, structuredClone(told.result), params);
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(lied === undefined ? told : { ...told, result: lied }));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no address');
  return {
    url: `http://127.0.0.1:${address.port}`,
    asked,
    lie: (about) => {
      lie = about;
    },
    refuse: (which) => {
      refuses = which;
    },
    say: (answer) => {
      say = answer;
    },
    honest: () => {
      lie = () => undefined;
      refuses = () => false;
      say = undefined;
    },
  };
}
