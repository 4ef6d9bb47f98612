import type { ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { type Answer, jsonAnswer, send, withHeaders, writeHead } from '../http/answers.ts';
import { errorBody, refusalAnswer, unauthorized } from '../http/refusals.ts';
import type { SpoilingFault } from './book.ts';

/** Whether the request takes effect when the rule does not say. */
const EXECUTED: Record<SpoilingFault['api'], boolean> = {
  hang: true,
  hang_in_body: true,
  cut_in_body: true,
  reset_after_execution: true,
  reset_before_execution: false,
  rate_limited: false,
  server_error: false,
  bad_gateway: false,
  no_content: true,
  null_body: true,
  wrong_content_type: true,
  unauthorized: false,
};

export function isExecuted(fault: SpoilingFault): boolean {
  // These two are told apart by nothing else.
  if (fault.api === 'reset_after_execution' || fault.api === 'reset_before_execution') return EXECUTED[fault.api];
  return fault.executed ?? EXECUTED[fault.api];
}

/** Answers a request wrongly; `answer` is the true answer when the request was executed. */
export async function sabotage(res: ServerResponse, fault: SpoilingFault, answer: Answer | null): Promise<void> {
  switch (fault.api) {
    case 'hang':
      return; // the socket stays open until the client gives up or the stand-in is closed
    case 'hang_in_body':
      return sendHalf(res, answer);
    case 'cut_in_body':
      await sendHalf(res, answer);
      res.socket?.destroy();
      return;
    case 'reset_after_execution':
    case 'reset_before_execution':
      return reset(res);
    default:
      return send(res, wrongAnswer(fault, answer));
  }
}

type AnsweringFault = Exclude<
  SpoilingFault,
  { api: 'hang' | 'hang_in_body' | 'cut_in_body' | 'reset_after_execution' | 'reset_before_execution' }
>;

function wrongAnswer(fault: AnsweringFault, answer: Answer | null): Answer {
  switch (fault.api) {
    case 'rate_limited':
      return rateLimited(fault.body ?? true, fault.retry_after_s);
    case 'server_error':
      return jsonAnswer(fault.status ?? 500, { message: 'Something went wrong' });
    case 'bad_gateway':
      return { status: 502, type: 'text/html', body: BAD_GATEWAY };
    case 'no_content':
      return { status: 204, type: 'application/json', body: '' };
    case 'null_body':
      return { status: 200, type: 'application/json', body: 'null' };
    case 'wrong_content_type':
      return { ...(answer ?? jsonAnswer(200, {})), type: 'text/html' };
    case 'unauthorized':
      return refusalAnswer(unauthorized());
  }
}

const BAD_GATEWAY =
  '<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><h1>502 Bad Gateway</h1></body></html>';

function rateLimited(withBody: boolean, retryAfterS: number | undefined): Answer {
  const body = errorBody('too_many_requests', 'too many requests, please try again later');
  const answer = withBody ? jsonAnswer(429, body) : { status: 429, type: 'text/plain', body: '' };
  return retryAfterS === undefined ? answer : withHeaders(answer, { 'retry-after': String(retryAfterS) });
}

/** The length promised is that of the whole answer, so the reader knows that something is missing. */
function sendHalf(res: ServerResponse, answer: Answer | null): Promise<void> {
  const whole = answer ?? jsonAnswer(200, { object: 'charge' });
  const bytes = Buffer.from(whole.body);
  return new Promise((resolve) => {
    res.once('close', resolve);
    writeHead(res, whole);
    res.write(bytes.subarray(0, Math.ceil(bytes.length / 2)), () => resolve());
  });
}

/** A TCP reset (ECONNRESET); under TLS Node can only drop the connection, which reads the same to a client. */
function reset(res: ServerResponse): void {
  const { socket } = res;
  if (socket instanceof Socket && !(socket instanceof TLSSocket)) socket.resetAndDestroy();
  else socket?.destroy();
}
