import { setTimeout as sleep } from 'node:timers/promises';

/** What a tour is made of: calls that must be answered as expected, and steps that are shown. */

const isColoured = process.stdout.isTTY === true && !process.env['NO_COLOR'];
export const paint = (code: number, text: string) => (isColoured ? `\x1b[${code}m${text}\x1b[0m` : text);

// biome-ignore lint/suspicious/noExplicitAny: replies are looked into as they come
export type Json = any;

let step = 0;

export interface Call {
  method: string;
  url: string;
  body?: unknown;
  headers?: Record<string, string>;
  /** Status that is expected. */
  status: number;
}

export class TourFault extends Error {}

export async function call({ method, url, body, headers = {}, status }: Call): Promise<Json> {
  const reply = await fetch(url, {
    method,
    redirect: 'manual',
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await reply.text();
  if (reply.status !== status)
    throw new TourFault(`${method} ${url} answered ${reply.status} instead of ${status}:\n${text}`);
  return text === '' ? null : JSON.parse(text);
}

/** Shows a step: what it is, the request in one line, the important part of the reply. */
export function show(title: string, request: string, facts: Record<string, unknown>): void {
  step += 1;
  console.log(`${paint(32, '✓')} ${String(step).padStart(2)}  ${paint(1, title)}`);
  console.log(`       ${paint(2, request)}`);
  for (const [name, value] of Object.entries(facts)) console.log(`       ${name.padEnd(11)} ${String(value)}`);
  console.log('');
}

export async function until<T>(look: () => Promise<T>, isDone: (seen: T) => boolean, what: string): Promise<T> {
  for (let tries = 0; tries < 200; tries += 1) {
    const seen = await look();
    if (isDone(seen)) return seen;
    await sleep(100);
  }
  throw new TourFault(`${what} did not happen within 20 s`);
}
