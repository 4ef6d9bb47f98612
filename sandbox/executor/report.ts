import { Agent, request } from 'node:http';
import { Agent as TlsAgent, request as tlsRequest } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AcceptedRun } from './receive.ts';

/** One callback to Farebox. */
export interface Report {
  to: 'progress' | 'parts' | 'complete' | 'fail';
  body: Record<string, unknown>;
}

/** A callback that was made, and what came back; `status` null with a `fault` when nothing did. */
export interface ReportMade extends Report {
  runId: string;
  attempt: number;
  status: number | null;
  reply: string;
  fault: string | null;
}

export interface Reporter {
  /** One try. Never throws: what went wrong is in `fault`. */
  post(run: AcceptedRun, report: Report): Promise<ReportMade>;
  /** As a good executor does it: again a few times while Farebox is away (429, 5xx, no connection). */
  insist(run: AcceptedRun, report: Report, signal: AbortSignal): Promise<void>;
  close(): void;
}

const CALL_TIMEOUT_MS = 5_000; // a callback is one short transaction at Farebox's side
const MAX_REPLY_CHARS = 64 * 1024;
const TRIES = 4;
const PAUSE_MS = 100; // doubled each time: the tries span 0.7 s, long enough for a failover in a test

/** Makes callbacks over connections of its own, which `close` ends. `made` learns of each try. */
export function openReporter(made: (report: ReportMade) => void): Reporter {
  const agent = new Agent({ keepAlive: true });
  const tlsAgent = new TlsAgent({ keepAlive: true });
  const closing = new AbortController();

  async function post(run: AcceptedRun, report: Report): Promise<ReportMade> {
    const answer = await call(run, report).catch((error: Error) => ({ status: null, reply: '', fault: error.message }));
    const done = { ...report, runId: run.runId, attempt: run.attempt, fault: null, ...answer };
    made(done);
    return done;
  }

  function call(run: AcceptedRun, report: Report): Promise<{ status: number; reply: string }> {
    const url = new URL(`${run.data.callback_url}/${report.to}`);
    const options = {
      method: 'POST',
      headers: { authorization: `Bearer ${run.data.callback_token}`, 'content-type': 'application/json' },
      signal: AbortSignal.any([closing.signal, AbortSignal.timeout(CALL_TIMEOUT_MS)]),
    };
    return new Promise((resolve, reject) => {
      const secure = url.protocol === 'https:';
      const sent = secure ? tlsRequest(url, { ...options, agent: tlsAgent }) : request(url, { ...options, agent });
      sent.once('error', reject);
      sent.once('response', (response) => {
        let reply = '';
        response.setEncoding('utf8').on('data', (text: string) => {
          reply = (reply + text).slice(0, MAX_REPLY_CHARS);
        });
        response.once('error', reject);
        response.once('end', () => resolve({ status: response.statusCode ?? 0, reply }));
      });
      sent.end(JSON.stringify(report.body));
    });
  }

  async function insist(run: AcceptedRun, report: Report, signal: AbortSignal): Promise<void> {
    for (let left = TRIES - 1, pauseMs = PAUSE_MS; ; left -= 1, pauseMs *= 2) {
      const { status } = await post(run, report);
      if (left === 0 || (status !== null && status !== 429 && status < 500)) return;
      await sleep(pauseMs, undefined, { signal });
    }
  }

  const close = () => {
    closing.abort(new Error('the executor was closed'));
    agent.destroy();
    tlsAgent.destroy();
  };
  return { post, insist, close };
}
