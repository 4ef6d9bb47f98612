import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import { readBody } from '../http/body.ts';
import { listen } from '../http/listener.ts';
import { isObject, type JsonObject } from '../json.ts';

export interface Received {
  headers: IncomingHttpHeaders;
  raw: Buffer;
  event: JsonObject;
  at: number;
}

/** The merchant's webhook address: keeps what arrives, in the order of arrival. */
export interface Receiver {
  url: string;
  received: Received[];
  keys(): string[];
  close(): Promise<void>;
}

/** `respond` may answer otherwise than 200, or not at all. */
export async function startReceiver(
  respond: (res: ServerResponse) => void = (res) => void res.end(),
): Promise<Receiver> {
  const received: Received[] = [];
  const listener = await listen({ host: '127.0.0.1', port: 0 }, async (req, res) => {
    const raw = await readBody(req, Number.MAX_SAFE_INTEGER);
    const event: unknown = JSON.parse(raw.toString('utf8'));
    received.push({ headers: req.headers, raw, event: isObject(event) ? event : {}, at: performance.now() });
    respond(res);
  });
  return {
    url: `http://127.0.0.1:${listener.port}/webhooks`,
    received,
    keys: () => received.map(({ event }) => String(event['key'])),
    close: () => listener.close(),
  };
}
