import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type ServerOptions } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createOmiseRail, type OmiseOptions } from '../../src/payments/rails/omise.ts';
import type { Rail } from '../../src/payments/rails/rail.ts';
import type { Json } from '../harness/client.ts';

export interface Asked {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
}

/** What to say: a whole reply, or whatever the function does with the response. */
export type Says =
  | { status?: number; type?: string; body: string }
  | ((response: ServerResponse, asked: Asked) => unknown);

/** A server that answers what a test tells it to: for replies that no provider in its right mind would give. */
export interface CannedProvider {
  url: string;
  says: Says;
  asked: Asked[];
  /** Connections that were opened. */
  connections: number;
  close(): Promise<void>;
}

export async function startCannedProvider(tls?: ServerOptions): Promise<CannedProvider> {
  const server = tls ? createTlsServer(tls) : createServer();
  const provider: CannedProvider = {
    url: '',
    says: { status: 401, body: '' }, // what is asked before the test has said anything is not asked again
    asked: [],
    connections: 0,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  server.on(tls ? 'secureConnection' : 'connection', () => {
    provider.connections += 1;
  });
  server.on('tlsClientError', () => {});
  server.on('request', async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method = '', url: path = '', headers } = request;
    const asked = { method, path, headers, body: Buffer.concat(chunks).toString() };
    provider.asked.push(asked);
    if (typeof provider.says === 'function') return provider.says(response, asked);
    const { status = 200, type = 'application/json', body } = provider.says;
    return response.writeHead(status, { 'content-type': type }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  provider.url = `${tls ? 'https' : 'http'}://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return provider;
}

export const SECRET_KEY = 'skey_test_5cannedprovider';

/** A rail that talks to it, as nobody configures it but a test: with a short deadline. */
export const railTo = (url: string, more: Partial<OmiseOptions> = {}): Rail =>
  createOmiseRail({
    url,
    secretKey: SECRET_KEY,
    publicKey: 'pkey_test_5cannedprovider',
    deadlineMs: 1_000,
    webhookUrl: null,
    currency: 'THB',
    onCall: () => {},
    ...more,
  });

/** Passes everything on to a stand-in; what it answers to the making of a charge is given to `change` first. */
export const passOn =
  (to: string, change: (charge: Json) => Json): Says =>
  async (response, { method, path, headers, body }) => {
    const { authorization = '', 'content-type': type = 'application/json' } = headers;
    const reply = await fetch(to + path, {
      method,
      headers: { authorization, 'content-type': String(type), 'omise-version': '2019-05-29' },
      ...(method === 'GET' ? {} : { body }),
    });
    const told = (await reply.json()) as Json;
    const isMaking = method === 'POST' && path === '/charges' && reply.ok;
    response.writeHead(reply.status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(isMaking ? change(told) : told));
  };
