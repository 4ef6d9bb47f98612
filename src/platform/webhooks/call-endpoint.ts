import { readRetryAfter } from '../delivery/retries.ts';
import { signedHeaders } from '../delivery/standard-webhooks.ts';
import { type Egress, EgressFault, type EgressReply } from '../egress.ts';

/**
 * What one call of an endpoint came to: `delivered`; `gone`: it wants no more (410); `refused`: again later; `unsent`: the
 * process is on its way out, and nothing was said.
 */
export interface Outcome {
  what: 'delivered' | 'gone' | 'refused' | 'unsent';
  at: Date;
  ms: number;
  status: number | null;
  /** A kind of failure, for machines. */
  error: string | null;
  excerpt: string | null;
  /** The endpoint asked to be left alone for so long. */
  afterMs: number;
}

/** Standard Webhooks: 15 to 30 s. */
export const CALL_TIMEOUT_MS = 15_000;
/** Of a reply only this much is read and kept: enough to see what went wrong. */
const EXCERPT_BYTES = 500;

/** Posts a signed message; never throws for what happens on the network. */
export async function callEndpoint(
  egress: Egress,
  call: { url: string; id: string; body: string; secrets: string[] },
): Promise<Outcome> {
  const at = new Date();
  const began = performance.now();
  const headers = {
    'content-type': 'application/json',
    'user-agent': 'Farebox',
    ...signedHeaders(call.id, call.body, call.secrets, at),
  };
  const limits = { timeoutMs: CALL_TIMEOUT_MS, enoughBytes: EXCERPT_BYTES };
  const verdict = await egress.post(call.url, { headers, body: call.body, ...limits }).then(judge, judgeFault);
  return { ...verdict, at, ms: Math.round(performance.now() - began) };
}

type Verdict = Omit<Outcome, 'at' | 'ms'>;

/** Only 2xx is a yes. A redirect is not followed: whoever moves tells us the new address. */
function judge({ status, headers, body }: EgressReply): Verdict {
  const excerpt = readable(body);
  if (status >= 200 && status < 300) return { what: 'delivered', status, excerpt, error: null, afterMs: 0 };
  if (status === 410) return { what: 'gone', status, excerpt, error: 'gone', afterMs: 0 };
  const error = status >= 300 && status < 400 ? 'redirected' : 'refused';
  return { what: 'refused', status, excerpt, error, afterMs: readRetryAfter(headers['retry-after']) };
}

function judgeFault(fault: unknown): Verdict {
  if (!(fault instanceof EgressFault)) throw fault;
  const what = fault.kind === 'unsent' ? 'unsent' : 'refused';
  return { what, status: null, excerpt: null, error: fault.kind, afterMs: 0 };
}

/** Text that the database takes: whatever it was, without NUL. */
const readable = (body: Buffer): string | null =>
  body.length === 0 ? null : new TextDecoder().decode(body).replaceAll('\0', '\uFFFD');
