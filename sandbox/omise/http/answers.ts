import type { ServerResponse } from 'node:http';
import type { JsonObject } from '../json.ts';

/** A complete reply, held in the hand before it is sent, so that a fault can spoil it. */
export interface Answer {
  status: number;
  type: string;
  body: string | Buffer;
  headers?: Record<string, string>;
}

const JSON_TYPE = 'application/json; charset=utf-8';

export function jsonAnswer(status: number, body: JsonObject | JsonObject[]): Answer {
  return { status, type: JSON_TYPE, body: JSON.stringify(body) };
}

export function imageAnswer(png: Buffer): Answer {
  return { status: 200, type: 'image/png', body: png };
}

/** 303: after a form was posted the browser must fetch the next page with GET. */
export function seeOther(location: string): Answer {
  return { status: 303, type: 'text/plain; charset=utf-8', body: '', headers: { location } };
}

export function withHeaders(answer: Answer, headers: Record<string, string>): Answer {
  return { ...answer, headers: { ...headers, ...answer.headers } };
}

export function writeHead(res: ServerResponse, answer: Answer): void {
  res.writeHead(answer.status, {
    ...answer.headers,
    'content-type': answer.type,
    ...(answer.status === 204 ? {} : { 'content-length': Buffer.byteLength(answer.body) }),
  });
}

/** Resolves when the bytes are handed to the system, or when the reader has left. */
export function send(res: ServerResponse, answer: Answer): Promise<void> {
  return new Promise((resolve) => {
    res.once('close', resolve);
    writeHead(res, answer);
    res.end(answer.body, () => resolve());
  });
}
