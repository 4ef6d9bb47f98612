import { readRetryAfter } from '../platform/delivery/retries.ts';
import { signedHeaders } from '../platform/delivery/standard-webhooks.ts';
import { type Egress, EgressFault, type EgressReply } from '../platform/egress.ts';
import { depthOf } from '../platform/http/body.ts';
import type { Failure } from './finish.ts';

/**
 * One call of an executor and what it means for the run:
 * `done` with an output; `accepted`: it works on and reports through the callbacks; `retry`: again later, the fault may
 * pass; `failed`: for good; `unsent` and `cut`: this process is on its way out, before the call or in the midst of it.
 */
export type Verdict =
  | { outcome: 'done'; output: unknown }
  | { outcome: 'accepted' }
  | { outcome: 'retry'; failure: Failure; afterMs: number }
  | { outcome: 'failed'; failure: Failure }
  | { outcome: 'unsent' | 'cut' };

export interface Call {
  url: string;
  runId: string;
  body: string;
  secrets: string[];
  timeoutMs: number;
}

const RETRIED = new Set([408, 425, 429]);
const MAX_OUTPUT_DEPTH = 64; // PostgreSQL's own limit is deeper, but nobody reads such output

/** Calls the executor, signed; never throws for what happens on the network. */
export async function callExecutor(egress: Egress, call: Call): Promise<Verdict> {
  const headers = {
    'content-type': 'application/json',
    'user-agent': 'Farebox',
    'idempotency-key': call.runId,
    ...signedHeaders(call.runId, call.body, call.secrets, new Date()),
  };
  try {
    return judge(await egress.post(call.url, { headers, body: call.body, timeoutMs: call.timeoutMs }));
  } catch (fault) {
    if (!(fault instanceof EgressFault)) throw fault;
    if (fault.kind === 'unsent' || fault.kind === 'cut') return { outcome: fault.kind };
    const failure = { code: `executor_${fault.kind}`, message: fault.message };
    const isLasting = fault.kind === 'blocked' || fault.kind === 'too_large';
    return isLasting ? { outcome: 'failed', failure } : { outcome: 'retry', failure, afterMs: 0 };
  }
}

function judge({ status, headers, body }: EgressReply): Verdict {
  if (status === 202) return { outcome: 'accepted' };
  if (status >= 200 && status < 300) return readOutput(body);
  const failure = { code: 'executor_refused', message: `The executor answered ${status}.` };
  if (RETRIED.has(status) || status >= 500) {
    return {
      outcome: 'retry',
      failure: { ...failure, code: 'executor_unavailable' },
      afterMs: readRetryAfter(headers['retry-after']),
    };
  }
  if (status >= 300 && status < 400) return { outcome: 'failed', failure: { ...failure, code: 'executor_redirected' } };
  return { outcome: 'failed', failure };
}

/** JSON, whatever the content type says; nothing at all is an output, too: the work is done and there is nothing to show. */
function readOutput(body: Buffer): Verdict {
  const text = new TextDecoder().decode(body); // without the byte order mark that some write
  if (text.trim() === '') return { outcome: 'done', output: null };
  if (depthOf(text) > MAX_OUTPUT_DEPTH) return invalid('The output is nested too deeply.');
  try {
    const output: unknown = JSON.parse(text);
    return isStorable(output) ? { outcome: 'done', output } : invalid('The output holds characters that are not text.');
  } catch {
    return invalid('The output is not JSON.');
  }
}

const invalid = (message: string): Verdict => ({
  outcome: 'failed',
  failure: { code: 'executor_output_invalid', message },
});

/** PostgreSQL has no NUL, and no lone surrogates, in text; a value of bounded depth. */
function isStorable(value: unknown): boolean {
  if (typeof value === 'string') return value.isWellFormed() && !value.includes('\0');
  if (typeof value !== 'object' || value === null) return true;
  return Object.entries(value).every(([name, member]) => isStorable(name) && isStorable(member));
}
