import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault } from './faults.ts';
import type { AcceptedRun } from './receive.ts';
import type { Report, Reporter } from './report.ts';

/** Describes what is done with one dispatch. `{}` is a good 200 with `null`. */
export interface Answer {
  /** Default: 202 when there are reports, else 200. */
  status?: number;
  headers?: Record<string, string>;
  /** The reply as JSON. */
  json?: unknown;
  /** Sent as it is, instead of `json`. */
  text?: string;
  /** Waits before the work and the reply. */
  delayMs?: number;
  /** Sends the reply badly. */
  fault?: Fault;
  /**
   * Whether the work is done before the reply. Default: yes when the status is 2xx, but 202. So `{ fault: reset() }` did
   * the work and lost the reply, and `{ fault: reset(), works: false }` did nothing. A `complete` report does the work, too.
   */
  works?: boolean;
  /** Callbacks after the reply, whether or not it arrived, one after the other. */
  reports?: Report[];
  /** Pause before each report; with 0 the first may overtake the reply. */
  everyMs?: number;
}

/** What one path does. */
export interface Behaviour {
  /** `/slow`, or `/status/:code`. */
  path: string;
  /** One line for whoever starts the stand-in alone. */
  about: string;
  answer(run: AcceptedRun, setting: Setting): Answer | Promise<Answer>;
}

/** What all behaviours of one executor share. */
export interface Setting {
  /** Pause before each callback, unless the query says another. */
  callbackDelayMs: number;
  onDie(run: AcceptedRun): void | Promise<void>;
}

/** What the server lends to an answer. */
export interface Means {
  response: ServerResponse;
  /** Aborts when the executor is reset or closed: then nothing more is done. */
  signal: AbortSignal;
  reporter: Reporter;
  /** Does the run's work: once for each run id, however often it is called. */
  work(runId: string): void;
}

/** Replies and then reports, as described. Rejects only when the signal aborts. */
export async function perform(answer: Answer, run: AcceptedRun, means: Means): Promise<void> {
  means.signal.throwIfAborted();
  if (answer.delayMs !== undefined) await sleep(answer.delayMs, undefined, { signal: means.signal });
  const status = answer.status ?? (answer.reports ? 202 : 200);
  if (answer.works ?? (status >= 200 && status < 300 && status !== 202)) means.work(run.runId);
  await send({ ...answer, status }, means.response);
  for (const report of answer.reports ?? []) {
    await sleep(answer.everyMs ?? 0, undefined, { signal: means.signal });
    if (report.to === 'complete') means.work(run.runId);
    await means.reporter.insist(run, report, means.signal);
  }
}

/** Settles when the reply was handed over; a caller who went away meanwhile is no error. */
export async function send(answer: Answer & { status: number }, response: ServerResponse): Promise<void> {
  if (response.destroyed) return;
  const { status } = answer;
  const payload = answer.text ?? JSON.stringify(answer.json ?? null);
  const headers = { 'content-type': 'application/json', ...answer.headers };
  if (answer.fault) return answer.fault({ response, status, headers, payload });
  const bodiless = status === 204 || status === 304; // RFC 9110 §15: these have no content
  response.writeHead(status, bodiless ? answer.headers : { ...headers, 'content-length': Buffer.byteLength(payload) });
  response.end(bodiless ? undefined : payload);
}
