import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Webhook } from 'standardwebhooks';

/** `data` of a `run.dispatched` message: what an executor is promised. */
export interface RunData {
  run_id: string;
  attempt: number;
  service: unknown;
  workflow: unknown;
  input: unknown;
  deadline: string;
  callback_url: string;
  callback_token: string;
  /** Of a run that is paid part by part: how many parts are paid, of how many. */
  parts?: { paid: number; of: number };
}

/** One POST as it arrived, whether it was accepted or not. */
export interface ReceivedRun {
  receivedAt: Date;
  /** Path without the query. */
  path: string;
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
  /** The exact text that was signed; empty when it was over the cap. */
  body: string;
  signature: 'valid' | 'invalid' | 'unchecked';
  /** Null: accepted. */
  refusal: Refusal | null;
  /** '' and 0 when the body did not say. */
  runId: string;
  attempt: number;
  /** How often this run id was accepted, this time included; 0 for a refused one. */
  nth: number;
  data: RunData | null;
}

export type AcceptedRun = ReceivedRun & { data: RunData };

export interface Refusal {
  status: 400 | 401 | 413;
  reason: string;
}

const MAX_BODY_BYTES = 256 * 1024; // Farebox takes inputs up to 64 KiB; the rest is room for its envelope

/** The request's body, or null when it is over the cap. The rest is read and dropped, so that the 413 can be heard. */
export async function readBody(request: IncomingMessage): Promise<string | null> {
  const kept: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes <= MAX_BODY_BYTES) kept.push(chunk);
  }
  return bytes <= MAX_BODY_BYTES ? Buffer.concat(kept).toString('utf8') : null;
}

/** Judges one POST as the documentation tells executor authors to: the signature first, then the contract. */
export function receive(headers: IncomingHttpHeaders, url: URL, body: string | null, verifier?: Webhook): ReceivedRun {
  const run = { receivedAt: new Date(), path: url.pathname, query: url.searchParams, headers, nth: 0 };
  const nothing = { runId: '', attempt: 0, data: null };
  if (body === null) {
    const refusal: Refusal = { status: 413, reason: `the body is over ${MAX_BODY_BYTES} bytes` };
    return { ...run, ...nothing, body: '', signature: 'unchecked', refusal };
  }
  const forged = verifier ? whyForged(verifier, body, headers) : null;
  const signature = !verifier ? 'unchecked' : forged === null ? 'valid' : 'invalid';
  const message = readJson(body);
  const data = dataOf(message);
  const named = { runId: data.run_id ?? '', attempt: data.attempt ?? 0 };
  if (forged !== null) {
    return { ...run, ...named, data: null, body, signature, refusal: { status: 401, reason: forged } };
  }
  const breach = whyAgainstContract(message, data, headers);
  if (breach !== null || !isWhole(data)) {
    const refusal: Refusal = { status: 400, reason: breach ?? 'data is incomplete' };
    return { ...run, ...named, data: null, body, signature, refusal };
  }
  return { ...run, ...named, data, body, signature, refusal: null };
}

function whyForged(verifier: Webhook, body: string, headers: IncomingHttpHeaders): string | null {
  const names = ['webhook-id', 'webhook-timestamp', 'webhook-signature'];
  const signed = Object.fromEntries(names.map((name) => [name, String(headers[name] ?? '')]));
  try {
    verifier.verify(body, signed, { jsonParse: false });
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function readJson(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body);
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

/** Only what has the promised shape; the caller asks whether that is all of it. */
function dataOf(message: Record<string, unknown>): Partial<RunData> {
  const data = isObject(message['data']) ? message['data'] : {};
  const { run_id, attempt, service, workflow, input, deadline, callback_url, callback_token, parts } = data;
  const { paid, of } = isObject(parts) ? parts : {};
  return {
    ...(typeof run_id === 'string' && run_id !== '' && { run_id }),
    ...(Number.isSafeInteger(attempt) && { attempt: Number(attempt) }),
    ...(service !== undefined && { service }),
    ...(workflow !== undefined && { workflow }),
    ...('input' in data && { input }),
    ...(typeof deadline === 'string' && { deadline }),
    ...(typeof callback_url === 'string' && { callback_url }),
    ...(typeof callback_token === 'string' && callback_token !== '' && { callback_token }),
    ...(typeof paid === 'number' && typeof of === 'number' && { parts: { paid, of } }),
  };
}

const PROMISED = ['run_id', 'attempt', 'service', 'workflow', 'input', 'deadline', 'callback_url', 'callback_token'];

const isWhole = (data: Partial<RunData>): data is RunData => PROMISED.every((name) => name in data);

/** A stand-in that takes what the contract forbids would hide our mistakes, so it is strict. */
function whyAgainstContract(
  message: Record<string, unknown>,
  data: Partial<RunData>,
  headers: IncomingHttpHeaders,
): string | null {
  if (!/^application\/json\b/.test(headers['content-type'] ?? '')) return 'Content-Type is not application/json';
  if (message['type'] !== 'run.dispatched') return 'type is not run.dispatched';
  if (!isTime(message['timestamp'])) return 'timestamp is not a time';
  const missing = PROMISED.filter((name) => !(name in data));
  if (missing.length > 0) return `data lacks ${missing.join(', ')}`;
  if ((data.attempt ?? 0) < 1) return 'attempt is below 1';
  if (!isTime(data.deadline)) return 'deadline is not a time';
  if (!URL.canParse(data.callback_url ?? '')) return 'callback_url is not a URL';
  if (headers['webhook-id'] !== data.run_id) return 'webhook-id is not the run id';
  if (headers['idempotency-key'] !== data.run_id) return 'Idempotency-Key is not the run id';
  return null;
}

const isTime = (value: unknown) => typeof value === 'string' && !Number.isNaN(Date.parse(value));
